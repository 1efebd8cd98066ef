"""Everything that thaw uses from Keras' private modules; a new version may move it unannounced.

tests/test_keras_private.py then names what has moved. thaw uses:

- `to_snake_case`: how Keras names a layer's class in a `.weights.h5`.
- `load_attributes_from_hdf5_group`: lists of names in the `.h5` files of Keras 1 and 2.
- `BASE_WEIGHTS_PATH`, `WEIGHTS_HASHES`: where ResNet50's published weights are, and their digests.
- `config`: Keras' folder of downloads, which `keras.config` can show but not set.
"""

from pathlib import Path

from keras.src.applications.resnet import BASE_WEIGHTS_PATH, WEIGHTS_HASHES
from keras.src.backend import config
from keras.src.legacy.saving.legacy_h5_format import load_attributes_from_hdf5_group
from keras.src.utils.naming import to_snake_case

__all__ = [
    "BASE_WEIGHTS_PATH",
    "WEIGHTS_HASHES",
    "load_attributes_from_hdf5_group",
    "set_keras_home",
    "to_snake_case",
]


def set_keras_home(folder: Path) -> None:
    """Make Keras keep its downloads in `folder` from now on."""
    config._KERAS_DIR = str(folder)
