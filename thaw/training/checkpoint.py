"""The state of an unfinished training: written whole, and held to its digests before it is used."""

import hashlib
import itertools
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import keras

import thaw
from thaw import PACKAGES
from thaw.support.errors import ThawError
from thaw.support.files import (
    SCRATCH,
    atomic_folder,
    put_back,
    remove_folder,
    require_space,
    sha256,
)
from thaw.support.paths import PRIVATE
from thaw.support.tables import write_csv

HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
LAST, BEST, HISTORY, MANIFEST = FILES = (
    "last.weights.h5",
    "best.weights.h5",
    "history.json",
    "SHA256SUMS",
)
"""All that a checkpoint holds; the manifest names the others' digests, as `sha256sum` does."""
STARTS_OVER = "training starts over"
"""What training says where a checkpoint is damaged."""
NO_FOLDER = "it is no folder"
_DIGITS = 16
"""Of the digest that a checkpoint's folder is called by."""


@dataclass
class History:
    """What each epoch so far gave: one row of `HISTORY_COLUMNS` each."""

    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs run."""
        return len(self.rows)

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss, from 1; the first of equals; 0 before any."""
        losses = [row["val_loss"] for row in self.rows]
        return losses.index(min(losses)) + 1 if losses else 0

    def is_over(self, epochs: int, patience: int) -> bool:
        """Whether all `epochs` are run or `patience` (0: endless) is at its end."""
        waited = self.epochs - self.best_epoch
        return self.epochs >= epochs or 0 < patience <= waited

    def write(self, path: Path) -> None:
        """Write one CSV line an epoch; epochs count from 1."""
        rows = [[row[name] for name in HISTORY_COLUMNS] for row in self.rows]
        write_csv(path, HISTORY_COLUMNS, [[int(row[0]), *row[1:]] for row in rows])


@dataclass(frozen=True)
class Checkpoint:
    """What a fit needs to go on: weights, optimizer, best weights, history.

    Kept in a folder named by everything that decides the result, so that nobody resumes another
    run: see `checkpoint`.
    """

    folder: Path

    def save(self, model: keras.Model, history: History) -> None:
        """Keep the state after an epoch, whole or not at all, even if the power goes.

        Raises:
            ThawError: the best weights so far are no longer what was written.

        """
        kept = [*model.variables, *model.variables, *model.optimizer.variables]  # the best, too
        require_space(self.folder, 4 * sum(math.prod(variable.shape) for variable in kept))
        with atomic_folder(self.folder, durable=True) as scratch:
            model.save_weights(scratch / LAST)
            if history.best_epoch == history.epochs:
                uncompiled(model).save_weights(scratch / BEST)
            else:
                self._check(BEST)  # or the new manifest would vouch for what is damaged
                shutil.copyfile(self.folder / BEST, scratch / BEST)
            # Unrounded, unlike metrics: the resumed history must equal the uninterrupted one.
            (scratch / HISTORY).write_text(json.dumps(asdict(history)))
            lines = [self._line(scratch, name) for name in (LAST, BEST, HISTORY)]
            (scratch / MANIFEST).write_text("\n".join([self._title, *lines, ""]))

    def resume(self, model: keras.Model) -> History:
        """Bring a compiled `model` to where it stopped; return its history, empty before any.

        A damaged checkpoint is told and cleared away, and `model` left as it is.
        """
        if not os.path.lexists(self.folder):
            return History()
        if flaw := self.flaw():
            _start_over(self.folder, flaw)
            return History()
        history = History(**json.loads((self.folder / HISTORY).read_bytes()))
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.folder / LAST)
        return history

    def restore_last(self, model: keras.Model) -> None:
        """Give a fitted `model` the weights of its last epoch; raises as `restore_best`."""
        self._check(LAST)
        model.load_weights(self.folder / LAST)

    def restore_best(self, model: keras.Model) -> None:
        """Give a fitted `model` the weights of its best epoch.

        Raises:
            ThawError: they are no longer what was written.

        """
        self._check(BEST)
        uncompiled(model).load_weights(self.folder / BEST)

    def clear(self) -> None:
        """Forget the run: its results are written."""
        if not _not_thaws(self.folder):
            remove_folder(self.folder)

    def flaw(self, *names: str) -> str:
        """Return what is wrong with the files of these names, all by default, "" for nothing.

        Nothing is opened that is not a plain file: a FIFO would never answer.
        """
        try:
            if strange := _not_thaws(self.folder):
                return strange
            lines = (self.folder / MANIFEST).read_text("utf-8", "replace").splitlines()
            if self._title not in lines:
                return f"{MANIFEST} is damaged, or another run's"
            for name in names or (LAST, BEST, HISTORY):
                if self._line(self.folder, name) not in lines:
                    return f"{name} is not what was written"
        except (OSError, ThawError) as error:
            return str(error)
        return ""

    def _check(self, name: str) -> None:
        if flaw := self.flaw(name):
            raise ThawError(
                f"the checkpoint {self.folder} was damaged while this run used it: {flaw}. Another "
                "program changed it, or the disk fails. Run again: training then starts over."
            )

    @property
    def _title(self) -> str:
        return f"# run {self.folder.name}"

    @staticmethod
    def _line(folder: Path, name: str) -> str:
        return f"{sha256(folder / name)}  {name}"


def checkpoint(
    root: Path,
    stage: str,
    params: Mapping[str, object],
    files: Sequence[Path],
    package: str = "training",
) -> Checkpoint:
    """Return the place for a run's state; of other unfinished runs by its name, the newest stays.

    Args:
        root: the project's folder.
        stage: the stage's name, with the seed or cell where it has several runs.
        params: every param that the result depends on.
        files: every file that it depends on.
        package: the last package of thaw's that it depends on, whose code counts, too, with that
            of the packages above it: what draws figures cannot change a training.

    """
    identity = {
        "params": params,
        "files": [sha256(path) for path in [*files, *_code(package)]],
        "versions": [version(name) for name in ("keras", "tensorflow", "openvino", "numpy")],
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    folder = root / PRIVATE / "checkpoints" / stage
    if os.path.lexists(folder / digest) and not _is_folder(folder / digest):
        _start_over(folder / digest, NO_FOLDER)
    put_back(folder / digest)
    unfinished = list(folder.glob(f"{SCRATCH}*"))  # a run was killed while it wrote
    others = [path for path in folder.glob("*") if _is_checkpoint(path) and path.name != digest]
    older = sorted(others, key=lambda path: path.lstat().st_mtime)[:-1]
    for useless in (*unfinished, *older):
        if not _not_thaws(useless):
            remove_folder(useless)
    return Checkpoint(folder / digest)


def _code(last: str) -> list[Path]:
    """Return the modules of the packages through `last`, and of packages in them."""
    names = list(PACKAGES)
    folder = Path(thaw.__file__).parent
    packages = names[: names.index(last) + 1]
    return [
        folder / "__init__.py",
        *(path for name in packages for path in sorted((folder / name).rglob("*.py"))),
    ]


def _is_checkpoint(path: Path) -> bool:
    """Whether `checkpoint` made it: a copy that somebody keeps beside it has another name."""
    return bool(re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", path.name)) and _is_folder(path)


def _is_folder(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink()


def _not_thaws(place: Path) -> str:
    """Return what at `place` thaw did not write there, "" for nothing."""
    if not _is_folder(place):
        return NO_FOLDER
    try:
        for path in place.iterdir():
            if path.name not in FILES:
                return f"{path.name} is not of a checkpoint"
            if path.is_symlink() or not path.is_file():
                return f"{path.name} is no plain file"
    except OSError as error:
        return str(error)
    return ""


def _start_over(place: Path, flaw: str) -> None:
    """Say so, and remove what is at `place`, or move it aside where it is not all thaw's."""
    kept = ""
    if _not_thaws(place):
        names = (place.with_name(f"{place.name}-aside-{i}") for i in itertools.count(1))
        aside = next(name for name in names if not os.path.lexists(name))
        place.rename(aside)
        kept = f"it is not all thaw's, so it was kept as {aside.name}; "
    else:
        remove_folder(place)
    print(f"the checkpoint {place} is damaged, {flaw}: {kept}{STARTS_OVER}", flush=True)


def uncompiled(model: keras.Model) -> keras.Model:
    """Return the same layers as a model that was never compiled: it is saved without optimizer.

    It keeps the name, which Keras writes into the file: a numbered one would differ between an
    interrupted and an uninterrupted run.
    """
    return keras.Model(model.inputs, model.outputs, name=model.name)
