"""That what is broken on purpose is there: `python -m tests.reliability.mutations` breaks it."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

from tests.reliability.mutations import CONDITION, MUTATIONS, Mutation

SOURCE = """
def limit(size):  # a comment
    if (size
            > 3):
        return "much"
    return "little"
"""
REFORMATTED = """
def limit(size):
    if size > 3:
        return 'much'

    return 'little'
"""


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_the_code_and_its_tests_are_there(mutation: Mutation) -> None:
    path, old = mutation.spot(ROOT)
    assert ast.unparse(old) != ast.unparse(ast.parse(mutation.new))
    assert path.is_file()
    assert (ROOT / f"tests/{mutation.tests}.py").is_file()


@pytest.mark.parametrize("source", [SOURCE, REFORMATTED])
@pytest.mark.parametrize("old", [CONDITION, "size>3"])
def test_a_mutation_changes_one_place_however_it_is_formatted(
    tmp_path: Path, source: str, old: str
) -> None:
    (tmp_path / "thaw/any").mkdir(parents=True)
    path = tmp_path / "thaw/any/module.py"
    path.write_text(source)
    Mutation("limit", old, "False", "test_x").apply(tmp_path)
    assert ast.unparse(ast.parse(path.read_text())) == ast.unparse(
        ast.parse(REFORMATTED.replace("size > 3", "False"))
    )


@pytest.mark.parametrize("old", ["size > 4", "size"])
def test_what_is_not_there_once_is_refused(tmp_path: Path, old: str) -> None:
    (tmp_path / "thaw").mkdir()
    (tmp_path / "thaw/module.py").write_text(f"{SOURCE}    print(size)\n")
    with pytest.raises(LookupError, match="limit has"):
        Mutation("limit", old, "False", "test_x").apply(tmp_path)
