"""What no module of this project may do, read from its source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from imports import imported_names, modules

from thaw.data import mirrors
from thaw.network import published

SOURCES = modules("thaw", "stages", "tests/reliability", "tools", "benchmarks", "pretrain")
EXECUTE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
ALLOWED = {"pickle.UnpicklingError"}
UNPICKLE = {"pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load"}
LAMBDA = {"keras.layers.Lambda", "layers.Lambda", "Lambda"}
"""Keras' layer that carries code in a file."""
FORBIDDEN = {"shell": True, "allow_pickle": True, "safe_mode": False, "weights_only": False}
"""Keywords, and the values that open a door. Their defaults in NumPy, Keras and PyTorch do not."""


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def constants(call: ast.Call) -> dict[str | None, object]:
    return {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_executed_or_unpickled(path: Path) -> None:
    assert not {name for name in imported_names(path) if name.startswith("pickle.")} - ALLOWED
    for call in calls(path):
        name = ast.unparse(call.func)
        where = f"{path.name}:{call.lineno}: {name}"
        assert name not in EXECUTE | UNPICKLE | LAMBDA, where
        given = constants(call)
        assert not any(given.get(key, not bad) is bad for key, bad in FORBIDDEN.items()), where


def test_downloads_are_over_tls() -> None:
    """But Zalando's, whose mirror has none, and Debian's, which are signed."""
    for address in (mirrors.KERAS_URL, published.url()):
        assert address.startswith("https://")
