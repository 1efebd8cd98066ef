"""A new version of Keras may move its private modules: what moved is named here."""

import ast
import importlib

import keras
import pytest
from conftest import ROOT
from imports import imported_names

MODULE = ROOT / "thaw/support/keras_private.py"
TAKEN = [
    (node.module, alias.name)
    for node in ast.walk(ast.parse(MODULE.read_text()))
    if isinstance(node, ast.ImportFrom) and str(node.module).startswith("keras.")
    for alias in node.names
]


@pytest.mark.parametrize(("module", "name"), TAKEN)
def test_keras_has_it_where_thaw_looks(module: str, name: str) -> None:
    try:
        found = hasattr(importlib.import_module(module), name)
    except ImportError:
        found = False
    assert found, f"Keras {keras.__version__} has no {module}.{name}: change {MODULE.name}"


def test_the_folder_of_downloads_is_where_thaw_sets_it() -> None:
    from keras.src.backend import config

    assert hasattr(config, "_KERAS_DIR"), f"Keras {keras.__version__} moved its folder's name"


def test_no_other_module_takes_anything_private() -> None:
    assert len(TAKEN) >= 4
    for folder in ("thaw", "stages"):
        for path in (ROOT / folder).rglob("*.py"):
            private = [name for name in imported_names(path) if name.startswith("keras.src")]
            assert path == MODULE or not private, path
