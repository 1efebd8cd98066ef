import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_net import batches, network, others, settings

from tests.reliability.checkpoints import cases, flip, state
from thaw.support.errors import ThawError
from thaw.support.files import SCRATCH
from thaw.training.checkpoint import (
    BEST,
    HISTORY,
    LAST,
    MANIFEST,
    STARTS_OVER,
    Checkpoint,
    open_checkpoint,
)
from thaw.training.fitting import fit
from thaw.training.history import History


def test_history_as_csv(tmp_path: Path) -> None:
    row = {"epoch": 1, "loss": 1.5, "accuracy": 0.25, "val_loss": 2.0, "val_accuracy": 0.125}
    History([row]).write(tmp_path / "history.csv")
    text = (tmp_path / "history.csv").read_text()
    assert text == "epoch,loss,accuracy,val_loss,val_accuracy\n1,1.5,0.25,2.0,0.125\n"


def test_a_checkpoint_is_found_again_by_the_same_run_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"one")
    first = open_checkpoint(tmp_path, "stage", {"seed": 0}, [data])
    assert open_checkpoint(tmp_path, "stage", {"seed": 0}, [data]) == first
    first.folder.mkdir(parents=True)
    assert open_checkpoint(tmp_path, "stage", {"seed": 1}, [data]) != first
    assert first.folder.exists(), "the newest other run may be wanted again"
    older = first.folder.with_name("0123456789abcdef")
    older.mkdir()
    os.utime(older, (0, 0))
    (first.folder.parent / f"{SCRATCH}0").mkdir()  # a killed run's, and the newest of all
    open_checkpoint(tmp_path, "stage", {"seed": 1}, [data])
    assert [path.name for path in first.folder.parent.iterdir()] == [first.folder.name]
    data.write_bytes(b"two")
    assert open_checkpoint(tmp_path, "stage", {"seed": 0}, [data]) != first


def test_a_checkpoint_is_found_that_a_kill_left_put_aside(tmp_path: Path) -> None:
    kept = open_checkpoint(tmp_path, "stage", {"seed": 0}, [])
    kept.folder.mkdir(parents=True)
    kept.folder.replace(kept.folder.with_name(f"{SCRATCH}{kept.folder.name}-old"))
    assert open_checkpoint(tmp_path, "stage", {"seed": 0}, []) == kept
    assert [path.name for path in kept.folder.parent.iterdir()] == [kept.folder.name]


def test_the_code_that_decides_a_run_makes_its_checkpoint_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only draws keeps an interrupted run; a package in a package counts as well."""
    code = tmp_path / "thaw"
    for name in (
        "__init__.py",
        "network/layers/new.py",
        "training/fitting.py",
        "report/figures.py",
    ):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text("")
    monkeypatch.setattr("thaw.__file__", str(code / "__init__.py"))
    before = open_checkpoint(tmp_path, "stage", {}, [])
    (code / "report/figures.py").write_text("BLUE = 'red'")
    assert open_checkpoint(tmp_path, "stage", {}, []) == before
    for name in ("network/layers/new.py", "training/fitting.py"):
        (code / name).write_text("1")
        assert open_checkpoint(tmp_path, "stage", {}, []) != before
        (code / name).write_text("")
    assert open_checkpoint(tmp_path, "stage", {}, []) == before


Run = tuple[History, list[np.ndarray]]


def train(kept: Checkpoint, epochs: int) -> Run:
    """Fit a new network; its first epoch is its best."""
    model = network()
    fast = settings(learning_rate=0.1, epochs=epochs)
    return fit(model, batches(), others(), fast, kept), model.get_weights()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A run of three epochs: its checkpoint, and what it gave."""
    other = tmp_path_factory.mktemp("undisturbed") / "other"
    return other, train(Checkpoint(other), 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after two epochs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    history, _ = train(Checkpoint(folder), 2)
    assert history.best_epoch == 1, "the test needs a run whose last epoch is not its best"
    return folder


@pytest.fixture
def kept(whole: Path, tmp_path: Path) -> Checkpoint:
    shutil.copytree(whole, tmp_path / "run")
    return Checkpoint(tmp_path / "run")


def contents(folder: Path) -> list[tuple[str, bytes]]:
    return sorted((path.name, path.read_bytes()) for path in folder.iterdir())


def test_every_damage_is_noticed_that_changes_a_byte(
    whole: Path, undisturbed: tuple[Path, Run], tmp_path: Path
) -> None:
    place, unchanged = tmp_path / "run", 0
    assert Checkpoint(whole).flaw() == ""
    every = list(cases(whole, undisturbed[0], 3, random.Random(0)))
    for case in every:
        shutil.copytree(whole, place, symlinks=True)
        case.damage(place)
        if not Checkpoint(place).flaw():
            unchanged += 1
            assert contents(place) == contents(whole), case
        place.rename(tmp_path / f"{len(list(tmp_path.iterdir()))}")
    assert unchanged < len(every) / 10


@pytest.mark.parametrize("name", [LAST, BEST, HISTORY, MANIFEST, ""])
def test_a_damaged_checkpoint_starts_training_over(
    kept: Checkpoint, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(kept.folder) if not name else flip(kept.folder / name, 0)
    if not name:
        os.mkfifo(kept.folder)
    model = network()
    model.compile("adam")
    before = state(model)
    assert kept.resume(model) == History()
    assert state(model) == before
    (said,) = capsys.readouterr().out.splitlines()
    assert f"{kept.folder} is damaged, " in said
    assert said.endswith(STARTS_OVER)


def test_training_that_starts_over_ends_as_an_undisturbed_one(
    undisturbed: tuple[Path, Run], kept: Checkpoint
) -> None:
    with (kept.folder / LAST).open("r+b") as file:
        file.seek((kept.folder / LAST).stat().st_size // 2)
        file.write(bytes(4096))
    history, weights = train(kept, 3)
    assert history == undisturbed[1][0]
    for a, b in zip(weights, undisturbed[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_thaw_did_not_write_is_kept_aside(tmp_path: Path, kept: Checkpoint) -> None:
    model = network()
    (kept.folder / "notes.txt").write_text("mine")
    assert kept.resume(model) == History()
    kept.folder.symlink_to(tmp_path / "run-aside-1", target_is_directory=True)
    assert kept.resume(model) == History()
    assert not os.path.lexists(kept.folder)
    assert (tmp_path / "run-aside-2").is_symlink()
    assert (tmp_path / "run-aside-2/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("make", [os.mkfifo, Path.touch, lambda path: path.symlink_to("gone")])
def test_what_is_no_folder_makes_room_for_a_checkpoint(tmp_path: Path, make: object) -> None:
    place = open_checkpoint(tmp_path, "stage", {}, []).folder
    place.parent.mkdir(parents=True)
    for path in (place, *(place.with_name(f"other{i}") for i in range(2))):
        make(path)
    assert open_checkpoint(tmp_path, "stage", {}, []).folder == place
    names = sorted(path.name for path in place.parent.iterdir())
    assert names == sorted([f"{place.name}-aside-1", "other0", "other1"])


def test_damage_while_a_run_goes_on_ends_it(kept: Checkpoint) -> None:
    """A new manifest must not vouch for it, and no result be made of it."""
    model = network()
    model.compile("adam")
    history = kept.resume(model)
    flip(kept.folder / BEST, 0)
    worse = History([*history.rows, history.rows[0] | {"val_loss": 99.0}])
    for use in (lambda: kept.save(model, worse), lambda: kept.restore_best(model)):
        with pytest.raises(ThawError, match=r"run was damaged .*best.*Run again"):
            use()
    kept.restore_last(model)
    flip(kept.folder / LAST, 0)
    with pytest.raises(ThawError, match=r"run was damaged .*last.*Run again"):
        kept.restore_last(model)
