"""What a dataset is called, its classes and its counts: the file dataset.json beside the images.

No other place knows a class name or how many classes and images there are.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_file
from thaw.support.places import check_input

FILE = "dataset.json"
PARTS = ("train", "validation", "test")
"""The parts of every dataset."""
EXAMPLES = "examples"
"""A further split of single images that every model classifies, for datasets that name some."""


class Dataset(BaseModel):
    """The content of dataset.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """What the report calls the dataset: Fashion-MNIST, or the name of the folder."""
    folder: str
    """`dataset` in params.yaml: where its files are."""
    fashion_mnist: bool
    """Whether it is Fashion-MNIST. Only then do the notebooks and published results apply."""
    gray: bool
    """Whether every image is gray: its three channels are equal."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of the labels: label 0 is the first."""
    counts: dict[str, int]
    """How many images each of `PARTS` has."""
    examples: tuple[str, ...]
    """The names of the images in the split `EXAMPLES`, as metrics use them; may be empty."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits in the image files: `PARTS`, and `EXAMPLES` if there are any."""
        return (*PARTS, EXAMPLES) if self.examples else PARTS


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write dataset.json to `folder`, completely or not at all."""
    with atomic_file(folder / FILE) as scratch:
        scratch.write_text(dataset.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_dataset(folder: Path) -> Dataset:
    """Return the description of the dataset whose images are in `folder`, such as data/images.

    Raises:
        ThawError: dataset.json is missing or damaged.

    """
    path = folder / FILE
    try:
        return Dataset.model_validate_json(check_input(path).read_bytes())
    except (OSError, ValidationError) as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
