"""Checkpoints damaged in hundreds of ways: python -m tests.reliability.checkpoints [--times N].

thaw's own functions train a head and leave a checkpoint. Copies of it are damaged, by file and kind
and, where the kind has one, offset; half of the offsets are in a file's first 8 KB, where HDF5 has
its header. A new model takes each copy up. It must have either the state and history of the
undisturbed run (the damage is harmless) or its own first state, no history, and a line that says so
(the damage is noticed); both lead to the undisturbed run's bytes. The first of each kind is trained
to its end, to see that it does.
"""

import argparse
import io
import itertools
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from thaw.config.params import Fit, Head
from thaw.network.faster import Adam
from thaw.network.heads import FEATURES, build_head
from thaw.support.runtime import set_up
from thaw.training.batches import ArrayBatches
from thaw.training.checkpoint import (
    BEST,
    FILES,
    HISTORY,
    LAST,
    MANIFEST,
    STARTS_OVER,
    Checkpoint,
    open_checkpoint,
)
from thaw.training.fitting import fit

RATE, EPOCHS_BEFORE, EPOCHS = 0.05, 2, 3
OUTCOMES = ("noticed", "harmless", "silent", "traceback")
HEADER_BYTES = 8192
CLASSES = 10
PAGE = 4096
State = tuple[bytes, ...]


class Case(NamedTuple):
    """A damage: to which file (or the folder), of which kind, and what does it to a checkpoint."""

    file: str
    kind: str
    damage: Callable[[Path], object]


class Expected(NamedTuple):
    """The undisturbed run: at its start, where it was interrupted, and at its end."""

    first: State
    resumed: State
    end: State


def new_model() -> keras.Model:
    """Return a head in its first state, compiled."""
    keras.utils.set_random_seed(0)
    model = build_head(Head(units=(16,), dropout=0.3, l2=1e-4), CLASSES, seed=0, fast=True)
    model.compile(Adam(RATE))
    return model


def train(model: keras.Model, kept: Checkpoint, epochs: int) -> State:
    """Fit `model` until so many epochs are run; return what it ends with."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(200, FEATURES)).astype("float32")
    labels = draw.integers(0, CLASSES, 200)
    seen = ArrayBatches(features[:100], labels[:100], 50, 0)
    settings = Fit(epochs=epochs, batch_size=50, learning_rate=RATE)
    history = fit(model, seen, ArrayBatches(features[100:], labels[100:], 50), settings, kept)
    return (*state(model), repr(history).encode())


def state(model: keras.Model) -> State:
    """Return the bytes of all that a model and its optimizer hold."""
    variables = [*model.variables, *model.optimizer.variables]
    return tuple(keras.ops.convert_to_numpy(variable).tobytes() for variable in variables)


def take_up(kept: Checkpoint) -> State:
    """Return what a new model has of a checkpoint, the best epoch's weights included."""
    model = new_model()
    history = kept.resume(model)
    taken = (*state(model), repr(history).encode())
    if history.epochs:
        kept.restore_best(model)
        taken += state(model)
    return taken


def zeros(count: int) -> Callable[[Path, int], None]:
    """Return what sets `count` bytes to 0."""

    def damage(path: Path, offset: int) -> None:
        start = offset - offset % PAGE if count == PAGE else offset
        with path.open("r+b") as file:
            file.seek(start)
            file.write(bytes(min(count, path.stat().st_size - start)))

    return damage


def flip(path: Path, offset: int) -> None:
    """Turn one bit over."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << offset % 8
    path.write_bytes(content)


AT_OFFSET: dict[str, Callable[[Path, int], object]] = {
    "1 byte is 0": zeros(1),
    "512 bytes are 0": zeros(512),
    "a page of 4 KB is 0": zeros(PAGE),
    "a bit is flipped": flip,
    "cut off": os.truncate,
}


def replaced(by: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what removes a file or folder, and puts something else into its place."""

    def damage(path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        by(path)

    return damage


def swap(path: Path) -> None:
    """Give a file and the next one each other's names."""
    other = path.with_name(FILES[(FILES.index(path.name) + 1) % len(FILES)])
    spare = path.with_name("spare")
    for source, target in ((path, spare), (other, path), (spare, other)):
        source.rename(target)


def of_a_file(other_run: Path) -> dict[str, Callable[[Path], object]]:
    """Return the damages to a file that have no offset."""
    return {
        "removed": Path.unlink,
        "empty": lambda path: os.truncate(path, 0),
        "other bytes": lambda path: path.write_bytes(bytes(range(256)) * 16),
        "another run's": replaced(lambda path: shutil.copy(other_run / path.name, path)),
        "swapped with the next": swap,
        "a folder": replaced(Path.mkdir),
        "a FIFO": replaced(os.mkfifo),
        "a link": replaced(lambda path: path.symlink_to(other_run / path.name)),
        "a link to nothing": replaced(lambda path: path.symlink_to("nothing")),
    }


def of_the_folder(other_run: Path) -> dict[str, Callable[[Path], object]]:
    """Return the damages to the folder."""
    return {
        "empty": replaced(Path.mkdir),
        "one file more": lambda path: (path / "more").write_text("more"),
        "another run's": replaced(lambda path: shutil.copytree(other_run, path)),
        "a file": replaced(lambda path: path.write_text("file")),
        "a FIFO": replaced(os.mkfifo),
        "a link": replaced(lambda path: path.symlink_to(other_run)),
        "a link to nothing": replaced(lambda path: path.symlink_to("nothing")),
    }


def inside(name: str, act: Callable[..., object], *args: int) -> Callable[[Path], object]:
    """Return what does a damage to the file of this name in a folder."""
    return lambda folder: act(folder / name, *args)


def cases(whole: Path, other_run: Path, times: int, draw: random.Random) -> Iterator[Case]:
    """Yield every damage, each kind's one after another."""
    for name in (LAST, BEST, HISTORY, MANIFEST):
        size = (whole / name).stat().st_size
        for kind, act in AT_OFFSET.items():
            for i in range(times):
                offset = draw.randrange(min(size, HEADER_BYTES) if i % 2 else size)
                yield Case(name, kind, inside(name, act, offset))
        for kind, replace in of_a_file(other_run).items():
            yield Case(name, kind, inside(name, replace))
    for kind, replace in of_the_folder(other_run).items():
        yield Case("the folder", kind, replace)


def outcome(place: Checkpoint, expected: Expected, to_its_end: bool) -> str:
    """Take a damaged checkpoint up; return which of `OUTCOMES` that had."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            again = open_checkpoint(place.folder.parents[3], place.folder.parent.name, {}, [])
            assert again == place, "thaw's code must not change while this runs"
            taken = train(new_model(), again, EPOCHS) if to_its_end else take_up(again)
    except Exception:
        traceback.print_exc()
        return "traceback"
    noticed = STARTS_OVER in said.getvalue()
    if to_its_end:
        right = taken == expected.end
    else:
        right = taken == (expected.first if noticed else expected.resumed)
    return ("noticed" if noticed else "harmless") if right else "silent"


def results(root: Path, times: int, seed: int) -> Iterator[tuple[str, str, Counter[str]]]:
    """Damage a checkpoint in `root` in every way; yield the outcomes of each file and kind."""
    place, other = (open_checkpoint(root / name, "frozen", {}, []) for name in ("run", "other"))
    other = Checkpoint(other.folder.with_name("0" * 16))
    first = (*state(new_model()), repr(place.resume(new_model())).encode())
    whole = root / "whole"
    with redirect_stdout(io.StringIO()):  # training says where it goes on
        train(new_model(), other, EPOCHS_BEFORE + 1)
        train(new_model(), place, EPOCHS_BEFORE)
        shutil.copytree(place.folder, whole)
        expected = Expected(first, take_up(place), train(new_model(), place, EPOCHS))
    every = cases(whole, other.folder, times, random.Random(seed))
    tried: set[str] = set()
    for (file, kind), alike in itertools.groupby(every, key=lambda case: case[:2]):
        found: Counter[str] = Counter()
        for case in alike:
            shutil.rmtree(place.folder.parent)
            shutil.copytree(whole, place.folder)
            case.damage(place.folder)
            found[outcome(place, expected, to_its_end=kind not in tried)] += 1
            tried.add(kind)
        yield file, kind, found


def main() -> None:
    """Print a line for each file and kind; end with 1 where a damage was not survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.checkpoints")
    parser.add_argument("--times", type=int, default=20, help="for each file and kind with offset")
    parser.add_argument("--seed", type=int, default=0, help="of the offsets")
    options = parser.parse_args()
    os.environ["THAW_QUIET"] = "1"
    set_up(2)
    total: Counter[str] = Counter()
    print("| File | Damage | Tried | Noticed | Harmless | Silent | Tracebacks |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for file, kind, found in results(Path(folder), options.times, options.seed):
            total += found
            print(line(file, kind, found), flush=True)
    print(line("all", "all", total))
    sys.exit(1 if total["silent"] + total["traceback"] else 0)


def line(file: str, kind: str, count: Counter[str]) -> str:
    """Return a row of the table."""
    counts = (count.total(), *(count[outcome] for outcome in OUTCOMES))
    return f"| {' | '.join(map(str, (file, kind, *counts)))} |"


if __name__ == "__main__":
    main()
