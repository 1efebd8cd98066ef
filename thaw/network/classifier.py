"""A trained classifier as a folder: its weights, and model.json, which describes it.

Nothing else is needed to use the classifier. The description is saved with the weights because
params.yaml may have changed by the time that somebody loads the model.
"""

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from pydantic import BaseModel, ConfigDict, ValidationError

from thaw import __version__
from thaw.config.params import Head
from thaw.data.dataset import Dataset
from thaw.network import weights
from thaw.network.backbone import image_model
from thaw.network.heads import build_head
from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_folder, require_space
from thaw.support.places import check_input
from thaw.support.runtime import plain_keras

WEIGHTS_FILE, DESCRIPTION_FILE = "model.weights.h5", "model.json"


class Description(BaseModel):
    """The content of model.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thaw_version: str
    image_size: int
    """Side of the input images, pixels."""
    value_range: str
    """0-255, or 0-1 for the notebooks' mistake. Either way the model takes images in 0..255."""
    head: Head
    dataset: str
    """The name of the dataset that the model was trained on."""
    gray: bool
    """Whether every image of that dataset is gray. A picture in colour is then made gray first."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the probabilities."""
    weights: str
    """Where the backbone's weights came from before training."""


def describe(
    dataset: Dataset, image_size: int, value_range: str, head: Head, weights: str
) -> Description:
    """Return the description of a model that this version of thaw trained."""
    return Description(
        thaw_version=__version__,
        image_size=image_size,
        value_range=value_range,
        head=head,
        dataset=dataset.name,
        gray=dataset.gray,
        classes=dataset.classes,
        weights=weights,
    )


def save_classifier(folder: Path, model: keras.Model, description: Description) -> None:
    """Write a classifier and its description to `folder`, completely or not at all.

    Raises:
        OSError: there is not enough space on disk.

    """
    require_space(folder, 4 * model.count_params())
    with atomic_folder(folder) as scratch:
        model.save_weights(scratch / WEIGHTS_FILE)
        # The description goes into the same atomic folder, so the two can never disagree.
        text = json.dumps(description.model_dump(mode="json"), indent=2)
        (scratch / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def read_description(folder: Path | str) -> Description:
    """Return the content of a classifier's model.json.

    Raises:
        ThawError: the file is missing, damaged, or from an incompatible version of thaw.

    """
    folder = Path(folder)
    path = folder / DESCRIPTION_FILE
    try:
        return Description.model_validate_json(check_input(path).read_bytes())
    except (OSError, ValidationError) as error:
        raise _no_model(folder, f"{path.name}: {error}") from error


class Classifier(keras.Model):
    """A Keras model that says which images it takes if it gets others.

    Keras itself would cast float images to uint8, so that those in [0, 1] become black.
    """

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.__call__`."""
        return super().__call__(self._checked(images), *args, **kwargs)

    def predict(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.predict`."""
        return super().predict(self._checked(images), *args, **kwargs)

    def predict_on_batch(self, images: Any) -> Any:
        """See `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(self._checked(images))

    def _checked(self, images: Any) -> Any:
        if isinstance(images, tf.data.Dataset):
            return images  # Keras calls the model with its batches
        shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", None)
        expected = self.input_shape[1:]
        if (
            shape is None
            or tuple(shape)[1:] != expected
            or keras.backend.standardize_dtype(dtype) != "uint8"
        ):
            size = expected[0]
            received = type(images).__name__ if shape is None else f"{tuple(shape)} {dtype}"
            raise ThawError(
                f"the classifier takes images (n, {size}, {size}, 3) uint8, RGB, 0 to 255. For a "
                f"single one, n is 1. Received: {received}. `python -m thaw.predict` takes "
                "picture files of any size."
            )
        return images


def load_classifier(folder: Path | str) -> Classifier:
    """Return the classifier in a folder such as data/models/partial.

    It takes images (n, side, side, 3) uint8 like those that it was trained on (for Fashion-MNIST:
    white clothes on black); `image_size` in model.json is their side. It returns probabilities (n,
    classes) float32, in the order of `classes` in model.json. For other images it raises a
    ThawError. It can be loaded in any program: the caller's global Keras settings (dtype policy,
    data format) have no effect on it.

    Raises:
        ThawError: the folder does not hold a classifier that thaw saved.

    """
    folder = Path(folder)
    description = read_description(folder)
    # Layers take these settings when they are made, so only the building needs them.
    with plain_keras():
        network = weights.resnet50(description.image_size, top=False)
        head = build_head(
            description.head, len(description.classes), seed=0
        )  # any seed: the file replaces the weights
        model = image_model(network, description.image_size, description.value_range, head)
        model = Classifier(model.input, model.output, name=model.name)
    try:
        model.load_weights(check_input(folder / WEIGHTS_FILE))
    except (OSError, ValueError) as error:
        raise _no_model(folder, f"{WEIGHTS_FILE}: {error}") from error
    return model


def _no_model(folder: Path, received: str) -> ThawError:
    return ThawError(
        f"{folder} must hold a classifier that thaw saved: {WEIGHTS_FILE} and {DESCRIPTION_FILE}. "
        f"Received: {received}. {remedy()} Where DVC has it, `dvc checkout {folder}` is enough."
    )
