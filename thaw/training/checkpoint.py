"""The state of an unfinished training, which is written atomically and checked before use."""

import hashlib
import itertools
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import keras

import thaw
from thaw import PACKAGES
from thaw.support import paths
from thaw.support.errors import ThawError
from thaw.support.files import (
    SCRATCH,
    atomic_folder,
    put_back,
    remove_folder,
    require_space,
    sha256,
)
from thaw.support.places import FILE, FOLDER, kind
from thaw.training.history import History

LAST, BEST, HISTORY, MANIFEST = FILES = (
    "last.weights.h5",
    "best.weights.h5",
    "history.json",
    "SHA256SUMS",
)
"""The files of a checkpoint. The manifest lists the others' digests in `sha256sum` format."""
STARTS_OVER = "training starts over"
"""The end of the message that training prints when a checkpoint is damaged."""
NO_FOLDER = "it is not a folder"
_DIGITS = 16
"""Length of a checkpoint folder's name, which is the start of a SHA-256 digest."""


@dataclass(frozen=True)
class Checkpoint:
    """The state that a fit needs to resume: weights, optimizer, best weights and history.

    The folder's name is a digest of everything that the result depends on, so that no run resumes
    from the state of another one. See `open_checkpoint`.
    """

    folder: Path

    def save(self, model: keras.Model, history: History) -> None:
        """Save the state after an epoch, completely or not at all, even if the power fails.

        Raises:
            OSError: there is not enough space on disk.
            ThawError: the file of the best weights was damaged.

        """
        # The model's variables count twice: for the last epoch and for the best one.
        saved = [*model.variables, *model.variables, *model.optimizer.variables]
        require_space(self.folder, 4 * sum(math.prod(variable.shape) for variable in saved))
        with atomic_folder(self.folder, durable=True) as scratch:
            model.save_weights(scratch / LAST)
            if history.best_epoch == history.epochs:
                uncompiled(model).save_weights(scratch / BEST)
            else:
                self._check(BEST)  # or the new manifest would contain the digest of a damaged file
                shutil.copyfile(self.folder / BEST, scratch / BEST)
            # Not rounded, unlike metrics: a resumed run must end with the same history.
            (scratch / HISTORY).write_text(json.dumps(asdict(history)))
            lines = [self._line(scratch, name) for name in (LAST, BEST, HISTORY)]
            (scratch / MANIFEST).write_text("\n".join([self._title, *lines, ""]))

    def resume(self, model: keras.Model) -> History:
        """Load the saved state into a compiled `model`, and return its history so far.

        Without a checkpoint the history is empty. If the checkpoint is damaged, this prints what is
        wrong, removes it and returns an empty history; the model stays as it is.
        """
        if not os.path.lexists(self.folder):
            return History()
        if flaw := self.flaw():
            _start_over(self.folder, flaw)
            return History()
        history = History(**json.loads((self.folder / HISTORY).read_bytes()))
        # Keras loads the state of an optimizer only if its variables exist.
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.folder / LAST)
        return history

    def restore_last(self, model: keras.Model) -> None:
        """Load the weights of the last epoch into a fitted `model`.

        Raises:
            ThawError: their file was damaged.

        """
        self._check(LAST)
        model.load_weights(self.folder / LAST)

    def restore_best(self, model: keras.Model) -> None:
        """Load the weights of the best epoch into a fitted `model`.

        Raises:
            ThawError: their file was damaged.

        """
        self._check(BEST)
        uncompiled(model).load_weights(self.folder / BEST)

    def clear(self) -> None:
        """Remove the checkpoint. Call this after the run's results have been written."""
        if not _not_thaws(self.folder):
            remove_folder(self.folder)

    def flaw(self, *names: str) -> str:
        """Return what is wrong with the named files (default: all of them), or "".

        Only regular files are opened, because opening a FIFO would block forever.
        """
        try:
            if strange := _not_thaws(self.folder):
                return strange
            lines = (self.folder / MANIFEST).read_text("utf-8", "replace").splitlines()
            if self._title not in lines:
                return f"{MANIFEST} is damaged or belongs to another run"
            for name in names or (LAST, BEST, HISTORY):
                if self._line(self.folder, name) not in lines:
                    return f"{name} has changed since it was written"
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


def open_checkpoint(
    root: Path,
    stage: str,
    params: Mapping[str, object],
    files: Sequence[Path],
    package: str = "training",
) -> Checkpoint:
    """Return the checkpoint of a run, which may not exist yet.

    This also tidies up: of the other unfinished runs of the same stage, it keeps only the newest.

    Args:
        root: the project's folder.
        stage: the stage's name, followed by the seed or the cell if it has several runs.
        params: every param that the result depends on, which is the stage's config as a dict.
        files: every file that the result depends on.
        package: the last of thaw's packages (in the order of `thaw.PACKAGES`) that the result
            depends on. Their code is part of the digest too. Code that only draws figures is not,
            because it cannot change a training.

    """
    identity = {
        "params": params,
        "files": [sha256(path) for path in [*files, *_code(package)]],
        "versions": [version(name) for name in ("keras", "tensorflow", "openvino", "numpy")],
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    folder = root / paths.PRIVATE / "checkpoints" / stage
    if os.path.lexists(folder / digest) and kind(folder / digest) != FOLDER:
        _start_over(folder / digest, NO_FOLDER)
    put_back(folder / digest)  # if a run was killed between the two renames of its last save
    unfinished = list(folder.glob(f"{SCRATCH}*"))  # of runs that were killed while writing
    others = [path for path in folder.glob("*") if _is_checkpoint(path) and path.name != digest]
    # The newest stays for whoever tries other params and then goes back to those of that run.
    older = sorted(others, key=lambda path: path.lstat().st_mtime)[:-1]
    for useless in (*unfinished, *older):
        if not _not_thaws(useless):  # never delete what somebody else put there
            remove_folder(useless)
    return Checkpoint(folder / digest)


def _code(last: str) -> list[Path]:
    """Return the Python files of all packages up to and including `last`, subpackages included."""
    names = list(PACKAGES)
    folder = Path(thaw.__file__).parent
    packages = names[: names.index(last) + 1]
    return [
        folder / "__init__.py",
        *(path for name in packages for path in sorted((folder / name).rglob("*.py"))),
    ]


def _is_checkpoint(path: Path) -> bool:
    """Whether `open_checkpoint` made it. A copy that somebody made has a different name."""
    return bool(re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", path.name)) and kind(path) == FOLDER


def _not_thaws(place: Path) -> str:
    """Return why `place` is not a folder with only thaw's files in it, or ""."""
    if kind(place) != FOLDER:
        return NO_FOLDER
    try:
        for path in place.iterdir():
            if path.name not in FILES:
                return f"{path.name} does not belong to a checkpoint"
            if kind(path) != FILE:
                return f"{path.name} is not a regular file"
    except OSError as error:
        return str(error)
    return ""


def _start_over(place: Path, flaw: str) -> None:
    """Print the damage and remove `place`, or rename it if it holds other files than thaw's."""
    kept = ""
    if _not_thaws(place):
        names = (place.with_name(f"{place.name}-aside-{i}") for i in itertools.count(1))
        aside = next(name for name in names if not os.path.lexists(name))
        place.rename(aside)
        kept = f"thaw did not write all of it, so it was kept as {aside.name}; "
    else:
        remove_folder(place)
    print(f"the checkpoint {place} is damaged, {flaw}: {kept}{STARTS_OVER}", flush=True)


def uncompiled(model: keras.Model) -> keras.Model:
    """Return a model of the same layers that was not compiled, so its file has no optimizer.

    Keras writes the model's name into the file. The name is kept because Keras would number a new
    one, and the number would differ between an interrupted and an uninterrupted run.
    """
    return keras.Model(model.inputs, model.outputs, name=model.name)
