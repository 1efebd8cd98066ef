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
from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml
from imports import files_of, imported_names, project_imports

from thaw import PACKAGES
from thaw.config import stages as configs
from thaw.config.params import Params
from thaw.support.versions import DECISIVE
from tools.versions import versions

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = PIPELINE["stages"]
PRETRAIN = yaml.safe_load((ROOT / "pretrain/dvc.yaml").read_text())["stages"]


def script(stage: str) -> Path:
    return ROOT / "stages" / f"{stage.replace('-', '_')}.py"


def outputs(stage: str) -> list[str]:
    entries = [*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])]
    return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]


def test_the_stages_have_their_names() -> None:
    assert set(STAGES) == {
        *("check", "download", "weights", "preprocess", "baseline", "features"),
        *("train-frozen", "train-full", "train-partial", "diagnose", "report"),
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_loads_thaw_before_any_library(stage: str) -> None:
    """NumPy and TensorFlow read once which kernels compute, and thaw/__init__.py says which."""
    packages = {name.split(".")[0] for name in imported_names(script(stage))}
    assert packages <= sys.stdlib_module_names | {"thaw"}
    assert len(ast.parse((ROOT / "stages/__init__.py").read_text()).body) == 1  # a docstring


def packages(stage: str) -> set[str]:
    """Return the packages of thaw's that a stage imports from, directly or not."""
    files = {path.relative_to(ROOT) for path in project_imports(script(stage))}
    return {path.parts[1] for path in files if path.parts[0] == "thaw" and len(path.parts) > 2}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_code_is_exactly_what_it_imports(stage: str) -> None:
    code = {path for path in STAGES[stage]["deps"] if path.startswith(("thaw", "stages"))}
    needed = {f"thaw/{name}" for name in packages(stage)}
    assert code == {f"stages/{script(stage).name}", "thaw/__init__.py", *needed}
    assert STAGES[stage]["cmd"] == f"python -m stages.{script(stage).stem}"


@pytest.mark.parametrize("stage", PRETRAIN)
def test_pretrains_code_is_exactly_the_modules_that_it_imports(stage: str) -> None:
    """Modules, not packages: thaw/ lies outside of that DVC project, where .dvcignore has no say
    about the .pyc files in it.
    """
    folder = ROOT / "pretrain"
    code = {(folder / path).resolve() for path in PRETRAIN[stage]["deps"] if path.endswith(".py")}
    needed = {path for path in project_imports(folder / f"{stage}.py") if path.stat().st_size}
    assert code == needed - {folder / "__init__.py"}


@pytest.mark.parametrize("name", ["__pycache__/a.pyc", "a.pyc", ".a.py.swp", "a.py~", ".#a.py"])
def test_what_python_and_editors_leave_changes_no_package(name: str) -> None:
    """A new .pyc beside a module would run every stage that depends on its package again."""
    with Repo(ROOT) as repo:
        assert repo.dvcignore.is_ignored_file(str(ROOT / "thaw/network" / name))
        assert not repo.dvcignore.is_ignored_file(str(ROOT / "thaw/network/backbone.py"))


@pytest.mark.parametrize("stage", STAGES)
def test_another_version_of_what_computes_runs_a_stage_again(stage: str) -> None:
    if stage in ("check", "download"):
        return  # the one computes nothing, the other is held to fixed digests
    expected = "requirements.lock" if stage == "report" else "versions.yaml"
    assert expected in STAGES[stage]["deps"]


def test_the_versions_are_the_locked_ones() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert yaml.safe_load((ROOT / "versions.yaml").read_text()) == versions(lock)


def test_whatever_computes_has_its_version_named() -> None:
    named = {"pillow": "PIL", "scikit-image": "skimage", "scikit-learn": "sklearn"}
    imported = {
        name.split(".")[0]
        for stage in STAGES
        for path in project_imports(script(stage))
        for name in imported_names(path)
    }
    # What reads, checks, fetches and shows; threads are counted, not computed with.
    other = {*("aiohttp", "certifi", "dvclive", "jinja2", "joblib", "matplotlib", "psutil")}
    other |= {*("pydantic", "ruamel", "tenacity", "threadpoolctl", "tqdm", "urllib3", "thaw")}
    libraries = imported - set(sys.stdlib_module_names) - other
    assert libraries == {named.get(name, name) for name in DECISIVE}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_params_are_what_its_config_holds(stage: str) -> None:
    if stage in ("check", "report"):
        assert STAGES[stage]["params"] == [{"params.yaml": None}], "they read them all"
    else:
        assert STAGES[stage]["params"] == sorted(configs.STAGES[stage].model_fields)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_waits_until_the_params_are_checked(stage: str) -> None:
    """DVC removes a stage's outputs before the stage can refuse its params."""
    waiting = [stage]
    for later in waiting:  # it grows: what a stage waits for, and what that waits for
        deps = STAGES[later]["deps"]
        waiting += [name for name in STAGES if set(outputs(name)) & set(deps)]
    assert "check" in waiting


@pytest.mark.parametrize("stage", configs.STAGES)
def test_a_stage_reads_params_through_its_config_alone(stage: str) -> None:
    """`load_params` gives all of params.yaml, of which DVC watches only what the stage names."""
    names = imported_names(script(stage))
    assert f"thaw.config.stages.{configs.STAGES[stage].__name__}" in names
    for path in project_imports(script(stage)):
        if "thaw/config" not in path.as_posix():
            assert "thaw.config.load.load_params" not in imported_names(path), path


def test_freeze_is_read_by_train_partial_alone() -> None:
    assert [name for name, stage in STAGES.items() if "freeze" in stage.get("params", [])] == [
        "train-partial"
    ]


def test_every_package_has_its_place_in_the_order() -> None:
    assert sorted(PACKAGES) == sorted(path.parent.name for path in ROOT.glob("thaw/*/__init__.py"))


ENTRIES = ("predict.py", "export.py", "demo.py")
"""Modules that are run as commands: nothing imports them, so they may import every package."""


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "thaw").rglob("*.py")),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_imports_go_one_way(path: Path) -> None:
    """From a package to itself and to those that stand before it in thaw/__init__.py."""
    if path.parent == ROOT / "thaw" and path.name in ENTRIES:
        return
    package = path.relative_to(ROOT / "thaw").parts[0]
    order = list(PACKAGES)
    allowed = order[: order.index(package) + 1] if package in order else ["support"]
    names = (name.split(".") for name in imported_names(path))
    imported = {name[1] for name in names if name[0] == "thaw" and len(name) > 1} & set(order)
    back = [f"{package} -> {name}" for name in sorted(imported - set(allowed))]
    assert not back, f"{path.relative_to(ROOT)} imports against the order: {back}"


@pytest.mark.parametrize("entry", ENTRIES)
def test_nothing_imports_a_command(entry: str) -> None:
    name = f"thaw.{Path(entry).stem}"
    for path in sorted((ROOT / "thaw").rglob("*.py")) + sorted((ROOT / "stages").rglob("*.py")):
        assert name not in imported_names(path), path


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_way_of_another(package: str) -> None:
    for path in sorted((ROOT / "thaw" / package).rglob("*.py")):
        if path.name == "__init__.py":
            continue
        others = {file for name in imported_names(path) for file in files_of(name)}
        others = {file for file in others if file.name != "__init__.py"}
        assert path not in {file for other in others for file in project_imports(other)}, path


@pytest.mark.parametrize("stage", ["check", "download", "preprocess", "report"])
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
    assert paths == {f"data/models/{mode}" for mode in ("frozen", "full", "partial")}
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
