"""The sources of ResNet50's weights: published by Keras, shipped with thaw, random, or a file."""

from pathlib import Path

import keras

from thaw.config.files import weights_file
from thaw.network import bundled, layouts, published
from thaw.network.weights import TOP_LAYER, Source, assign, resnet50
from thaw.support.files import sha256
from thaw.support.runtime import seed_everything


def obtain(weights: str, root: Path, seed: int) -> tuple[keras.Model, Source]:
    """Return a ResNet50 with the weights that `weights` in params.yaml names, and their source.

    Args:
        weights: imagenet, bundled or random, or the path of a file, absolute or relative to `root`.
        root: the project's folder.
        seed: for random weights.

    Raises:
        ThawError: the published file is not available, or the file is missing or does not fit.

    """
    if weights == "random":
        seed_everything(seed)
        return resnet50(224, top=True), Source("random", top=True)
    if weights == "imagenet":
        return published.load(), Source("imagenet", top=True)
    if weights == "bundled":
        model = resnet50(224, top=True)
        assign(model, bundled.read(), bundled.FOLDER / bundled.WEIGHTS_FILE)
        return model, Source(f"bundled {bundled.digest()}", top=True)
    path = weights_file(weights, root)
    # Only the file tells whether it has a top, so it is read with the larger network first.
    model = resnet50(224, top=True)
    layers = layouts.read(path, model)
    if TOP_LAYER not in layers:
        model = resnet50(224, top=False)
    assign(model, layers, path)
    return model, Source(f"file {sha256(path)[:8]}", top=TOP_LAYER in layers)
