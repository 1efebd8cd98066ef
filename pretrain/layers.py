"""Weights by Keras' layer names in an .npz file, as NAME/0, NAME/1, .."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Layers = dict[str, list[NDArray[np.float32]]]


def save_layers(path: Path, layers: Layers) -> None:
    """Write `layers` to `path`."""
    arrays = {f"{name}/{i}": array for name, some in layers.items() for i, array in enumerate(some)}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_layers(path: Path) -> Layers:
    """Return what `save_layers` wrote."""
    layers: Layers = {}
    with np.load(path) as file:
        for key in file.files:
            layers.setdefault(key.rpartition("/")[0], []).append(file[key])
    return layers
