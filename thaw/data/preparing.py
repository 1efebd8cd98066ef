"""From a dataset's own files to data/images: its parts, drawn and stored at two sizes."""

from collections.abc import Sequence
from pathlib import Path

from thaw.config.fields import FASHION_MNIST
from thaw.config.params import Samples
from thaw.data import fashion_mnist
from thaw.data.dataset import PARTS, Dataset, write_dataset
from thaw.data.fashion_mnist import CLASS_NAMES, GrayImages
from thaw.data.image_store import LARGE, SMALL, write_images
from thaw.data.picture_store import open_store
from thaw.data.pictures import Pictures, read_pictures
from thaw.data.splits import TEST_EXAMPLE, TRAIN_EXAMPLE, check_split, draw_parts, make_splits
from thaw.support.tables import write_csv

FILES_CSV = "files.csv"
FILE_COLUMNS = ("split", "position", "class", "file")
"""The columns of files.csv. `position` is what `Images.positions` holds."""


def prepare_fashion_mnist(source: Path, target: Path, samples: Samples) -> Dataset:
    """Write Fashion-MNIST's images and their description to `target`; return the description.

    Args:
        source: the folder with the four IDX files.
        target: the folder to write to, data/images.
        samples: how many images each part gets.

    Raises:
        ThawError: a file of `source` is missing or damaged, or `target` is not a folder.
        OSError: there is too little space on the disk.

    """
    return store_gray(*fashion_mnist.load(source), target, samples)


def store_gray(
    train: GrayImages,
    test: GrayImages,
    target: Path,
    samples: Samples,
    sizes: Sequence[int] = (SMALL, LARGE),
) -> Dataset:
    """Write images in the form of Fashion-MNIST's, as `prepare_fashion_mnist` does."""
    splits = make_splits(train, test, samples)
    check_split({part: splits[part].positions for part in ("train", "validation")})
    for size in sizes:
        write_images(target / f"rgb{size}.h5", splits, size)
    dataset = Dataset(
        name="Fashion-MNIST",
        folder=FASHION_MNIST,
        fashion_mnist=True,
        gray=True,
        classes=CLASS_NAMES,
        counts={part: len(splits[part]) for part in PARTS},
        examples=(f"train_image_{TRAIN_EXAMPLE}", f"test_image_{TEST_EXAMPLE}"),
    )
    write_dataset(target, dataset)
    return dataset


def prepare_pictures(root: Path, folder: str, target: Path, samples: Samples) -> Dataset:
    """Write the pictures of a folder and their description to `target`; return the description.

    Args:
        root: the project's folder, which a relative `folder` starts from.
        folder: `dataset` in params.yaml.
        target: the folder to write to, data/images.
        samples: how many images each part gets.

    Raises:
        ThawError: something is wrong with the folder; the message lists all that is.
        OSError: there is too little space on the disk.

    """
    with open_store(target) as store:
        pictures = read_pictures(root / folder, store.keep)
        parts = draw_parts(pictures.labels, pictures.groups, pictures.parts, samples)
        check_split(parts)
        store.write_parts(parts, pictures)
    rows = (
        (
            part,
            int(position),
            pictures.classes[pictures.labels[position]],
            pictures.files.names[position],
        )
        for part, positions in parts.items()
        for position in positions
    )
    write_csv(target / FILES_CSV, FILE_COLUMNS, rows)
    dataset = Dataset(
        name=(root / folder).resolve().name,
        folder=folder,
        fashion_mnist=False,
        gray=pictures.gray,
        classes=pictures.classes,
        counts={part: len(positions) for part, positions in parts.items()},
        examples=(),
    )
    write_dataset(target, dataset)
    _tell(pictures)
    return dataset


def _tell(pictures: Pictures) -> None:
    """Print what was done with pictures that are special in some way."""
    notes = {
        "files were left out: hidden ones and those of file managers": pictures.left_out,
        "pictures are copies of others, and are in the same part": pictures.duplicates,
        "of them were moved to the part of a copy": pictures.moved,
    }
    for note, count in notes.items():
        if count:
            print(f"{count:,} {note}.", flush=True)
