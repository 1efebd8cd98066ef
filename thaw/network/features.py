"""Images to pooled features, computed once, kept on disk, read into memory that TensorFlow shares.

Features of many images are too large for copies.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from thaw.data.image_store import Images, check_labels
from thaw.network import inference
from thaw.network.inference import Arrays, Network
from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_file, require_space
from thaw.support.hdf5 import DAMAGED_HDF5
from thaw.support.places import FOLDER, check_input, check_output

ALIGNMENT = 64
"""Bytes. A tensor's memory begins at a multiple; NumPy's need not."""
MAIN_MEMORY = "CPU:0"
"""Where tf.data works, whatever device trains: it takes no variable of a GPU's."""


def predict_batches(network: Network, images: Images) -> Iterator[Arrays]:
    """Yield the network's outputs, each (batch, ..) float32, batch by batch, in order."""
    with tqdm(total=len(images), unit="img", disable=None) as bar:
        for start in range(0, len(images), network.batch_size):
            batch = images.batch(slice(start, start + network.batch_size))
            yield network.run(batch)
            bar.update(len(batch))


def predict(model: keras.Model, images: Images, engine: str = "keras") -> NDArray[np.float32]:
    """Return the model's output for all `images`, (n, outputs) float32; Keras is the reference."""
    network = inference.ready(model, engine)
    return np.concatenate([output for (output,) in predict_batches(network, images)])


def write_features(path: Path, model: keras.Model, parts: dict[str, Images], engine: str) -> None:
    """Write the features of every part to one HDF5 file, whole or not at all.

    Each part is a group with `features` (n, 2048) float32 and `labels` (n,) int64. `engine` is
    that of params.yaml.

    Raises:
        ThawError: features are not finite, or the same for every image.

    """
    check_output(path.parent, FOLDER)  # all of which is DVC's
    width = model.output_shape[-1]
    require_space(path.parent, sum(len(images) for images in parts.values()) * width * 4)
    network = inference.ready(model, engine)
    with atomic_file(path) as scratch, h5py.File(scratch, "w") as file:
        # The smallest first: features that are no use are found before the long part.
        for name, images in sorted(parts.items(), key=lambda item: len(item[1])):
            group = file.create_group(name)
            group["labels"] = images.labels
            stored = group.create_dataset("features", shape=(len(images), width), dtype="float32")
            start = 0
            for batch in checked(features for (features,) in predict_batches(network, images)):
                stored[start : start + len(batch)] = batch
                start += len(batch)


def checked(batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Pass batches of features (n, channels) on, held to what any classifier needs.

    Raises:
        ThawError: some are not finite, or all images of all batches have the same.

    """
    count, first, varied = 0, None, False
    for features in batches:
        if not np.isfinite(features).all():
            raise ThawError(
                "ResNet50 gives features that are not finite: its weights do not fit the input. "
                "Check `weights` and `value_range`."
            )
        first = features[:1] if first is None else first
        varied = varied or bool((features != first).any())
        count += len(features)
        yield features
    if count > 1 and not varied:
        raise ThawError(
            "ResNet50 gives every image the same features: its input is constant or its units are "
            "dead. Check `weights` and `value_range`."
        )


def load_features(path: Path, part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a part's features (n, 2048) float32 and labels (n,) int64.

    Raises:
        ThawError: the file is missing, damaged or was not written by `write_features`.

    """
    try:
        with h5py.File(check_input(path)) as file:
            stored, labels = file[part]["features"], file[part]["labels"][:]
            features = aligned_empty(stored.shape)
            stored.read_direct(features)
    except DAMAGED_HDF5 as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
    check_labels(path, labels, len(features))
    return features, labels


def aligned_empty(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a float32 array whose memory TensorFlow can share; its values are not set."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(np.float32).reshape(shape)


def aligned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `values`, or a copy where TensorFlow cannot share their memory."""
    if values.ctypes.data % ALIGNMENT == 0 and values.flags.carray:
        return values
    copy = aligned_empty(values.shape)
    copy[...] = values
    return copy


def shared(values: NDArray[np.float32]) -> tf.Variable:
    """Return a variable in the memory of `values`, which must be `aligned` and not change after.

    Of a tensor, tf.data would make a copy; TensorFlow ends the process on values not aligned.
    """
    tensor = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    with tf.device(MAIN_MEMORY):
        return tf.Variable(tensor, trainable=False)
