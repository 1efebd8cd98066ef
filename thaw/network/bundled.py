"""A distilled ResNet50 that ships with thaw: how it is packed, and its reader.

Not Keras' ImageNet weights: an approximation that learned from EfficientNet-Lite's answers alone
(pretrain/README.md). Kernels are int8 with one float32 scale an output channel, everything else is
float32. The product is taken in float32, so the weights are the same everywhere.
"""

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from thaw.support.errors import ThawError
from thaw.support.files import atomic_file, sha256
from thaw.support.tables import read_json, write_json

FOLDER = Path(__file__).parent / "pretrained"
WEIGHTS_FILE = "resnet50_distilled.h5"
DIGEST_FILE = "digest.json"
LICENCE = "Apache-2.0; attribution: NOTICE.md beside this file"
LARGEST = 127
"""Of an int8 weight, either sign."""

Layers = dict[str, list[NDArray[np.float32]]]


def pack(folder: Path, layers: Layers) -> None:
    """Write `layers`, arrays by Keras' layer names, as `read` wants them, and their digest."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / WEIGHTS_FILE) as scratch, h5py.File(scratch, "w") as file:
        file.attrs["licence"] = LICENCE
        for name, arrays in layers.items():
            for position, array in enumerate(arrays):
                _write(file, f"{name}/{position}", array)
    write_json(folder / DIGEST_FILE, {"sha256": sha256(folder / WEIGHTS_FILE)})


def _write(file: h5py.File, name: str, array: NDArray[np.float32]) -> None:
    """Write a kernel as int8 with its scales beside it, anything else as it is."""
    if array.ndim == 1:
        file.create_dataset(name, data=array.astype(np.float32))
        return
    integers, scale = quantise(array)
    compression = hdf5plugin.Zstd(clevel=19)
    file.create_dataset(name, data=integers, chunks=integers.shape, **compression)
    file.create_dataset(f"{name}_scale", data=scale)


def quantise(kernel: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 values of `kernel`'s shape and a float32 scale for each of its last axis.

    Their product is off by at most half a scale; a scale is the channel's largest value / 127.
    """
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    return np.clip(np.rint(kernel / scale), -LARGEST, LARGEST).astype(np.int8), scale


def read(folder: Path = FOLDER) -> Layers:
    """Return the weights that ship with thaw by Keras' layer names, float32.

    Raises:
        ThawError: the file is missing, cut off or changed.

    """
    path = folder / WEIGHTS_FILE
    expected = str(read_json(folder / DIGEST_FILE).get("sha256"))
    received = sha256(path) if path.is_file() else "no such file"
    if received != expected:
        raise ThawError(
            f"{path} is not the file that ships with thaw: expected SHA-256 {expected}. "
            f"Received: {received}. Bring it back: git checkout -- {path}"
        )
    with h5py.File(path) as file:
        return {name: _arrays(group) for name, group in file.items()}


def digest(folder: Path = FOLDER) -> str:
    """Return the first 8 digits of the shipped file's SHA-256."""
    return str(read_json(folder / DIGEST_FILE).get("sha256"))[:8]


def _arrays(group: h5py.Group) -> list[NDArray[np.float32]]:
    count = sum(not name.endswith("_scale") for name in group)
    return [_array(group, str(position)) for position in range(count)]


def _array(group: h5py.Group, name: str) -> NDArray[np.float32]:
    values = group[name][()]
    if f"{name}_scale" in group:
        return values.astype(np.float32) * group[f"{name}_scale"][()]
    return np.asarray(values, np.float32)
