"""ResNet50 and the pipeline's weights for it, checked layer by layer.

They are kept as Keras 3's `.weights.h5`; other layouts are `thaw.network.layouts`' business.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_folder, require_space
from thaw.support.hdf5 import DAMAGED_HDF5
from thaw.support.keras_private import to_snake_case
from thaw.support.places import check_input
from thaw.support.tables import read_json, write_json

WEIGHTS_FILE = "resnet50.weights.h5"
SOURCE_FILE = "source.json"
TOP_LAYER = "predictions"
"""Name of ResNet50's 1000-class layer."""
FLOAT_BYTES = (2, 4, 8)
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
    """Return the arrays in a `.weights.h5` by the name of `model`'s layer that they belong to.

    Raises:
        ThawError: the file is no HDF5 file of that layout.

    """
    try:
        with h5py.File(path) as file:
            if "layers" in file:
                return {name: list(map(floats, some)) for name, some in numbered(file, model)}
    except DAMAGED_HDF5 as error:
        raise no_weights(path, str(error)) from error
    raise no_weights(path, "expected a group `layers`")


def no_weights(path: Path, flaw: str) -> ThawError:
    """Return the error of a file that holds no weights, for what is wrong with it."""
    return ThawError(
        f"{path} is not a file of Keras weights: {flaw}. Name a .weights.h5, .h5 or .keras file "
        "that Keras wrote."
    )


def numbered(group: h5py.Group, model: keras.Model) -> Iterator[tuple[str, list[h5py.Dataset]]]:
    """Yield each of `model`'s layers and its arrays, none read, as Keras 3 has them in `group`.

    It numbers layers by class, in the order of the model.
    """
    seen: Counter[str] = Counter()
    for layer in model.layers:
        kind = to_snake_case(type(layer).__name__)
        key = f"layers/{kind}_{seen[kind]}" if seen[kind] else f"layers/{kind}"
        seen[kind] += 1
        variables = group.get(f"{key}/vars", {})
        yield layer.name, [variables[str(i)] for i in range(len(variables))]


def floats(stored: h5py.Dataset) -> NDArray[np.float32]:
    """Read an array of weights.

    Raises:
        ValueError: they are none of the usual floats; those of 64 bits are rounded.

    """
    if stored.dtype.kind != "f" or stored.dtype.itemsize not in FLOAT_BYTES:
        raise ValueError(
            f"{stored.name} must hold floats of 16, 32 or 64 bits. Received: {stored.dtype}"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, which `assign` refuses
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
                f"{path}: layer {layer.name} holds values that are not finite as float32. Name "
                "another file."
            )
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(layers[layer.name])
