"""docs/first-steps.ipynb, run as a reader runs it. Minutes."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import ROOT
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.reliability.project import create, tiny_params

NOTEBOOK = ROOT / "docs/first-steps.ipynb"


def run(root: Path) -> str:
    """Run the notebook in docs/ of a project, as editors do; return what it prints and draws."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(root / "docs")}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text") or str(output.get("data")) for output in outputs)


def test_its_outputs_are_not_in_git() -> None:
    """They differ with the processor, and nobody could review them."""
    code = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if "outputs" in cell]
    assert len(code) > 3
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_it_shows_the_mistake_and_the_fix(tmp_path: Path) -> None:
    project = create(tmp_path)
    with pytest.raises(CellExecutionError, match="First run: dvc repro preprocess weights"):
        run(project.root)
    samples = {"train": 500, "validation": 500, "test": 10}
    params = tiny_params() | {"weights": "bundled"}
    params["samples"] |= samples
    params["diagnose"] = yaml.safe_load((ROOT / "params.yaml").read_text())["diagnose"]
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    project.dvc("repro", "preprocess", "weights")
    said = run(project.root)
    found = re.findall(r"(.*) training (0\.\d\d), validation (0\.\d\d)", said)
    validation = {name.strip(): float(accuracy) for name, _, accuracy in found}
    assert validation["0-255 input, moving statistics"] > 0.6
    assert validation["0-1 input, batch statistics"] < 0.2
    assert said.count("image/png") == 3
