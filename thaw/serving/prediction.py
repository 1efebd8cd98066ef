"""What a trained classifier says of picture files."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from thaw.data.decoding import PictureError, decode, resize, to_gray
from thaw.data.listing import is_left_out
from thaw.network import inference
from thaw.network.classifier import Description, load_classifier, read_description
from thaw.support.places import FOLDER, kind

_TOGETHER = 256
"""Files that are decoded, on all cores, before the network gets them: 40 MB of pixels."""


@dataclass(frozen=True)
class Prediction:
    """A picture's likeliest classes, or why it cannot be read.

    Attributes:
        file: the picture's path, as it was given.
        classes: names and probabilities, likeliest first; empty if there is an error.
        error: what is wrong with the file, or "".

    """

    file: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Predictor:
    """A classifier that is ready to predict files.

    Attributes:
        description: the content of its model.json.
        network: the classifier in an inference engine.

    """

    description: Description
    network: inference.Network

    def predict(self, files: Iterable[Path], top: int) -> Iterator[Prediction]:
        """Yield the `top` likeliest classes of each file, in order, or why it cannot be read."""
        waiting = iter(files)
        with Parallel(n_jobs=-1, prefer="threads") as parallel:
            while some := list(islice(waiting, _TOGETHER)):
                pictures = parallel(delayed(self._read)(path) for path in some)
                yield from self._answers(some, pictures, top)

    def likeliest(self, row: NDArray[np.float32], top: int) -> tuple[tuple[str, float], ...]:
        """Return the names and probabilities of the `top` likeliest classes, likeliest first.

        `row` holds the probabilities of all classes for one picture, (classes,).
        """
        best = np.argsort(-row, kind="stable")[:top]
        return tuple((self.description.classes[i], float(row[i])) for i in best)

    def _read(self, path: Path) -> NDArray[np.uint8] | str:
        """Return a picture as the network takes it, (size, size, 3) uint8, or what is wrong."""
        try:
            return as_input(decode(path), self.description)
        except PictureError as error:
            return str(error)

    def _answers(
        self, files: list[Path], pictures: list[NDArray[np.uint8] | str], top: int
    ) -> Iterator[Prediction]:
        good = [picture for picture in pictures if not isinstance(picture, str)]
        rows = iter(_probabilities(self.network, good))
        for path, picture in zip(files, pictures, strict=True):
            if isinstance(picture, str):
                yield Prediction(str(path), error=picture)
                continue
            yield Prediction(str(path), self.likeliest(next(rows), top))


def as_input(picture: NDArray[np.uint8], description: Description) -> NDArray[np.uint8]:
    """Turn a canonical picture (224, 224, 3) into a classifier's input, (size, size, 3) uint8.

    A classifier that was trained on gray images gets a gray one.
    """
    sized = resize(picture[np.newaxis], description.image_size)[0]
    return to_gray(sized) if description.gray else sized


def _probabilities(
    network: inference.Network, pictures: list[NDArray[np.uint8]]
) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(pictures), network.batch_size):
        (rows,) = network.run(np.stack(pictures[start : start + network.batch_size]))
        yield from rows


def load_predictor(folder: Path, engine: str) -> Predictor:
    """Return the classifier in a folder such as data/models/partial, ready to predict files.

    Raises:
        ThawError: the folder does not hold a classifier that thaw saved.

    """
    description = read_description(folder)
    return Predictor(description, inference.ready(load_classifier(folder), engine))


def find_files(names: Iterable[str]) -> Iterator[Path]:
    """Yield each named file, and for a folder every file below it, sorted.

    Below a folder, hidden files and the like are left out. Links are followed, but no folder is
    entered twice.
    """
    for name in names:
        path = Path(name)
        if kind(path, follow=True) == FOLDER:
            yield from _below(path)
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_left_out(name))
        yield from (Path(parent) / name for name in sorted(files) if not is_left_out(name))
