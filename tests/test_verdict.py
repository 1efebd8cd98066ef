"""What `make repro` says of a run beside the committed one."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from tests.reliability.project import Project
from tools.verdict import GO_BACK, KEEP, difference, verdict

ACCURACIES = {"frozen": (0.8654, 0.0067), "partial": (0.8835, 0.0063), "full": (0.8313, 0.0073)}


def write(
    root: Path, accuracies: dict[str, tuple[float, float]], freeze: int = 10, code: str = "c"
) -> None:
    """Write metrics and a lock: the digest of a stage's output is its accuracy."""
    (root / "metrics").mkdir(exist_ok=True)
    stages = {}
    for mode, (accuracy, half) in accuracies.items():
        content = {mode: {"acc": accuracy, "ci95": half}}
        (root / f"metrics/{mode}.json").write_text(json.dumps(content))
        stages[mode] = {
            "deps": [{"path": "thaw/training", "md5": code}],
            "params": {"params.yaml": {"freeze": freeze, "head": {"units": [128]}}},
            "outs": [{"path": f"metrics/{mode}.json", "md5": str(accuracy)}],
        }
    # The report depends on outputs, and its own params and code decide no result.
    report = {"deps": [{"path": "thaw/report", "md5": code}], "outs": []}
    lock = {"schema": "2.0", "stages": {**stages, "report": report}}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    write(tmp_path, ACCURACIES)
    project.commit()
    return tmp_path


def test_the_interval_of_a_difference_is_that_of_the_formula() -> None:
    """0.3 and 0.4 are two sides of a triangle whose third is 0.5."""
    assert difference((0.75, 0.3), (0.5, 0.4)) == pytest.approx((0.25, 0.5))
    # Two accuracies of 0.8654 on 10,000 images: 1.96 * sqrt(2 * 0.8654 * 0.1346 / 10,000).
    assert difference((0.8654, 0.0067), (0.8654, 0.0067))[1] == pytest.approx(0.0095, abs=5e-5)


def test_the_same_outputs_are_reproduced(committed: Path) -> None:
    said = verdict(committed)
    assert said == "reproduced: all outputs are the committed ones, byte for byte."


def test_a_difference_within_the_interval_is_rounding(committed: Path) -> None:
    """hypot(0.0073, 0.0073) = 0.01032, and 0.8347 - 0.8313 = 0.0034."""
    write(committed, ACCURACIES | {"full": (0.8347, 0.0073)})
    said = verdict(committed)
    assert "train-full      0.8347     0.8313     +0.0034   -0.0069 to +0.0137\n" in said
    assert "train-frozen    0.8654     0.8654     +0.0000   -0.0095 to +0.0095\n" in said
    assert "reproduced within rounding of another processor" in said
    assert "other bytes: 1." in said
    assert KEEP in said
    assert GO_BACK in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(("by", "differs"), [(0.0103, False), (0.0104, True), (-0.0104, True)])
def test_a_difference_beyond_the_interval_is_named(
    committed: Path, by: float, differs: bool
) -> None:
    write(committed, ACCURACIES | {"full": (0.8313 + by, 0.0073)})
    said = verdict(committed)
    assert ("\ndiffers: train-full, by more" in said) is differs
    assert "train-partial," not in said


def test_other_params_or_code_are_not_compared(committed: Path) -> None:
    write(committed, ACCURACIES | {"full": (0.1, 0.0073)}, freeze=20, code="d")
    said = verdict(committed)
    assert said.endswith("made with other:\n  freeze\n  thaw/training")


@pytest.mark.parametrize("there_is", ["no repository", "no commit", "no results", "no git"])
def test_without_committed_results_there_is_nothing_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_is: str
) -> None:
    project = Project(tmp_path)
    if there_is != "no repository":
        project.run("git", "init", "--quiet")
    if there_is == "no results":
        project.commit()
    if there_is == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    write(tmp_path, ACCURACIES)
    assert verdict(tmp_path) == "Nothing to compare with: git's HEAD has no results."


def test_before_the_first_run_there_is_nothing_to_judge(tmp_path: Path) -> None:
    assert "`dvc repro` makes them" in verdict(tmp_path)


def test_make_repro_ends_with_it_and_readers_are_told_the_same_way_back() -> None:
    recipe = (ROOT / "Makefile").read_text().split("\nrepro: setup\n")[1].split("\n\n")[0]
    assert recipe.splitlines()[-1].endswith("python -m tools.verdict")
    assert f"`{GO_BACK}`" in (ROOT / "README.md").read_text()
