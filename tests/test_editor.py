"""What editors and GitHub show: the dev container and the drawing of the stages."""

import json
import re

from conftest import ROOT

from tools.dag_page import PAGE, redrawn


def test_the_page_draws_the_stages_that_there_are() -> None:
    page = (ROOT / PAGE).read_text()
    assert "```mermaid\nflowchart" in page
    assert page == redrawn(page, ROOT), "run: python -m tools.dag_page"


def test_the_dev_container_is_set_up_by_make() -> None:
    content = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert re.fullmatch(r"python:3\.1[123]\.\d+-\w+", content["image"]), "a whole version"
    program, *targets = content["postCreateCommand"].split()
    assert program == "make"
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    assert content["remoteEnv"]["PATH"].startswith("${containerWorkspaceFolder}/.venv/bin:")
    assert {"iterative.dvc", "ms-python.python"} == set(
        content["customizations"]["vscode"]["extensions"]
    )
