import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from tools import verify_cache

# It is DVC that uses what pygtrie deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder and a file that DVC knows."""
    monkeypatch.chdir(tmp_path)
    repo = Repo.init(no_scm=True)
    (tmp_path / "some folder").mkdir()
    for name in ("some folder/a", "some folder/b", "c"):
        (tmp_path / name).write_text(name * 100)
    repo.add(["some folder", "c"])
    repo.close()
    return tmp_path


def damage(project: Path, content: str) -> Path:
    """Cut off the object that has this content, as DVC leaves it: read-only."""
    every = [path for _, path in verify_cache.objects(project / ".dvc/cache/files/md5")]
    (path,) = (path for path in every if path.read_text() == content)
    path.chmod(0o644)
    path.write_text(content[:50])
    path.chmod(0o444)
    return path


def test_a_whole_cache_is_said_to_be(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify_cache.main()
    assert "All 4 objects of DVC's cache are intact" in capsys.readouterr().out


def test_what_is_damaged_is_named_with_what_replaces_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy that is whole may be the last one: it stays."""
    cut = damage(project, "some folder/a" * 100)
    other = damage(project, "c" * 100)
    shutil.copy(cut, project / "some folder/a")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as ended:
        verify_cache.main()
    assert ended.value.code == 1
    assert {path: path.read_bytes() for path in before} == before, "it deletes nothing"
    said = capsys.readouterr().out
    assert f"damaged: {cut.relative_to(project)} (some folder/a)" in said
    assert "2 of 4 objects" in said
    commands = [line for line in said.splitlines() if line.startswith("  rm")]
    subprocess.run("\n".join(commands), shell=True, check=True)
    gone = {path for path in before if not path.exists()}
    assert gone == {cut, other, project / "some folder/a"}
    assert said.splitlines()[-1].startswith("  dvc repro ")


def test_a_damaged_list_of_a_folder_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (listed,) = project.glob(".dvc/cache/files/md5/??/*.dir")
    damage(project, listed.read_text())
    with pytest.raises(SystemExit):
        verify_cache.main()
    assert f"damaged: {listed.relative_to(project)} (some folder)" in capsys.readouterr().out


def test_outside_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"error: DVC cannot read this project: .*not inside"):
        verify_cache.main()
