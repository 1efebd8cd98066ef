"""The student in parts that may travel: kernels in float16, vectors in float32."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.layers import Layers
from thaw.support.errors import ThawError
from thaw.support.files import atomic_file

COUNT = 4
"""A ResNet50 in float16 has 51 MB; a file that comes back may have 16 MiB."""
STEP = "step"
Part = dict[str, NDArray]


def split(layers: Layers) -> list[Part]:
    """Return the arrays in parts of nearly the same size."""
    parts: list[Part] = [{} for _ in range(COUNT)]
    arrays = {f"{name}/{i}": array for name, some in layers.items() for i, array in enumerate(some)}
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].size):
        smallest = min(parts, key=lambda part: sum(one.nbytes for one in part.values()))
        smallest[name] = array.astype(np.float16) if array.ndim > 1 else array
    return parts


def write(folder: Path, layers: Layers, step: int) -> None:
    """Write the parts in place of older ones.

    Each is whole or not at all; a kill between two is found out by the step that they name.
    """
    for number, part in enumerate(split(layers)):
        with atomic_file(_path(folder, number)) as scratch, scratch.open("wb") as file:
            np.savez(file, allow_pickle=False, **{STEP: np.int64(step)}, **part)


def read(folder: Path, order: list[str]) -> tuple[Layers, int]:
    """Return the layers, float32, in `order` of their names, and the step that they are of.

    Raises:
        ThawError: a part is missing, or is of another step than the others.

    """
    arrays: Part = {}
    steps = set()
    for number in range(COUNT):
        try:
            with np.load(_path(folder, number)) as file:
                steps.add(int(file[STEP]))
                names = [name for name in file.files if name != STEP]
                arrays |= {name: file[name].astype(np.float32) for name in names}
        except (OSError, ValueError, KeyError) as error:
            raise ThawError(f"{_path(folder, number)} cannot be read: {error}") from error
    if len(steps) != 1:
        raise ThawError(
            f"The parts in {folder} must be of one step. Received: {sorted(steps)}. The run was "
            "killed while it wrote; there is no whole student in them."
        )
    layers: Layers = {}
    for name in order:
        count = sum(key.rpartition("/")[0] == name for key in arrays)
        layers[name] = [arrays[f"{name}/{position}"] for position in range(count)]
    return layers, steps.pop()


def _path(folder: Path, number: int) -> Path:
    return folder / f"student-{number}.npz"
