"""What packages cost instead of modules, by hand, in a repository of a few commits."""

import shutil
from pathlib import Path

import pytest

from tests.reliability.project import Project
from tools import replay

PIPELINE = """stages:
  one:
    deps: [data/raw, thaw/images.py]
  two:
    deps: [thaw/mirrors.py]
  three:
    deps: [thaw/heads.py]
"""


def test_each_changed_module_stands_for_todays_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "thaw").mkdir()
    for name in ("images", "mirrors", "heads"):
        (tmp_path / f"thaw/{name}.py").write_text(f"{name} = 1\n" * 9)
        project.commit()
    for package, names in {"data": ("images", "mirrors"), "network": ("heads",)}.items():
        (tmp_path / "thaw" / package).mkdir()
        for name in names:
            shutil.move(tmp_path / f"thaw/{name}.py", tmp_path / f"thaw/{package}")
    (tmp_path / "thaw/support").mkdir()
    (tmp_path / replay.FIRST_PACKAGE).touch()
    project.commit()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["replay", "--commits", "2"])
    replay.main()
    rows = [line.split(" | ")[1:] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [["1", "1 |"], ["1", "2 |"], ["2", "3 |"]]


def test_a_changed_file_counts_for_the_folder_that_it_is_in() -> None:
    stages = {"a": ["data/raw"], "b": ["data/raw/x"], "c": ["data/raw2"]}
    assert replay.runs({"data/raw/y"}, stages) == {"a"}
