"""A stage's run ends with its dvc, and no second one runs beside it. Real processes throughout."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

from reliability.project import DVC, environment
from thaw.support import parent, process
from thaw.support.errors import ThawError
from thaw.support.process import alone

# A stage that takes as long as it is let, and loads no TensorFlow, which would take seconds.
# A shell that starts tests in the background has them, and their children, ignore SIGINT.
STAGE = """
import signal
import time
from pathlib import Path
from thaw.support.files import atomic_file
from thaw.support.stage import run

signal.signal(signal.SIGINT, signal.default_int_handler)

def main():
    with atomic_file(Path("out")) as scratch:
        scratch.write_text("whole")
        Path("running").touch()
        for _ in range(600):
            if Path("done").exists():
                return "done"
            time.sleep(0.1)

run("slow", main)
"""
STAGES = """
stages:
  slow:
    cmd: python slow.py
    outs:
      - out
"""
AS_DVC_STARTS_IT = """
import os, subprocess
shell = os.environ["SHELL"]
subprocess.run([shell, "-c", "python slow.py"], env={**os.environ, "DVC_STAGE": "slow"})
"""
SHELLS = [shell for shell in ("/bin/bash", "/bin/dash") if Path(shell).exists()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(STAGE)
    (tmp_path / "dvc.yaml").write_text(STAGES)
    return tmp_path


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Start a command in the project, in a group of its own: a signal to it reaches no other."""
    every = []

    def one(*command: str, shell: str = "/bin/sh", **more: str) -> subprocess.Popen[str]:
        changes = {"SHELL": shell, "PYTHONPATH": str(ROOT), **more}
        every.append(
            subprocess.Popen(
                command,
                cwd=project,
                env=environment() | changes,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return every[-1]

    yield one
    (project / "done").touch()
    for each in every:
        each.communicate(timeout=60)


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    last = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < last
        time.sleep(0.02)


def running_stage(project: Path) -> psutil.Process:
    wait_for((project / "running").exists)
    return psutil.Process(int((project / ".thaw/locks/slow").read_text()))


def has_ended(stage: psutil.Process) -> bool:
    try:
        return stage.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ends_with(starter: subprocess.Popen[str], project: Path, number: signal.Signals) -> str:
    """Signal who started the stage alone; return what was said until all had ended."""
    stage = running_stage(project)
    starter.send_signal(number)
    said, _ = starter.communicate(timeout=30)
    wait_for(lambda: has_ended(stage), 10)
    assert sorted(path.name for path in project.glob("*out*")) == []
    return said


@pytest.mark.parametrize("shell", SHELLS)
def test_a_stage_ends_with_who_started_it(project: Path, start: Start, shell: str) -> None:
    starter = start(sys.executable, "-c", AS_DVC_STARTS_IT, shell=shell)
    said = ends_with(starter, project, signal.SIGKILL)
    assert "dvc, which started this stage, has ended" in said
    assert "stage slow was interrupted; run it again to go on" in said
    assert "Traceback" not in said


def test_a_stage_that_begins_after_its_dvc_has_ended_ends_too(project: Path, start: Start) -> None:
    late = start("sh", "-c", "(sleep 0.5; exec python slow.py) &", DVC_STAGE="slow")
    said, _ = late.communicate(timeout=30)
    assert said == "\ndvc, which started this stage, has ended\n"
    assert not (project / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_ends_with_its_dvc(
    project: Path, start: Start, shell: str, number: signal.Signals
) -> None:
    subprocess.run((*DVC, "init", "--quiet", "--no-scm"), cwd=project, check=True)
    said = ends_with(start(*DVC, "repro", shell=shell), project, number)
    assert "stage slow was interrupted; run it again to go on" in said
    (project / "done").touch()
    again = start(*DVC, "repro", shell=shell)
    said, _ = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert (project / "out").read_text() == "whole"


def test_a_stage_that_somebody_started_by_hand_goes_on(project: Path, start: Start) -> None:
    """As by `nohup python -m stages.x &`, after which the shell is left."""
    by_hand = AS_DVC_STARTS_IT.replace("DVC_STAGE", "NO_STAGE")
    starter = start(sys.executable, "-c", by_hand)
    stage = running_stage(project)
    starter.kill()
    with pytest.raises(psutil.TimeoutExpired):
        stage.wait(2 * parent._LOOK)
    (project / "done").touch()
    wait_for((project / "out").exists)


def test_a_stage_ends_while_it_still_loads_libraries(project: Path, start: Start) -> None:
    loading = "import os, thaw\nfrom pathlib import Path\n"
    loading += "Path('.thaw/locks').mkdir(parents=True)\n"
    loading += "Path('.thaw/locks/slow').write_text(str(os.getpid()))\n"
    (project / "slow.py").write_text(
        loading + "Path('running').touch()\n__import__('time').sleep(60)"
    )
    said = ends_with(start(sys.executable, "-c", AS_DVC_STARTS_IT), project, signal.SIGKILL)
    assert said == "\ndvc, which started this stage, has ended\n"


def test_a_stage_that_takes_no_interrupt_ends_all_the_same(project: Path, start: Start) -> None:
    """A shell starts what it puts in the background with interrupts ignored."""
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    quick = "from thaw.support import parent; parent._GRACE = 0.1\n"
    (project / "slow.py").write_text(deaf + quick + STAGE)
    starter = start(sys.executable, "-c", AS_DVC_STARTS_IT)
    stage = running_stage(project)
    starter.kill()
    wait_for(lambda: has_ended(stage), 10)
    assert not (project / "out").exists()


def test_a_second_run_names_the_first_and_changes_nothing(project: Path, start: Start) -> None:
    first = start(sys.executable, "slow.py")
    stage = running_stage(project)
    assert stage.pid == first.pid
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    impatient = "from thaw.support import process; process.WAIT = 0\n"
    second = start(sys.executable, "-c", impatient + STAGE)
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert (
        f"error in stage slow: another run of slow is going on in this folder, process {first.pid}"
        in said
    )
    assert f"kill {first.pid}" in said
    assert "Traceback" not in said
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    (project / "done").touch()
    assert "slow: done" in first.communicate(timeout=60)[0]
    assert (project / "out").read_text() == "whole"


def test_a_run_waits_for_one_that_is_about_to_end(tmp_path: Path) -> None:
    holds = "from pathlib import Path; import time; from thaw.support.process import alone\n"
    holds += "with alone('s', Path('locks')): Path('running').touch(); time.sleep(0.5)"
    other = subprocess.Popen(
        (sys.executable, "-c", holds), cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    wait_for((tmp_path / "running").exists)
    with alone("s", tmp_path / "locks"):
        assert (tmp_path / "locks/s").read_text() == str(os.getpid())
    assert other.wait() == 0


def test_stages_do_not_wait_for_each_other_nor_for_a_killed_run(tmp_path: Path) -> None:
    (tmp_path / "killed").write_text("123456")
    with alone("one", tmp_path), alone("other", tmp_path), alone("killed", tmp_path):
        assert (tmp_path / "killed").read_text() == str(os.getpid())


def test_a_lock_that_is_a_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "slow").symlink_to(tmp_path / "mine")
    with pytest.raises(ThawError, match="slow must be a file"), alone("slow", tmp_path):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_system_without_locks_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(process._NO_LOCKS[0], "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with alone("slow", tmp_path):
        pass
