"""dvc.yaml against the code: what a stage depends on, and what it reads."""

import ast
import re
import sys
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from dvc.utils.serialize import modify_yaml
from imports import files_of, imported_names, project_imports

from thaw.config.params import Params
from thaw.support.versions import DECISIVE
from tools.versions import versions

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = PIPELINE["stages"]
ORDER = (
    *(
        "environment",
        "parent",
        "places",
        "files",
        "yaml_file",
        "params",
        "versions",
        "process",
        "memory",
        "stage",
        "runtime",
        "fashion_mnist",
        "transfer",
        "mirrors",
        "hdf5",
        "imagenet",
        "bundled",
    ),
    *(
        "images",
        "weights",
        "layouts",
        "published",
        "sources",
        "backbone",
        "inference",
        "features",
        "activations",
        "heads",
        "evaluation",
        "baseline",
    ),
    *("optimizers", "batches", "checkpoint", "training", "canvas", "figures", "modes"),
    *("diagnosis", "results", "drawing", "reporting"),
)


def script(stage: str) -> Path:
    return ROOT / "stages" / f"{stage.replace('-', '_')}.py"


def outputs(stage: str) -> list[str]:
    entries = [*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])]
    return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]


def test_the_stages_have_their_names() -> None:
    assert set(STAGES) == {
        *("download", "weights", "preprocess", "baseline", "features"),
        *("train-frozen", "train-full", "train-partial", "diagnose", "report"),
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_loads_thaw_before_any_library(stage: str) -> None:
    """NumPy and TensorFlow read once which kernels compute, and thaw/__init__.py says which."""
    packages = {name.split(".")[0] for name in imported_names(script(stage))}
    assert packages <= sys.stdlib_module_names | {"thaw"}
    assert len(ast.parse((ROOT / "stages/__init__.py").read_text()).body) == 1  # a docstring


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_code_is_exactly_what_it_imports(stage: str) -> None:
    declared = {path for path in STAGES[stage]["deps"] if path.endswith(".py")}
    needed = {path.relative_to(ROOT).as_posix() for path in project_imports(script(stage))}
    assert declared == needed | {"thaw/__init__.py"}
    assert STAGES[stage]["cmd"] == f"python -m stages.{script(stage).stem}"


@pytest.mark.parametrize("stage", STAGES)
def test_another_version_of_what_computes_runs_a_stage_again(stage: str) -> None:
    if stage == "download":
        return  # held to fixed digests
    expected = "requirements.lock" if stage == "report" else "versions.yaml"
    assert expected in STAGES[stage]["deps"]


def test_the_versions_are_the_locked_ones() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert yaml.safe_load((ROOT / "versions.yaml").read_text()) == versions(lock)


def test_whatever_computes_has_its_version_named() -> None:
    named = {"scikit-image": "skimage", "scikit-learn": "sklearn"}
    imported = {
        name.split(".")[0]
        for stage in STAGES
        for path in project_imports(script(stage))
        for name in imported_names(path)
    }
    # What reads, checks, fetches and shows; threads are counted, not computed with.
    other = {*("aiohttp", "certifi", "jinja2", "joblib", "matplotlib", "psutil", "pydantic")}
    other |= {*("ruamel", "tenacity", "threadpoolctl", "tqdm", "urllib3", "thaw")}
    libraries = imported - set(sys.stdlib_module_names) - other
    assert libraries == {named.get(name, name) for name in DECISIVE}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_params_exist_and_are_the_ones_that_its_code_reads(stage: str) -> None:
    if stage == "report":
        assert STAGES[stage]["params"] == [{"params.yaml": None}], "the report names them all"
        assert "load_params(root).model_dump" in (ROOT / "thaw/report/pages.py").read_text()
        return
    declared = set(STAGES[stage].get("params", []))
    assert declared <= set(Params.model_fields)
    # The stage's own script, and for the modes the functions that it calls.
    sources = [script(stage).read_text()]
    called = {
        "train-frozen": "train_frozen",
        "train-full": "fine_tune",
        "train-partial": "fine_tune",
    }
    if stage in called:
        sources.append(function_source("modes", called[stage]))
    if stage == "diagnose":
        sources.append((ROOT / "thaw/findings/diagnosis.py").read_text())
    if stage == "preprocess":
        sources.append(function_source("images", "split"))
    read = {name for text in sources for name in re.findall(r"\bparams\.(\w+)", text)}
    read = {name for name in read if name in Params.model_fields}
    assert read <= declared | {"dataset"}
    assert declared - {"dataset"} <= read


def function_source(module: str, name: str) -> str:
    text = (ROOT / "thaw" / f"{module}.py").read_text()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_source_segment(text, node) or ""
    raise AssertionError(f"{module} has no function {name}")


def test_freeze_is_read_by_train_partial_alone() -> None:
    assert [name for name, stage in STAGES.items() if "freeze" in stage.get("params", [])] == [
        "train-partial"
    ]


def test_imports_go_one_way() -> None:
    assert sorted(path.stem for path in (ROOT / "thaw").glob("*.py")) == sorted(
        [*ORDER, "__init__"]
    )
    for i, module in enumerate(ORDER):
        names = imported_names(ROOT / "thaw" / f"{module}.py")
        imported = {file.stem for name in names for file in files_of(name)} - {"__init__"}
        assert imported <= set(ORDER[:i]), module


@pytest.mark.parametrize("stage", ["download", "preprocess", "report"])
def test_stages_that_use_no_neural_network_do_not_import_tensorflow(stage: str) -> None:
    names = {name for path in project_imports(script(stage)) for name in imported_names(path)}
    assert not {name for name in names if name.split(".")[0] in ("keras", "tensorflow")}


def test_every_output_is_written_by_one_stage() -> None:
    every = [path for stage in STAGES for path in outputs(stage)]
    assert len(every) == len(set(every))


def test_nothing_is_drawn_twice() -> None:
    for stage in STAGES.values():
        assert "plots" not in stage, "declared once, at the top level"
    shown = [entry if isinstance(entry, str) else next(iter(entry)) for entry in PIPELINE["plots"]]
    assert len(shown) == len(set(shown))


def test_the_three_models_are_artifacts() -> None:
    paths = {artifact["path"] for artifact in PIPELINE["artifacts"].values()}
    assert paths == {f"data/models/{mode}.weights.h5" for mode in ("frozen", "full", "partial")}
    assert paths <= {path for stage in STAGES for path in outputs(stage)}


def test_params_lists_are_in_block_style() -> None:
    assert not re.search(r":\s*[\[{]", (ROOT / "params.yaml").read_text()), (
        "DVC rewrites flow lists"
    )


def test_every_param_has_a_comment() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    top = [i for i, line in enumerate(lines) if re.match(r"\w+:", line)]
    assert len(top) == len(Params.model_fields)
    assert all(lines[i - 1].startswith("#") for i in top)


def test_dvc_changes_only_the_line_that_it_sets(tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text().splitlines()
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(before) + "\n")
    with modify_yaml(path) as entries:
        entries["freeze"] = 20
        entries["head"]["units"] = [128, 64]
    after = path.read_text().splitlines()
    changed = [line for line in ndiff(before, after) if line[0] in "+-"]
    assert changed == ["- freeze: 10", "+ freeze: 20", "+   - 64"]
