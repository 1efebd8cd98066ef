"""A stage whose output nobody takes, whose files may not be read, or whose memory does not do."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import tensorflow as tf
from conftest import ROOT

from thaw.config.stages import TrainFullConfig
from thaw.support import memory
from thaw.support.stage import explain, run

TALKING = """
from thaw.support.stage import run
def main():
    for _ in range({lines}):
        print("x" * 100)
    open("written", "w").write("whole")
    return "done"
run("s", main)
"""


def shell(folder: Path, redirected: str, lines: int = 0) -> subprocess.CompletedProcess[str]:
    (folder / "talking.py").write_text(TALKING.format(lines=lines))
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} talking.py {redirected}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize(("lines", "unbuffered"), [(0, "1"), (1000, "")])
def test_standard_output_that_is_full_ends_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int, unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    ended = shell(tmp_path, "> /dev/full", lines)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    expected = "error in stage s: standard output can no longer be written. Received: [Errno 28]"
    assert ended.stderr.startswith(expected)


def test_standard_output_that_nobody_reads_ends_with_one_message(tmp_path: Path) -> None:
    ended = shell(tmp_path, "| true", 1000)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "can no longer be written. Received: [Errno 32] Broken pipe" in ended.stderr


@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_lead_to_nothing(tmp_path: Path, redirected: str) -> None:
    """The file that is opened next must not get their number: what is printed would be in it."""
    ended = shell(tmp_path, redirected, 1000)
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert (tmp_path / "written").read_text() == "whole"


@pytest.mark.parametrize(("readable", "said"), [(True, "written"), (False, "read")])
def test_what_is_not_permitted_is_said_rightly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool, said: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: readable)  # root may do all
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path))
    assert f"It may not be {said}. Change the permissions" in explain(error)


def in_place_of(path: Path) -> Callable[[], str]:
    return lambda: path.write_text("x") and ""


@pytest.mark.parametrize("place", ["folder", "file/name", "circle"])
def test_a_file_in_place_of_a_folder_and_the_like_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(SystemExit, match=rf"error in stage s: .*{place}: There is a folder where"):
        run("s", in_place_of(tmp_path / place))


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_times_that_cannot_be_kept_lose_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".thaw/timings.csv"
    path.parent.mkdir()
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    run("s", lambda: "done")
    assert capsys.readouterr().out == "s: done (0 s)\n"


def fail(error: BaseException) -> str:
    raise error


EXHAUSTED = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 9 GiB"), EXHAUSTED])
def test_too_little_memory_is_one_message(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 4.0)
    expected = "error in stage s: the memory ran out. It takes about 3.7 GB; 4.0 GB were free. End "
    with pytest.raises(SystemExit, match=expected):
        run("s", lambda: fail(error), lambda: 3.7)


def test_where_nobody_knows_what_a_stage_takes_that_is_left_out() -> None:
    with pytest.raises(SystemExit, match=r"the memory ran out\. End other programs"):
        run("s", lambda: fail(MemoryError()))


@pytest.mark.parametrize(("free", "warned"), [(5.0, False), (1.0, True)])
def test_memory_that_may_not_do_is_said_before(
    write_params: Callable[[Any], Path],
    entries: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free: float,
    warned: bool,
) -> None:
    monkeypatch.chdir(write_params(entries | {"image_size": 224}))
    monkeypatch.setattr(memory, "available", lambda: free)
    run("train-full", lambda: "done", TrainFullConfig.memory_needed)
    expected = "train-full may not have enough memory. It takes about 3.7 GB; 1.0 GB were free. If"
    assert (expected in capsys.readouterr().err) is warned


def test_larger_images_need_more_memory(
    write_params: Callable[[Any], Path], entries: dict[str, Any]
) -> None:
    needs = [
        TrainFullConfig.memory_needed(write_params(entries | {"image_size": side}))
        for side in (32, 128, 224)
    ]
    assert needs == sorted(needs)
    assert (needs[0], needs[2]) == pytest.approx(TrainFullConfig.memory_gb)


def test_a_stage_without_valid_params_has_no_known_need(tmp_path: Path) -> None:
    assert TrainFullConfig.memory_needed(tmp_path) == 0


@pytest.mark.parametrize(
    ("line", "folder", "names"),
    [
        ("0::/some/box", "some/box", ("memory.max", "memory.current", "inactive_file")),
        ("0::/some/box", "some", ("memory.max", "memory.current", "inactive_file")),
        ("0::/", "", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:memory:/box",
            "memory/box",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_a_containers_limit_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    folder: str,
    names: tuple[str, str, str],
) -> None:
    group = tmp_path / folder
    group.mkdir(parents=True, exist_ok=True)
    for name, content in zip(names, ("3000000", "1500000", "anon 7\n{} 500000\n"), strict=True):
        (group / (name if "file" not in name else "memory.stat")).write_text(content.format(name))
    (tmp_path / "membership").write_text(f"9:cpu:/x\n{line}\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_MEMBERSHIP", tmp_path / "membership")
    assert memory.available() == pytest.approx(0.002)
    (group / names[0]).write_text("max\n")
    assert memory.available() > 0.002
    monkeypatch.setattr(memory, "_MEMBERSHIP", tmp_path / "nothing")
    assert memory.available() == pytest.approx(psutil.virtual_memory().available / 1e9, rel=0.2)
