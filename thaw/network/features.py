"""ResNet50's pooled features of the images, computed once and kept on disk."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from thaw.data.image_store import Images, check_labels
from thaw.network import inference
from thaw.network.inference import predict_batches
from thaw.network.shared_memory import aligned_empty
from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_file, require_space
from thaw.support.hdf5 import DAMAGED_HDF5
from thaw.support.places import FOLDER, check_input, check_output


def write_features(
    path: Path,
    model: keras.Model,
    splits: dict[str, Images],
    engine: str,
    precision: str = "float32",
) -> None:
    """Write the features of every split to one HDF5 file, completely or not at all.

    Each split becomes a group with `features` (n, 2048) float32 and `labels` (n,) int64.

    Args:
        path: the file to write.
        model: from images (n, size, size, 3) uint8 to features (n, 2048).
        splits: the images of each split.
        engine: keras or openvino, as in params.yaml.
        precision: what the engine computes in, float32 or bfloat16.

    Raises:
        OSError: there is not enough space on disk.
        ThawError: features are not finite, or the same for every image, or the processor cannot
            compute in `precision`.

    """
    check_output(path.parent, FOLDER)  # the folder, because DVC tracks all of it
    width = model.output_shape[-1]
    require_space(path.parent, sum(len(images) for images in splits.values()) * width * 4)
    network = inference.ready(model, engine, precision)
    with atomic_file(path) as scratch, h5py.File(scratch, "w") as file:
        # The smallest split comes first, so that useless features are noticed early.
        for name, images in sorted(splits.items(), key=lambda item: len(item[1])):
            group = file.create_group(name)
            group["labels"] = images.labels
            stored = group.create_dataset("features", shape=(len(images), width), dtype="float32")
            start = 0
            for batch in checked(features for (features,) in predict_batches(network, images)):
                stored[start : start + len(batch)] = batch
                start += len(batch)


def checked(batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Yield batches of features (n, channels) unchanged, and check that they are usable.

    Raises:
        ThawError: a feature is not finite, or all images of all batches have the same features.

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


def load_features(
    path: Path, split: str, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a split's features (n, 2048) float32 and labels (n,) int64, below `classes`.

    Raises:
        ThawError: the file is missing or damaged, or `write_features` did not write it.

    """
    try:
        with h5py.File(check_input(path)) as file:
            stored, labels = file[split]["features"], file[split]["labels"][:]
            features = aligned_empty(stored.shape)
            stored.read_direct(features)  # straight into aligned memory, without a second copy
    except DAMAGED_HDF5 as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
    check_labels(path, labels, len(features), classes)
    return features, labels
