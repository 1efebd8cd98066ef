"""The state of an unfinished training. It is written whole, and checked before it is used."""

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
"""All that a checkpoint holds. The manifest has the digests of the others, as `sha256sum` does."""
STARTS_OVER = "training starts over"
"""What training says when a checkpoint is damaged."""
NO_FOLDER = "it is no folder"
_DIGITS = 16
"""Of the digest that a checkpoint's folder is called by."""


@dataclass(frozen=True)
class Checkpoint:
    """What a fit needs to go on: weights, optimizer, best weights, history.

    The folder's name is a digest of everything that decides the result, so that no run resumes
    another one: see `open_checkpoint`.
    """

    folder: Path

    def save(self, model: keras.Model, history: History) -> None:
        """Save the state after an epoch, whole or not at all, even in a power cut.

        Raises:
            ThawError: the best weights so far are no longer what was written.

        """
        # The model's variables twice: the last epoch's, and those of the best.
        saved = [*model.variables, *model.variables, *model.optimizer.variables]
        require_space(self.folder, 4 * sum(math.prod(variable.shape) for variable in saved))
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
        """Bring a compiled `model` to where it stopped, and return its history so far.

        Without a checkpoint the history is empty. A damaged checkpoint is reported and removed, and
        the model stays as it is.
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
        """Give a fitted `model` the weights of its last epoch; raises what `restore_best` does."""
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
        """Remove the checkpoint, once the run's results are written."""
        if not _not_thaws(self.folder):
            remove_folder(self.folder)

    def flaw(self, *names: str) -> str:
        """Return what is wrong with the files of these names (default: all), or "".

        Only plain files are opened: a FIFO would never answer.
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


def open_checkpoint(
    root: Path,
    stage: str,
    params: Mapping[str, object],
    files: Sequence[Path],
    package: str = "training",
) -> Checkpoint:
    """Return the place for a run's state.

    Of the other unfinished runs of the same stage, only the newest stays.

    Args:
        root: the project's folder.
        stage: the stage's name, with the seed or cell where it has several runs.
        params: every param that the result depends on: the stage's config, dumped.
        files: every file that it depends on.
        package: the last package of thaw's that it depends on. The code of that package and of
            those above it counts too. What draws figures cannot change a training.

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
    put_back(folder / digest)
    unfinished = list(folder.glob(f"{SCRATCH}*"))  # of runs that were killed while they wrote
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
    """Whether `open_checkpoint` made it: a copy that somebody keeps beside it has another name."""
    return bool(re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", path.name)) and kind(path) == FOLDER


def _not_thaws(place: Path) -> str:
    """Return what at `place` thaw did not write there, or ""."""
    if kind(place) != FOLDER:
        return NO_FOLDER
    try:
        for path in place.iterdir():
            if path.name not in FILES:
                return f"{path.name} is not of a checkpoint"
            if kind(path) != FILE:
                return f"{path.name} is no plain file"
    except OSError as error:
        return str(error)
    return ""


def _start_over(place: Path, flaw: str) -> None:
    """Report the damage, and remove what is at `place`; move it aside if it is not all thaw's."""
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

    It keeps the name, which Keras writes into the file. A new model would get a number, which would
    differ between an interrupted and an uninterrupted run.
    """
    return keras.Model(model.inputs, model.outputs, name=model.name)
