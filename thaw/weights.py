"""ResNet50 and its weights: those in a file, checked layer by layer, and those of the pipeline.

Two layouts are read, each layer held to its shapes: Keras 3's `.weights.h5`, and the older `.h5`
that Keras publishes its applications in.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
from keras.src.utils import naming
from numpy.typing import NDArray

from thaw import ThawError
from thaw.files import DAMAGED_HDF5, atomic_folder, read_json, remedy, require_space, write_json
from thaw.places import check_input

WEIGHTS_FILE = "resnet50.weights.h5"
SOURCE_FILE = "source.json"
TOP_LAYER = "predictions"
"""Name of ResNet50's 1000-class layer."""
Layers = dict[str, list[NDArray[np.float32]]]


@dataclass(frozen=True)
class Source:
    """Where weights come from."""

    name: str
    """imagenet or random, or bundled or file with the first 8 digits of its SHA-256."""
    top: bool
    """Whether the 1000-class layer is there."""


def resnet50(size: int, top: bool) -> keras.Model:
    """Build an untrained ResNet50 (He et al. 2015) for (n, size, size, 3) float32 images.

    Its input is what `preprocess_input` returns. Without top it ends in global average pooling:
    (n, 2048).
    """
    return keras.applications.ResNet50(
        weights=None,
        include_top=top,
        pooling=None if top else "avg",
        input_shape=(size, size, 3),
        name="resnet50",
    )


def save(folder: Path, model: keras.Model, source: Source) -> None:
    """Write the weights and their source to `folder`, whole or not at all."""
    require_space(folder, 4 * model.count_params())
    with atomic_folder(folder) as scratch:
        model.save_weights(scratch / WEIGHTS_FILE)
        write_json(scratch / SOURCE_FILE, asdict(source))


def load_source(folder: Path) -> Source:
    """Return where the weights in `folder` come from."""
    content = read_json(folder / SOURCE_FILE)
    try:
        return Source(name=str(content["name"]), top=bool(content["top"]))
    except KeyError as error:
        raise ThawError(f"{folder / SOURCE_FILE} has no entry {error}. {remedy()}") from error


def load(folder: Path, model: keras.Model) -> Source:
    """Put the weights in `folder` into a ResNet50 with or without top; return their source."""
    path = check_input(folder / WEIGHTS_FILE)
    assign(model, read_layers(path, model), path)
    return load_source(folder)


def read_layers(path: Path, model: keras.Model) -> Layers:
    """Return the arrays in `path` by the name of `model`'s layer that they belong to.

    Raises:
        ThawError: the file is no HDF5 file of either layout.

    """
    try:
        with h5py.File(path) as file:
            if "layers" in file:
                return _keras3_layers(file, model)
            group = file.get("model_weights", file)
            if "layer_names" in group.attrs:
                return _legacy_layers(group, model)
    except DAMAGED_HDF5 as error:
        raise no_weights(path, str(error)) from error
    raise no_weights(
        path, "expected a group `layers` (.weights.h5) or an attribute `layer_names` (.h5)"
    )


def no_weights(path: Path, flaw: str) -> ThawError:
    """Return the error of a file that holds no weights, for what is wrong with it."""
    return ThawError(
        f"{path} is not a file of Keras weights: {flaw}. Name a .weights.h5 or .h5 file that "
        "Keras' save_weights wrote."
    )


def _keras3_layers(file: h5py.File, model: keras.Model) -> Layers:
    """Read `.weights.h5`, which numbers layers by class, in the order of the model."""
    seen: Counter[str] = Counter()
    layers = {}
    for layer in model.layers:
        kind = naming.to_snake_case(type(layer).__name__)
        key = f"layers/{kind}_{seen[kind]}" if seen[kind] else f"layers/{kind}"
        seen[kind] += 1
        variables = file.get(f"{key}/vars", {})
        layers[layer.name] = [_floats(variables[str(i)]) for i in range(len(variables))]
    return layers


def _legacy_layers(group: h5py.Group, model: keras.Model) -> Layers:
    """Read the older `.h5` as Keras does: layers with weights, in order, whatever their names.

    Keras renamed layers over the years (the top was fc1000, then probs), but not their order.
    """
    names = [name for name in group.attrs["layer_names"] if len(_weight_names(group, name))]
    weighted = [layer.name for layer in model.layers if layer.weights]
    top_may_differ = -1 if model.layers[-1].name == TOP_LAYER else 1
    if len(names) - len(weighted) not in (0, top_may_differ):
        expected = f"{len(weighted)} layers with weights, give or take its top"
        raise ValueError(f"expected {expected}; {len(names)} are there")
    return {
        layer: [_floats(group[name][weight]) for weight in _weight_names(group, name)]
        for layer, name in zip(weighted, names, strict=False)
    }


def _weight_names(group: h5py.Group, layer: str | bytes) -> NDArray[np.object_]:
    return group[layer].attrs["weight_names"]


def _floats(stored: h5py.Dataset) -> NDArray[np.float32]:
    return np.asarray(stored[()], np.float32)


def assign(model: keras.Model, layers: Layers, path: Path) -> None:
    """Give `model` its weights, once every layer's shapes and values have been checked.

    Layers of the file that the model does not have (its top) are left out.

    Raises:
        ThawError: a layer is missing, has other shapes or holds values that are not finite.

    """
    for layer in model.layers:
        expected = [tuple(weight.shape) for weight in layer.weights]
        received = [tuple(array.shape) for array in layers.get(layer.name, [])]
        if expected != received:
            raise ThawError(
                f"{path} does not hold this network's weights: layer {layer.name} must have the "
                f"shapes {expected}. Received: {received or 'no such layer'}. Name a file of "
                "Keras' ResNet50."
            )
        if not all(np.isfinite(array).all() for array in layers.get(layer.name, [])):
            raise ThawError(
                f"{path}: layer {layer.name} holds values that are not finite. Name another file."
            )
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(layers[layer.name])
