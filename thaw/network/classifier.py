"""A trained classifier as a folder: its weights, and model.json, which is all that using it needs.

model.json is written with the weights and read with them. So a model means the same to whoever
loads it, whatever params.yaml says by then.
"""

import json
from pathlib import Path

import keras
from pydantic import BaseModel, ConfigDict, ValidationError

from thaw import __version__
from thaw.config.params import Head
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.network import weights
from thaw.network.backbone import image_model
from thaw.network.heads import build_head
from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_folder, require_space
from thaw.support.places import check_input
from thaw.support.runtime import plain_keras

WEIGHTS_FILE, DESCRIPTION_FILE = "model.weights.h5", "model.json"


class Description(BaseModel):
    """What model.json says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thaw_version: str
    image_size: int
    """Side of the images that it takes, pixels."""
    value_range: str
    """0-255, or 0-1 for the notebooks' mistake, which the model then makes by itself."""
    head: Head
    classes: tuple[str, ...]
    """In the order of the probabilities."""
    weights: str
    """Where the backbone's weights came from before training."""


def describe(image_size: int, value_range: str, head: Head, weights: str) -> Description:
    """Return what model.json is to say of a model that this version trained."""
    return Description(
        thaw_version=__version__,
        image_size=image_size,
        value_range=value_range,
        head=head,
        classes=CLASS_NAMES,
        weights=weights,
    )


def save_classifier(folder: Path, model: keras.Model, description: Description) -> None:
    """Write a classifier to `folder`, whole or not at all."""
    require_space(folder, 4 * model.count_params())
    with atomic_folder(folder) as scratch:
        model.save_weights(scratch / WEIGHTS_FILE)
        text = json.dumps(description.model_dump(mode="json"), indent=2)
        (scratch / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def read_description(folder: Path) -> Description:
    """Return what a classifier's model.json says.

    Raises:
        ThawError: it is missing, damaged or of another version of thaw.

    """
    path = folder / DESCRIPTION_FILE
    try:
        return Description.model_validate_json(check_input(path).read_bytes())
    except (OSError, ValidationError) as error:
        raise _no_model(folder, f"{path.name}: {error}") from error


def load_classifier(folder: Path | str) -> keras.Model:
    """Return the classifier in a folder such as data/models/partial, for use anywhere.

    It takes images (n, side, side, 3) uint8, whose side model.json names, white on black as
    Fashion-MNIST's are. It gives probabilities (n, classes) float32 in the order of model.json's
    `classes`. The caller's settings of Keras change none of that.

    Raises:
        ThawError: the folder holds no classifier of thaw's.

    """
    folder = Path(folder)
    description = read_description(folder)
    with plain_keras():
        network = weights.resnet50(description.image_size, top=False)
        head = build_head(description.head, seed=0)  # its weights are read from the file
        model = image_model(network, description.image_size, description.value_range, head)
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
