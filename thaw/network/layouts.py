"""Where ResNet50's layers are in a file from elsewhere, whichever Keras wrote it.

The network may be the file's only one or a layer within another model's, in any of these:

- Keras 3's `.weights.h5` (a model that thaw trained is one), and the same in a `.keras` archive;
- the `.h5` of Keras 1 and 2, weights alone or a whole model, with today's names of layers;
- the same with the names of 2016 to 2019 (res2a_branch2a). That network normalised with another
  epsilon and, before August 2018, pooled without padding: keras-applications commit 36436f6.
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
"""Of Keras 2's BatchNormalization, which the network of 2016 to 2019 left as it was."""
EPSILON = 1.001e-5
"""Of the batch normalisation in Keras' ResNet50 since."""
FIRST_PUBLISHED = {"a7b3fe01876f51b976af0dea6bc144eb", "a268eb855778b3df3c7506639542a6af"}
"""MD5 of Keras' files until 2019, with top and without. It used them with the padding, too."""
_BRANCHES = {"1": 0, "2a": 1, "2b": 2, "2c": 3}
OLD_NAMES = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn"} | {
    f"{kind}{stage[-1]}{'abcdef'[block]}_branch{branch}": f"{stage}_block{block + 1}_{place}_{now}"
    for stage, blocks in BLOCKS_PER_STAGE.items()
    for block in range(blocks)
    for branch, place in _BRANCHES.items()
    for kind, now in (("res", "conv"), ("bn", "bn"))
}
"""Of layers, by those of today."""
TOP_NAMES = ("fc1000", "probs")
"""What Keras called the 1000-class layer before."""


@dataclass(frozen=True)
class Network:
    """One of the networks in a file: what may be ResNet50's layers, none of them read."""

    where: str
    """The group's name."""
    layers: Mapping[str, list[h5py.Dataset]]
    old: bool = False
    """Whether its names are those of 2016 to 2019."""

    def fitting(self, shapes: Mapping[str, list[tuple[int, ...]]]) -> int:
        """Return how many layers have their `shapes`."""
        return sum(self.has(layer, some) for layer, some in shapes.items())

    def has(self, layer: str, shapes: list[tuple[int, ...]]) -> bool:
        """Whether a layer's arrays have these shapes."""
        return [array.shape for array in self.layers.get(layer, [])] == shapes


def read(path: Path, network: keras.Model) -> Layers:
    """Return the arrays in a file by the name of `network`'s layer that they belong to.

    Layers of other shapes are returned, too, for `assign` to refuse by name; but a top of other
    classes is left out.

    Raises:
        ThawError: the file is damaged, of no known layout, holds several such networks, or one
            whose answers another network than Keras' of today gives.

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
    """Yield the HDF5 file in a `.keras` archive, or `path` itself where it is none."""
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
    """Write an archive's weights to `to`.

    Raises:
        ValueError: they are compressed, which Keras' never are: a small file could fill the disk.

    """
    with zipfile.ZipFile(archive) as content:
        member = content.getinfo(ARCHIVED_WEIGHTS)
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
    whole = [some for some in networks if some.fitting(backbone) == len(backbone)]
    if len(whole) > 1:
        places = ", ".join(some.where for some in whole)
        raise ThawError(f"{path} holds several such networks: {places}. Save one alone.")
    found = max(networks, key=lambda some: some.fitting(backbone))
    if not found.has(TOP_LAYER, shapes.get(TOP_LAYER, [])):
        shapes = backbone
    if found.old:
        _require_padding(file, path)
    layers = {name: list(map(floats, found.layers.get(name, []))) for name in shapes}
    return _with_todays_epsilon(layers) if found.old else layers


def _keras3(file: h5py.File, network: keras.Model) -> Iterator[Network]:
    """Yield each group that holds layers as Keras 3 has them, at any depth."""
    pending: list[h5py.Group] = [file["/"]]
    while pending:
        group = pending.pop()
        if isinstance(group.get("layers"), h5py.Group):
            yield Network(group.name, dict(numbered(group, network)))
        pending += [child for child in group.values() if isinstance(child, h5py.Group)]


def _legacy(file: h5py.File, network: keras.Model) -> Iterator[Network]:
    """Yield each model that is a layer of that in a file of Keras 1 or 2, and itself at the end."""
    group = file.get("model_weights", file)
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
    """Sort a nested model's arrays by layer: their names end in `layer/kernel` or the like."""
    layers: dict[str, list[h5py.Dataset]] = {}
    for array, name in zip(arrays, names, strict=True):
        layers.setdefault(name.rpartition("/")[0].rpartition("/")[2], []).append(array)
    return layers


def _named(where: str, layers: dict[str, list[h5py.Dataset]], network: keras.Model) -> Network:
    """Return layers by the names that they have today.

    Where those are unknown, as Keras reads them: in the network's order, with or without its top.
    """
    old = "res2a_branch2a" in layers
    names = (OLD_NAMES if old else {}) | dict.fromkeys(TOP_NAMES, TOP_LAYER)
    layers = {names.get(name, name): arrays for name, arrays in layers.items()}
    weighted = [layer.name for layer in network.layers if layer.weights]
    if weighted[0] not in layers and len(weighted) - len(layers) in (0, 1):
        layers = dict(zip(weighted, layers.values(), strict=False))
    return Network(where, layers, old)


def _require_padding(file: h5py.File, path: Path) -> None:
    """Check that the old network pooled with the padding that today's has.

    Raises:
        ThawError: it did not, or the file does not say.

    """
    named = attribute(file.get("model_weights", file), "layer_names")
    if "pool1_pad" in named or '"pool1_pad"' in str(file.attrs.get("model_config")):
        return
    if md5(path) in FIRST_PUBLISHED:
        return
    raise ThawError(
        f"{path} holds ResNet50 as Keras had it before August 2018 (layers res2a_branch2a, ..): it "
        "pooled without the padding (pool1_pad) that the network has since, which would give "
        "other answers from these weights. Read are: files that keras-applications 1.0.5 or later "
        "saved, the two that Keras published until 2019, and all with today's names of layers "
        "(conv2_block1_1_conv, ..). Name one of those."
    )


def _with_todays_epsilon(layers: Layers) -> Layers:
    """Move the difference of the epsilons into the variances.

    Batch normalisation divides by the root of variance and epsilon, so the answers are the same to
    rounding.
    """
    change = np.float32(OLD_EPSILON - EPSILON)
    return {
        name: [*arrays[:-1], arrays[-1] + change] if arrays and name.endswith("_bn") else arrays
        for name, arrays in layers.items()
    }
