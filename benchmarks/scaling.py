"""Measure how the cost grows with the number of images: python -m benchmarks.scaling.

Writes  benchmarks/scaling.csv, benchmarks/scaling.png, benchmarks/scaling.md

For each number of images, a new process computes features and trains a head on them, as the stages
do. It measures the seconds, the peak memory and the space on disk. From these, the cost for
ImageNet's 1.2 million images is estimated. `python -m benchmarks.scaling COUNT SIDE` measures one
number of images.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.apart import ROOT, machine, run_apart
from thaw.report.canvas import new_figure, save, style
from thaw.report.figures import COLOURS, MARKERS, label_last
from thaw.support.tables import write_csv

HERE = Path(__file__).parent
COUNTS = (1_000, 4_000, 16_000, 60_000)
LARGE_COUNT = 1_000
"""How many images of 224 px are measured."""
IMAGENET = 1_200_000
"""Training images of ImageNet, rounded."""
EPOCHS = 20
COLUMNS = ("images", "features_seconds", "training_seconds", "peak_gb", "disk_gb")


def measure(count: int, side: int) -> dict[str, float]:
    """Write the features of `count` images and fit a head on them; return the `COLUMNS`."""
    # Imported here, because the process that starts the measurements needs none of this.
    import numpy as np

    from thaw.config.load import load_params
    from thaw.data import fashion_mnist, image_store
    from thaw.data.dataset import read_dataset, write_dataset
    from thaw.data.splits import Split
    from thaw.network import backbone, features, heads
    from thaw.support import paths
    from thaw.support.runtime import set_up
    from thaw.training import batches, fitting
    from thaw.training.checkpoint import Checkpoint

    params = load_params(ROOT)
    set_up(params.threads)
    gray, _ = fashion_mnist.load(ROOT / paths.FASHION_MNIST)
    _, model = backbone.feature_model(side, "0-255")
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
        folder = Path(name)
        train = Split(gray, np.arange(count))
        image_store.write_images(folder / f"rgb{side}.h5", {"train": train}, side)
        write_dataset(folder, read_dataset(ROOT / paths.IMAGES))
        some = image_store.open_images(folder, side, "train")
        begin = time.perf_counter()
        features.write_features(folder / "features.h5", model, {"train": some}, params.engine)
        extracted = time.perf_counter()
        values, labels = features.load_features(folder / "features.h5", "train", 10)
        each = batches.ArrayBatches(values, labels, params.train_frozen.batch_size, 0)
        settings = params.train_frozen.model_copy(update={"epochs": EPOCHS})
        kept = Checkpoint(folder / "checkpoint")
        first = batches.ArrayBatches(values[:1000], labels[:1000], 256)
        head = heads.build_head(params.head, len(fashion_mnist.CLASS_NAMES), seed=0, fast=True)
        fitting.fit(head, each, first, settings, kept, steps_per_execution=fitting.HEAD_STEPS)
        trained = time.perf_counter()
        disk = (folder / "features.h5").stat().st_size
    # Linux reports KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = (count, extracted - begin, trained - extracted, peak / 1e9, disk / 1e9)
    return dict(zip(COLUMNS, figures, strict=True))


def reckoned_imagenet(rows: list[dict[str, float]], large: dict[str, float]) -> str:
    """Return a sentence on the estimated cost of `IMAGENET` images of 224 px.

    Args:
        rows: the results at 32 px, whose last two give the memory for each further image.
        large: the result at 224 px, which gives the time of the features.

    """
    before, most = rows[-2:]
    times = IMAGENET / most["images"]
    per_image = (most["peak_gb"] - before["peak_gb"]) / (most["images"] - before["images"])
    memory = most["peak_gb"] + per_image * (IMAGENET - most["images"])
    hours = large["features_seconds"] / large["images"] * IMAGENET / 3600
    minutes = most["training_seconds"] / EPOCHS * times / 60
    return (
        f"By that, {IMAGENET / 1e6:g} million images of 224 px take {hours:.1f} hours for their "
        f"features ({large['images'] / large['features_seconds']:.1f} images/s here), "
        f"{most['disk_gb'] * times:.1f} GB of disk for those alone, and for the head "
        f"{memory:.1f} GB of memory and {minutes:.1f} minutes an epoch."
    )


def main() -> None:
    """Measure every number of images, and write the table, the figure and the estimate."""
    rows = []
    for count in COUNTS:
        rows.append(run_apart("scaling", str(count), "32"))
        print(rows[-1], flush=True)
    large = run_apart("scaling", str(LARGE_COUNT), "224")
    write_csv(HERE / "scaling.csv", COLUMNS, [[round(row[c], 3) for c in COLUMNS] for row in rows])
    draw(rows, HERE / "scaling.png")
    (HERE / "scaling.md").write_text(f"{reckoned_imagenet(rows, large)}\n\n{machine()}\n")
    print((HERE / "scaling.md").read_text())


@style()
def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Draw time, memory and disk against the number of images."""
    panels = {
        "seconds": {"features": "features_seconds", f"head, {EPOCHS} epochs": "training_seconds"},
        "GB": {"peak memory": "peak_gb", "features on disk": "disk_gb"},
    }
    figure = new_figure(10, 4, "How cost grows")
    for axes, (unit, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for (name, column), colour, marker in zip(lines.items(), COLOURS, MARKERS, strict=False):
            images = [row["images"] / 1000 for row in rows]
            values = [row[column] for row in rows]
            axes.plot(images, values, color=colour, marker=marker)
            label_last(axes, images[-1], values[-1], name, colour)
        axes.set(xlabel="thousand images at 32 px", ylabel=unit)
        axes.set_ylim(bottom=0)
    save(figure, path)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
    else:
        main()
