"""Images to pooled features, computed once and kept on disk."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from thaw.errors import ThawError
from thaw.files import atomic_file, remedy, require_space
from thaw.images import Images

PIXELS_IN_A_BATCH = 1 << 18
"""Of input images: 256 of 32 px, 16 from 128 px on, so that activations fit in memory."""


def predict_batch(size: int) -> int:
    """Return how many images of `size` pixels go through a network at once."""
    return max(16, PIXELS_IN_A_BATCH // size**2)


def predict_batches(model: keras.Model, images: Images) -> Iterator[NDArray[np.float32]]:
    """Yield the model's output, batch by batch, in the order of `images`."""
    with tqdm(total=len(images), unit="img", disable=None) as bar:
        step = predict_batch(images.size)
        for start in range(0, len(images), step):
            batch = images.batch(slice(start, start + step))
            yield np.asarray(model.predict_on_batch(batch))
            bar.update(len(batch))


def predict(model: keras.Model, images: Images) -> NDArray[np.float32]:
    """Return the model's output for all `images`, (n, outputs) float32."""
    return np.concatenate(list(predict_batches(model, images)))


def write_features(path: Path, model: keras.Model, parts: dict[str, Images]) -> None:
    """Write the features of every part to one HDF5 file, whole or not at all.

    Each part is a group with `features` (n, 2048) float32 and `labels` (n,) int64.

    Raises:
        ThawError: features are not finite, or the same for every image.

    """
    width = model.output_shape[-1]
    require_space(path.parent, sum(len(images) for images in parts.values()) * width * 4)
    with atomic_file(path) as scratch, h5py.File(scratch, "w") as file:
        for name, images in parts.items():
            group = file.create_group(name)
            group["labels"] = images.labels
            stored = group.create_dataset("features", shape=(len(images), width), dtype="float32")
            start = 0
            for batch in predict_batches(model, images):
                check_features(batch)
                stored[start : start + len(batch)] = batch
                start += len(batch)


def check_features(features: NDArray[np.float32]) -> None:
    """Hold features (n, channels) to what any classifier needs.

    Raises:
        ThawError: some are not finite, or all images have the same.

    """
    if not np.isfinite(features).all():
        raise ThawError(
            "ResNet50 gives features that are not finite: its weights do not fit the input. Check "
            "`weights` and `input_range`."
        )
    if len(features) > 1 and (features == features[0]).all():
        raise ThawError(
            "ResNet50 gives every image the same features: its input is constant or its units are "
            "dead. Check `weights` and `input_range`."
        )


def load_features(path: Path, part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a part's features (n, 2048) float32 and labels (n,) int64.

    Raises:
        ThawError: the file is missing, damaged or was not written by `write_features`.

    """
    try:
        with h5py.File(path) as file:
            return file[part]["features"][:], file[part]["labels"][:]
    except (OSError, KeyError) as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
