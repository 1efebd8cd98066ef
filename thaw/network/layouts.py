"""Reads ResNet50's layers from the files of any version of Keras.

ResNet50 may be the whole model in the file or one layer of a larger model. These layouts are known:

- the `.weights.h5` of Keras 3, which thaw writes too, and the same file inside a `.keras` archive;
- the `.h5` of Keras 1 and 2, with only the weights or a whole model, and today's layer names;
- the same `.h5` with the layer names of 2016 to 2019 (res2a_branch2a). That network used another
  epsilon in batch normalisation and, before August 2018, pooled without padding
  (keras-applications commit 36436f6).
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from thaw.config.fields import BLOCKS_PER_STAGE
from thaw.network.weights import TOP_LAYER, Layers, floats, no_weights, numbered
from thaw.support import hdf5
from thaw.support.errors import ThawError
from thaw.support.files import md5, require_space
from thaw.support.hdf5 import DAMAGED_HDF5
from thaw.support.keras_private import load_attributes_from_hdf5_group as attribute

ARCHIVE = ".keras"
ARCHIVED_WEIGHTS = "model.weights.h5"
_DAMAGED_ARCHIVE = (zipfile.BadZipFile, LookupError, RuntimeError, ValueError, EOFError)
OLD_EPSILON = 1e-3
"""The default of BatchNormalization in Keras 2, which the network of 2016 to 2019 used."""
EPSILON = 1.001e-5
"""What the batch normalisation in Keras' ResNet50 has used since then."""
FIRST_PUBLISHED = {"a7b3fe01876f51b976af0dea6bc144eb", "a268eb855778b3df3c7506639542a6af"}
"""MD5 of the files that Keras published until 2019, with and without top. Keras used the same files
after it had added the padding, so they are accepted."""
_BRANCHES = {"1": 0, "2a": 1, "2b": 2, "2c": 3}
OLD_NAMES = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn"} | {
    f"{kind}{stage[-1]}{'abcdef'[block]}_branch{branch}": f"{stage}_block{block + 1}_{place}_{now}"
    for stage, blocks in BLOCKS_PER_STAGE.items()
    for block in range(blocks)
    for branch, place in _BRANCHES.items()
    for kind, now in (("res", "conv"), ("bn", "bn"))
}
"""Maps each layer name of 2016 to 2019 to today's."""
TOP_NAMES = ("fc1000", "probs")
"""Earlier names of the 1000-class layer in Keras."""


@dataclass(frozen=True)
class Network:
    """One of the models in a file, which may be ResNet50. Its arrays are not read yet."""

    where: str
    """Name of its HDF5 group."""
    layers: Mapping[str, list[h5py.Dataset]]
    """Its arrays, by today's layer names."""
    old: bool = False
    """Whether the file has the layer names of 2016 to 2019."""

    def fitting(self, shapes: Mapping[str, list[tuple[int, ...]]]) -> int:
        """Return how many layers have the expected `shapes`."""
        return sum(self.has(layer, some) for layer, some in shapes.items())

    def has(self, layer: str, shapes: list[tuple[int, ...]]) -> bool:
        """Whether the arrays of a layer have these shapes."""
        return [array.shape for array in self.layers.get(layer, [])] == shapes


def read(path: Path, network: keras.Model) -> Layers:
    """Return the float32 arrays in a file, by the name of their layer in `network`.

    Layers with unexpected shapes are returned too, so that `assign` can name them in its error. A
    top for other classes than ImageNet's is left out.

    Raises:
        ThawError: the file is damaged, has an unknown layout, holds more than one ResNet50, or
            holds an older ResNet50 that would not compute the same as today's.

    """
    with _unpacked(path) as file:
        if flaw := hdf5.flaw(file):
            raise no_weights(path, flaw)
        try:
            with h5py.File(file) as content:
                return _read(content, path, network)
        except DAMAGED_HDF5 as error:
            raise no_weights(path, str(error)) from error


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """Yield the HDF5 file inside a `.keras` archive, or `path` itself if it is not an archive."""
    if path.suffix != ARCHIVE:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / ARCHIVED_WEIGHTS
        try:
            _unpack(path, weights)
        except _DAMAGED_ARCHIVE as error:
            raise no_weights(path, " ".join(map(str, error.args))) from error
        yield weights


def _unpack(archive: Path, to: Path) -> None:
    """Extract the weights of an archive to the file `to`.

    Raises:
        ValueError: they are compressed. Keras never does that, and a small compressed file could
            fill the disk.

    """
    with zipfile.ZipFile(archive) as content:
        member = content.getinfo(ARCHIVED_WEIGHTS)
        # The declared size may be wrong, so it is compared with the size of the archive.
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > archive.stat().st_size:
            raise ValueError(f"{ARCHIVED_WEIGHTS} in it must be stored uncompressed, as Keras does")
        require_space(to.parent, member.file_size)
        with content.open(member) as source, to.open("wb") as target:
            shutil.copyfileobj(source, target)


def _read(file: h5py.File, path: Path, network: keras.Model) -> Layers:
    weighted = (layer for layer in network.layers if layer.weights)
    shapes = {layer.name: [tuple(w.shape) for w in layer.weights] for layer in weighted}
    backbone = {name: some for name, some in shapes.items() if name != TOP_LAYER}
    networks = [*_keras3(file, network), *_legacy(file, network)]
    if not networks:
        raise ValueError(
            "expected a group `layers` (.weights.h5) or an attribute `layer_names` (.h5)"
        )
    # The backbone decides which network is ResNet50: the top may be missing or have other classes.
    whole = [some for some in networks if some.fitting(backbone) == len(backbone)]
    if len(whole) > 1:
        places = ", ".join(some.where for some in whole)
        raise ThawError(f"{path} holds several such networks: {places}. Save one alone.")
    found = max(networks, key=lambda some: some.fitting(backbone))
    if not found.has(TOP_LAYER, shapes.get(TOP_LAYER, [])):
        shapes = backbone
    if found.old:
        _require_padding(file, path)
    # Only the chosen network is read: a file may hold other large models.
    layers = {name: list(map(floats, found.layers.get(name, []))) for name in shapes}
    return _with_todays_epsilon(layers) if found.old else layers


def _keras3(file: h5py.File, network: keras.Model) -> Iterator[Network]:
    """Yield each group, at any depth, that holds layers in the layout of Keras 3."""
    # A nested model is a group inside that of the outer one, as deep as the models are nested.
    pending: list[h5py.Group] = [file["/"]]
    while pending:
        group = pending.pop()
        if isinstance(group.get("layers"), h5py.Group):
            yield Network(group.name, dict(numbered(group, network)))
        pending += [child for child in group.values() if isinstance(child, h5py.Group)]


def _legacy(file: h5py.File, network: keras.Model) -> Iterator[Network]:
    """Yield the models in a file of Keras 1 or 2: the nested ones first, then the outer one."""
    group = file.get("model_weights", file)  # a whole model, or a file with only the weights
    flat = {}
    for layer in attribute(group, "layer_names"):
        if names := attribute(group[layer], "weight_names"):
            flat[layer] = [group[layer][name] for name in names]
            nested = _by_layer(flat[layer], names)
            if len(nested) > 1:
                yield _named(group[layer].name, nested, network)
    if flat:
        yield _named(group.name, flat, network)


def _by_layer(arrays: list[h5py.Dataset], names: list[str]) -> dict[str, list[h5py.Dataset]]:
    """Group the arrays of a nested model by layer; their names end in `layer/kernel` or similar."""
    layers: dict[str, list[h5py.Dataset]] = {}
    for array, name in zip(arrays, names, strict=True):
        layers.setdefault(name.rpartition("/")[0].rpartition("/")[2], []).append(array)
    return layers


def _named(where: str, layers: dict[str, list[h5py.Dataset]], network: keras.Model) -> Network:
    """Return a model whose layers have today's names.

    If the names are unknown, layers are matched in the order of `network`, with or without its top.
    Keras does the same.
    """
    old = "res2a_branch2a" in layers
    names = (OLD_NAMES if old else {}) | dict.fromkeys(TOP_NAMES, TOP_LAYER)
    layers = {names.get(name, name): arrays for name, arrays in layers.items()}
    weighted = [layer.name for layer in network.layers if layer.weights]
    # By order only if no name is known, and only if the number of layers fits.
    if weighted[0] not in layers and len(weighted) - len(layers) in (0, 1):
        layers = dict(zip(weighted, layers.values(), strict=False))
    return Network(where, layers, old)


def _require_padding(file: h5py.File, path: Path) -> None:
    """Check that an old network pooled with padding, as today's does.

    Raises:
        ThawError: it did not, or the file does not say so.

    """
    named = attribute(file.get("model_weights", file), "layer_names")
    if "pool1_pad" in named or '"pool1_pad"' in str(file.attrs.get("model_config")):
        return
    if md5(path) in FIRST_PUBLISHED:  # these files do not record the padding
        return
    raise ThawError(
        f"{path} holds ResNet50 as Keras had it before August 2018 (layers res2a_branch2a, ..): it "
        "pooled without the padding (pool1_pad) that the network has since, which would give "
        "other answers from these weights. Read are: files that keras-applications 1.0.5 or later "
        "saved, the two that Keras published until 2019, and all with today's names of layers "
        "(conv2_block1_1_conv, ..). Name one of those."
    )


def _with_todays_epsilon(layers: Layers) -> Layers:
    """Add the difference between the two epsilons to the variances.

    Batch normalisation divides by the square root of variance + epsilon, so the network computes
    the same, to rounding. The variance is the last array of its layer.
    """
    change = np.float32(OLD_EPSILON - EPSILON)
    return {
        name: [*arrays[:-1], arrays[-1] + change] if arrays and name.endswith("_bn") else arrays
        for name, arrays in layers.items()
    }
