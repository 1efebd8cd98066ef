"""DVC's queue, as DVC's objects show it."""

from pathlib import Path

import pytest

from tests.reliability.project import Project
from tools.dvc_queue import Queue, look

PIPELINE = "stages:\n  s:\n    cmd: python -c 'assert ${x} != 13'\n    params: [x]\n"


def test_what_waits_is_told_from_what_ended_at_earlier_commits() -> None:
    states = (("a", "Running"), ("b", "Queued"), ("", "Queued"), ("a", "Success"), ("c", "Failed"))
    queue = Queue(states, workers=1)
    assert queue.pending == {"a", "b", ""}
    assert queue.names("Failed") == {"c"}
    assert queue.busy
    assert not Queue(states, workers=0).busy
    assert not Queue(states[3:], workers=1).busy


def test_where_dvc_has_no_project_the_process_ends_with_one_message(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: DVC's queue cannot be read: .*DVC repository"):
        look(tmp_path)


def test_queued_experiments_are_seen(tmp_path: Path) -> None:
    for name, text in {"dvc.yaml": PIPELINE, "params.yaml": "x: 1\n"}.items():
        (tmp_path / name).write_text(text)
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    project.dvc("init", "--quiet")
    project.commit()
    assert look(tmp_path) == Queue((), 0)
    project.dvc("exp", "run", "--queue", "--name", "waits", "-S", "x=2")
    assert look(tmp_path) == Queue((("waits", "Queued"),), 0)
