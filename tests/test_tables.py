import math
from pathlib import Path
from typing import Any

import pytest

from thaw.support.errors import ThawError
from thaw.support.tables import read_csv, read_json, write_csv, write_json


def test_metrics_are_sorted_and_rounded(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 0.123456, "a": "text", "c": 3})
    assert (tmp_path / "m.json").read_text() == '{\n  "a": "text",\n  "b": 0.1235,\n  "c": 3\n}\n'
    assert read_json(tmp_path / "m.json") == {"a": "text", "b": 0.1235, "c": 3}


NESTED = {"modes": [{"loss": 0.123456, "epochs": 3, "good": True}], "pair": (1.00001, None)}


@pytest.mark.parametrize(
    ("digits", "loss", "first"), [(4, 0.1235, 1.0), (1, 0.1, 1.0), (None, 0.123456, 1.00001)]
)
def test_floats_are_rounded_however_deep_they_lie(
    tmp_path: Path, digits: int | None, loss: float, first: float
) -> None:
    write_json(tmp_path / "m.json", NESTED, digits)
    expected = {"modes": [{"loss": loss, "epochs": 3, "good": True}], "pair": [first, None]}
    assert read_json(tmp_path / "m.json") == expected


@pytest.mark.parametrize("digits", [4, None])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("nest", [lambda v: v, lambda v: [{"deep": v}]])
def test_metrics_that_are_no_numbers_are_not_written(
    tmp_path: Path, value: float, digits: int | None, nest: Any
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "m.json", {"loss": nest(value)}, digits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "", "[1]", "{", "\ufffe"])
def test_json_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "m.json").write_text(content)
    with pytest.raises(ThawError, match=r"m\.json .*dvc repro"):
        read_json(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('{"loss": NaN}', "loss"),
        ('{"a": {"b": [0.5, -Infinity]}}', r"a\.b\.1"),
        ('{"a": [{"b": 1e999}]}', r"a\.0\.b"),
    ],
)
def test_json_with_a_number_that_is_not_finite_is_refused(
    tmp_path: Path, content: str, where: str
) -> None:
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(
        ThawError, match=rf"m\.json: {where} must be finite\. Received: .*dvc repro"
    ):
        read_json(tmp_path / "m.json")


def test_csv_comes_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("a", "b"), [(1, "x,y"), (2, "z")])
    assert read_csv(tmp_path / "t.csv") == [{"a": "1", "b": "x,y"}, {"a": "2", "b": "z"}]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1\n", b"a,b\n1,2,3\n"])
def test_csv_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ThawError, match=r"t\.csv .*dvc repro"):
        read_csv(tmp_path / "t.csv")
