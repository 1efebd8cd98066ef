"""Draw ResNet50's activations for one image, stage by stage: python -m tools.activations_figure.

Reads   data/images/  data/weights/  (run `dvc repro preprocess weights` first)
Writes  docs/activations.png
"""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from thaw.config.fields import VALUE_RANGES
from thaw.config.load import load_params
from thaw.data.image_store import SMALL, open_images
from thaw.network import weights
from thaw.network.backbone import preprocess
from thaw.report.canvas import new_figure, save, style
from thaw.support.runtime import set_up

STAGES = (
    "conv1_relu",
    "conv2_block3_out",
    "conv3_block4_out",
    "conv4_block6_out",
    "conv5_block3_out",
)
"""The last layer of each of ResNet50's stages."""
PATH = Path("docs/activations.png")


def activations(
    network: keras.Model, image: NDArray[np.uint8], value_range: str
) -> list[NDArray[np.float32]]:
    """Return the output of each of `STAGES`, (side, side, channels) float32.

    Args:
        network: ResNet50 without its top.
        image: (size, size, 3) uint8.
        value_range: the range of the pixels passed to `preprocess_input`, 0-255 or 0-1.

    """
    outputs = [network.get_layer(name).output for name in STAGES]
    maps = keras.Model(network.input, outputs)(preprocess(image[np.newaxis], value_range))
    return [keras.ops.convert_to_numpy(tensor)[0] for tensor in maps]


def strongest(maps: NDArray[np.float32]) -> int:
    """Return the channel that varies most over the map; if the map is one pixel, the largest."""
    # At 32 px the last stage has a single pixel, over which nothing varies.
    values = maps.std(axis=(0, 1)) if len(maps) > 1 else maps[0, 0]
    return int(values.argmax())


@style(grid=False)
def main(root: Path = Path()) -> None:
    """Draw the strongest channel of each stage for each input range, and give the stage's mean."""
    params = load_params(root)
    set_up(params.threads)
    network = weights.resnet50(SMALL, top=False)
    source = weights.load(root / "data/weights", network)
    image = open_images(root / "data/images", SMALL, "examples").batch(slice(0, 1))[0]
    by_range = {name: activations(network, image, name) for name in VALUE_RANGES}
    # Both rows show the channels and the colour scale of 0-255 input, so that they can be compared.
    channels = [strongest(maps) for maps in by_range["0-255"]]
    figure = new_figure(11, 5, f"Training image 6 in ResNet50 at 32 px, weights: {source.name}")
    for row, (value_range, maps) in zip(
        figure.subplots(len(VALUE_RANGES), 1 + len(STAGES)), by_range.items(), strict=True
    ):
        row[0].imshow(image)
        row[0].set_title(f"{value_range} input")
        shown = zip(row[1:], maps, by_range["0-255"], STAGES, channels, strict=True)
        for axes, values, reference, name, channel in shown:
            most = reference[..., channel].max()
            axes.imshow(values[..., channel], cmap="viridis", vmin=0, vmax=most)
            side = values.shape[0]
            axes.set_title(
                f"{name.split('_')[0]}: {side}x{side}\nmean {values.mean():.2f}", fontsize=10
            )
        for axes in row:
            axes.set_axis_off()
    save(figure, root / PATH)


if __name__ == "__main__":
    main()
