import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from thaw.support import versions
from thaw.support.errors import ThawError

STAGE = """
import sys
from thaw.support.stage import run
import zstandard
run(sys.argv[1], lambda: "done")
"""
LOCKED = versions.locked(versions.read_lock(ROOT))


def stage(name: str, folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STAGE, name],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with a package of another version, as `pip install --target` makes one."""
    folder = tmp_path / "other folder"
    for package in ("zstandard", "zstandard-0.1.dist-info"):
        (folder / package).mkdir(parents=True)
    (folder / "zstandard/__init__.py").write_text("__version__ = '0.1'\n")
    metadata = "Metadata-Version: 2.1\nName: zstandard\nVersion: 0.1\n"
    (folder / "zstandard-0.1.dist-info/METADATA").write_text(metadata)
    return folder


def test_a_stage_refuses_another_version_than_the_locked_one(tmp_path: Path, other: Path) -> None:
    ended = stage("features", tmp_path, other)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert f"zstandard: {LOCKED['zstandard']} is locked. Received: 0.1" in ended.stderr
    assert str(other / "zstandard") in ended.stderr
    assert "`unset PYTHONPATH`" in ended.stderr
    assert "make setup" in ended.stderr


def test_a_stage_refuses_a_copy_without_a_name(tmp_path: Path, other: Path) -> None:
    """As a clone of a library on PYTHONPATH is: it may say any version of itself."""
    (other / "zstandard-0.1.dist-info/METADATA").unlink()
    (other / "zstandard-0.1.dist-info").rmdir()
    same = LOCKED["zstandard"]
    (other / "zstandard/__init__.py").write_text(f"__version__ = {same!r}\n")
    ended = stage("features", tmp_path, other)
    assert ended.returncode == 1
    assert f"zstandard: {same} is locked. Received: a copy of {same}, in " in ended.stderr


def test_the_report_hangs_on_what_draws_it_the_download_on_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "locked", lambda _: LOCKED | {"matplotlib": "1.0"})
    versions.check("download")
    versions.check("features")
    with pytest.raises(ThawError, match=r"matplotlib: 1.0 is locked. Received: \d"):
        versions.check("report")


def test_what_is_not_installed_is_missing() -> None:
    assert versions._received("no-such-package") == ("none", "")
