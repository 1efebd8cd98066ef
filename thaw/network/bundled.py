"""The distilled ResNet50 that ships with thaw: how its file is written and read.

These are not Keras' ImageNet weights. They are an approximation that was trained only on the
answers of EfficientNet-Lite (pretrain/README.md). Kernels are stored as int8 with one float32 scale
per output channel, and everything else as float32. The reader multiplies them in float32, so the
weights are the same on every machine.
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
"""The largest magnitude of an int8 weight. -128 is not used, so the range is symmetric."""

Layers = dict[str, list[NDArray[np.float32]]]


def pack(folder: Path, layers: Layers) -> None:
    """Write the weights in the format that `read` expects, and the digest of the file.

    Args:
        folder: where the two files go; it is made if it does not exist.
        layers: the float32 arrays of each layer, by Keras' layer name.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / WEIGHTS_FILE) as scratch, h5py.File(scratch, "w") as file:
        file.attrs["licence"] = LICENCE
        for name, arrays in layers.items():
            for position, array in enumerate(arrays):
                _write(file, f"{name}/{position}", array)
    write_json(folder / DIGEST_FILE, {"sha256": sha256(folder / WEIGHTS_FILE)})


def _write(file: h5py.File, name: str, array: NDArray[np.float32]) -> None:
    """Write a kernel as int8 and its scales beside it, and a vector as float32."""
    if array.ndim == 1:  # biases and batch normalisation, which take little space
        file.create_dataset(name, data=array.astype(np.float32))
        return
    integers, scale = quantise(array)
    compression = hdf5plugin.Zstd(clevel=19)  # slow to write, small to ship
    file.create_dataset(name, data=integers, chunks=integers.shape, **compression)
    file.create_dataset(f"{name}_scale", data=scale)


def quantise(kernel: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 values of the shape of `kernel`, and a float32 scale for each output channel.

    Output channels are the last axis. A channel's scale is its largest magnitude / 127, so values
    times scale differ from `kernel` by at most half a scale.
    """
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    # A channel of zeros gets the scale 1, because 0 would divide 0 by 0 below.
    scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    return np.clip(np.rint(kernel / scale), -LARGEST, LARGEST).astype(np.int8), scale


def read(folder: Path = FOLDER) -> Layers:
    """Return the weights that ship with thaw: float32 arrays by Keras' layer name.

    Raises:
        ThawError: the file is missing, truncated or changed.

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
    """Return the first 8 hexadecimal digits of the SHA-256 of the file that ships with thaw."""
    return str(read_json(folder / DIGEST_FILE).get("sha256"))[:8]


def _arrays(group: h5py.Group) -> list[NDArray[np.float32]]:
    count = sum(not name.endswith("_scale") for name in group)
    return [_array(group, str(position)) for position in range(count)]


def _array(group: h5py.Group, name: str) -> NDArray[np.float32]:
    values = group[name][()]
    if f"{name}_scale" in group:
        return values.astype(np.float32) * group[f"{name}_scale"][()]
    return np.asarray(values, np.float32)
