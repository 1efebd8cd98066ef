"""ResNet50 and the pipeline's weights for it, which are checked layer by layer.

The pipeline keeps them in the `.weights.h5` layout of Keras 3. `thaw.network.layouts` reads others.
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
"""Sizes of the floats that a file may hold."""
Layers = dict[str, list[NDArray[np.float32]]]


@dataclass(frozen=True)
class Source:
    """Where the weights come from."""

    name: str
    """imagenet, random, or bundled or file followed by the first 8 digits of its SHA-256."""
    top: bool
    """Whether they include the 1000-class layer."""


def resnet50(size: int, top: bool) -> keras.Model:
    """Build an untrained ResNet50 (He et al. 2015) for (n, size, size, 3) float32 images.

    Its input must have gone through `preprocess_input`. With `top` it returns probabilities
    (n, 1000), otherwise the output of global average pooling, (n, 2048).
    """
    return keras.applications.ResNet50(
        weights=None,
        include_top=top,
        pooling=None if top else "avg",
        input_shape=(size, size, 3),
        name="resnet50",
    )


def save(folder: Path, model: keras.Model, source: Source) -> None:
    """Write the weights and their source to `folder`, completely or not at all.

    Raises:
        OSError: there is not enough space on disk.

    """
    # Weights are float32. HDF5 crashes the process on a full disk, so check the space first.
    require_space(folder, 4 * model.count_params())
    with atomic_folder(folder) as scratch:
        model.save_weights(scratch / WEIGHTS_FILE)
        write_json(scratch / SOURCE_FILE, asdict(source))


def load_source(folder: Path) -> Source:
    """Return where the weights in `folder` come from.

    Raises:
        ThawError: source.json is missing or damaged.

    """
    content = read_json(folder / SOURCE_FILE)
    try:
        return Source(name=str(content["name"]), top=bool(content["top"]))
    except KeyError as error:
        raise ThawError(f"{folder / SOURCE_FILE} has no entry {error}. {remedy()}") from error


def load(folder: Path, model: keras.Model) -> Source:
    """Load the weights in `folder` into a ResNet50 with or without top; return their source.

    Raises:
        ThawError: a file is missing or damaged, or the weights do not fit the model.

    """
    path = check_input(folder / WEIGHTS_FILE)
    assign(model, read_layers(path, model), path)
    return load_source(folder)


def read_layers(path: Path, model: keras.Model) -> Layers:
    """Return the float32 arrays in a `.weights.h5`, by the name of their layer in `model`.

    Raises:
        ThawError: the file is not an HDF5 file of that layout.

    """
    try:
        with h5py.File(path) as file:
            if "layers" in file:
                return {name: list(map(floats, some)) for name, some in numbered(file, model)}
    except DAMAGED_HDF5 as error:
        raise no_weights(path, str(error)) from error
    raise no_weights(path, "expected a group `layers`")


def no_weights(path: Path, flaw: str) -> ThawError:
    """Return the error for a file that holds no weights; `flaw` says what is wrong with it."""
    return ThawError(
        f"{path} is not a file of Keras weights: {flaw}. Name a .weights.h5, .h5 or .keras file "
        "that Keras wrote."
    )


def numbered(group: h5py.Group, model: keras.Model) -> Iterator[tuple[str, list[h5py.Dataset]]]:
    """Yield the name and the arrays of each layer of `model`, as Keras 3 stores them in `group`.

    The arrays are not read yet. Keras 3 does not store the names of layers. It numbers the layers
    of each class in the order of the model: conv2d, conv2d_1 and so on.
    """
    seen: Counter[str] = Counter()
    for layer in model.layers:
        kind = to_snake_case(type(layer).__name__)
        key = f"layers/{kind}_{seen[kind]}" if seen[kind] else f"layers/{kind}"
        seen[kind] += 1
        # Layers without weights have no such group.
        variables = group.get(f"{key}/vars", {})
        yield layer.name, [variables[str(i)] for i in range(len(variables))]


def floats(stored: h5py.Dataset) -> NDArray[np.float32]:
    """Read an array of weights as float32; 64-bit floats are rounded.

    Raises:
        ValueError: its dtype is not a float of 16, 32 or 64 bits.

    """
    if stored.dtype.kind != "f" or stored.dtype.itemsize not in FLOAT_BYTES:
        raise ValueError(
            f"{stored.name} must hold floats of 16, 32 or 64 bits. Received: {stored.dtype}"
        )
    with np.errstate(over="ignore"):  # too large for float32: becomes inf, which `assign` refuses
        return np.asarray(stored[()], np.float32)


def assign(model: keras.Model, layers: Layers, path: Path) -> None:
    """Set the weights of `model` after all of their shapes and values have been checked.

    Layers that the model does not have, such as the file's top, are ignored.

    Args:
        model: the network; it stays as it is if a check fails.
        layers: float32 arrays by the name of the layer.
        path: the file that they come from, for the messages.

    Raises:
        ThawError: a layer is missing, has other shapes or holds values that are not finite.

    """
    # Check everything before changing anything, so that a bad file leaves the model as it was.
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
