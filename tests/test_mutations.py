"""That what is broken on purpose is there: `python -m tests.reliability.mutations` breaks it."""

import pytest
from conftest import ROOT

from tests.reliability.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_the_line_and_its_tests_are_there(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.line) == 1
    assert (ROOT / f"tests/{mutation.tests}.py").is_file()
