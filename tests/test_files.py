import errno
import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thaw.support.errors import ThawError
from thaw.support.files import (
    atomic_file,
    atomic_folder,
    put_back,
    read_csv,
    read_json,
    remedy,
    remove_folder,
    require_space,
    write_csv,
    write_json,
)
from thaw.support.stage import explain, run


def write_half(place: AbstractContextManager[Path]) -> None:
    with place as scratch:
        (scratch / "half" if scratch.is_dir() else scratch).write_text("half")
        raise RuntimeError


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file.weights.h5"
    with atomic_file(path) as scratch:
        assert scratch.name.endswith(".weights.h5"), "Keras insists on the suffix"
        scratch.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(atomic_file(path))
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for content in ("one", "two"):
        with atomic_folder(folder) as scratch:
            (scratch / "file").write_text(content)
    assert (folder / "file").read_text() == "two"
    with pytest.raises(RuntimeError):
        write_half(atomic_folder(folder))
    assert (folder / "file").read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_folder_comes_back_if_its_replacement_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    with atomic_folder(folder) as scratch:
        (scratch / "file").write_text("one")
    move, moved = Path.replace, []

    def fail_second(self: Path, target: Path) -> Path:
        moved.append(self)
        if len(moved) == 2:
            raise KeyboardInterrupt
        return move(self, target)

    monkeypatch.setattr(Path, "replace", fail_second)
    with pytest.raises(KeyboardInterrupt), atomic_folder(folder) as scratch:
        (scratch / "file").write_text("two")
    assert (folder / "file").read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_a_kill_took_away_is_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two moves of its replacement, nothing is tidied up."""
    folder = tmp_path / "folder"
    with atomic_folder(folder) as scratch:
        (scratch / "file").write_text("one")
    move = Path.replace

    def move_old_only(self: Path, target: Path) -> Path:
        return move(self, target) if self == folder else self

    with monkeypatch.context() as killed:
        killed.setattr(Path, "replace", move_old_only)
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)
        with atomic_folder(folder) as scratch:
            (scratch / "file").write_text("two")
    assert not folder.exists()
    put_back(folder)
    assert (folder / "file").read_text() == "one"
    put_back(folder)
    with atomic_folder(folder) as scratch:
        (scratch / "file").write_text("two")
    assert (folder / "file").read_text() == "two"


def test_a_folder_is_removed_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    with atomic_folder(folder) as scratch:
        (scratch / "one").write_text("one")
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)
        remove_folder(folder)
    assert not folder.exists()
    remove_folder(folder)


def test_a_durable_folder_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files, their names, and before the old one is removed the new one's name."""
    done: list[str] = []
    sync, move, remove = os.fsync, Path.replace, shutil.rmtree

    def note(what: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **how: Any) -> Any:
            place = f"/dev/fd/{args[0]}" if isinstance(args[0], int) else args[0]
            done.append(f"{what} {Path(os.path.realpath(place)).name.split('-')[0]}")
            return act(*args, **how)

        return noting

    for name in ("old", "new"):
        done.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", note("sync", sync))
            patch.setattr(Path, "replace", note("move", move))
            patch.setattr(shutil, "rmtree", note("remove", remove))
            with atomic_folder(tmp_path / "folder", durable=True) as scratch:
                (scratch / "file").write_text(name)
    while done[0].startswith("remove"):
        done.pop(0)
    assert done[:5] == [
        "sync file",
        "sync .thaw",
        "move folder",
        "move .thaw",
        f"sync {tmp_path.name.split('-')[0]}",
    ]
    assert done[5:]
    assert all(step.startswith("remove") for step in done[5:])


def test_what_is_damaged_leads_to_the_check_of_dvcs_copies() -> None:
    (module,) = re.findall(r"python -m ([\w.]+)", remedy())
    assert importlib.util.find_spec(module)


def test_space_is_asked_for_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000_000))
    require_space(tmp_path / "not" / "there", 50_000_000)
    with pytest.raises(OSError, match=r"112 MB are needed, 100 MB are free") as caught:
        require_space(tmp_path / "not" / "there", 80_000_000)
    assert "no space left" in explain(caught.value)


def test_metrics_are_sorted_and_rounded(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 0.123456, "a": "text", "c": 3})
    assert (tmp_path / "m.json").read_text() == '{\n  "a": "text",\n  "b": 0.1235,\n  "c": 3\n}\n'
    assert read_json(tmp_path / "m.json") == {"a": "text", "b": 0.1235, "c": 3}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metrics_that_are_no_numbers_are_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "m.json", {"loss": value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "", "[1]", "{", "\ufffe"])
def test_json_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "m.json").write_text(content)
    with pytest.raises(ThawError, match=r"m\.json .*dvc repro"):
        read_json(tmp_path / "m.json")


def test_csv_comes_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("a", "b"), [(1, "x,y"), (2, "z")])
    assert read_csv(tmp_path / "t.csv") == [{"a": "1", "b": "x,y"}, {"a": "2", "b": "z"}]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1\n", b"a,b\n1,2,3\n"])
def test_csv_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ThawError, match=r"t\.csv .*dvc repro"):
        read_csv(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "data/x"), r"data/x: .*no space left"),
        (OSError("Can't write data (errno = 28, No space left on device)"), "no space left"),
        (PermissionError(errno.EACCES, "Permission denied", "data/x"), "may not be written"),
    ],
)
def test_what_the_disk_refuses_is_explained(error: OSError, said: str) -> None:
    pattern = pytest.raises(SystemExit, match=rf"error in stage s: .*{said}.*Received: ")
    with pattern:
        run("s", lambda: raise_(error))


def raise_(error: BaseException) -> str:
    raise error


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(FileNotFoundError):
        explain(FileNotFoundError(errno.ENOENT, "gone"))
    with pytest.raises(ZeroDivisionError):
        run("s", lambda: str(1 / 0))


def test_a_stage_says_what_it_did_and_logs_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("s", lambda: "done")
    assert capsys.readouterr().out == "s: done (0 s)\n"
    assert ",s,0." in (tmp_path / ".thaw/timings.csv").read_text()


def test_ctrl_c_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("s", lambda: raise_(KeyboardInterrupt()))
    assert ended.value.code == 130
    assert "run it again to go on" in capsys.readouterr().err


def test_nested_metrics_are_rounded_and_finite(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"b": {"c": {"d": 0.123456}}, "a": 1})
    assert read_json(path) == {"a": 1, "b": {"c": {"d": 0.1235}}}
    path.write_text('{"b": {"c": {"d": Infinity}}}')
    with pytest.raises(ThawError, match=r"b\.c\.d must be finite\. Received: inf"):
        read_json(path)
