"""One reading of params.yaml: thaw's is DVC's, or none."""

import math
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.utils.serialize import load_yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from thaw.config.load import load_params
from thaw.support.errors import ThawError
from thaw.support.yaml_file import parse_yaml, read_yaml

TEXT = (ROOT / "params.yaml").read_text()
LINE = TEXT.splitlines().index("freeze: 10") + 1


@pytest.mark.parametrize(
    "value",
    [
        *("010", "0777", "-010", "08", "00", "0_7", "0o17", "+0o7", "1:30", "1:30.5", "190:20:30"),
        *("yes", "No", "ON", "off"),
    ],
)
def test_what_two_versions_of_yaml_read_differently_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "params.yaml").write_text(TEXT.replace("freeze: 10", f"freeze: {value}"))
    with pytest.raises(
        ThawError, match=rf"  freeze \(line {LINE}\): must be .*Received: {re.escape(value)}\n"
    ):
        load_params(tmp_path)


def test_where_such_a_value_stands_is_said_in_full(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a:\n  b:\n  - x\n  - c: 010\n")
    with pytest.raises(ThawError, match=r"params\.yaml holds .*\n  a\.b\.1\.c \(line 4\)"):
        read_yaml(tmp_path / "params.yaml")


READ = [
    *("a: 0x10", "a: 0b11", "a: 1_000", "a: .5", "a: -.5", "a: 5.", "a: 1e-05", "a: 1E5", "a: +1"),
    *("a: ~", "a: null", "a: true", "a: .inf", "a: 2026-01-01", "a: '010'", 'a: "yes"', "a: y"),
    *("\ufeffa: 1", "---\na: 1\n...", "a: 1\r\nb: 2", "a: !!float 5", "a: 😀"),
    *("a: &x {b: 1}\nc: *x", "a: &x {b: 1}\nc:\n  <<: *x\n  d: 2", "a: |\n  010\n", "a: -0"),
]


@pytest.mark.parametrize("text", [TEXT, *READ])
def test_what_is_read_is_what_dvc_reads(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    ours, dvcs = read_yaml(path), load_yaml(path)
    assert repr(ours) == repr(dvcs), "types, too"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", r'line 3: found duplicate key "a"'),
        ("a: {b: 1, b: 2}", r'line 1: found duplicate key "b"'),
        ("a: 1\n---\nb: 2", r"line 2: but found another document"),
        ("a: 1\nb:\t2", r"line 2: .*'\\t'"),
        ("a: 1\t# one", r"line 1: .*'\\t'"),
        ("\ta: 1", r"line 1: .*token"),
        ("a: !!python/name:os.system", r"line 1: could not determine a constructor"),
        ("a: !foo 5", r"line 1: could not determine a constructor"),
        ("a: !!int", r"string index"),
        ("a: *x", r"line 1: found undefined alias"),
        ("%YAML 1.3\n---\na: 1", r"line 1: found incompatible YAML document"),
        ("a: 2026-13-45", r"month must be in 1\.\.12"),
        ("a: [1", r"line"),
        ("a: 1\0", r"unacceptable character"),
        (f"a: {'1' * 5000}", r"Exceeds the limit"),
    ],
)
def test_what_dvc_cannot_read_or_write_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ThawError, match=rf"params\.yaml is not YAML: {said}"):
        read_yaml(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 100_000,
        "{a: " * 100_000,
        "? " * 100_000,
        # Nine entries each of nine times those of the line before.
        "a0: &a0 {b: 1}\n"
        + "\n".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 10)),
    ],
    ids=["lists", "entries", "mappings", "keys", "merges"],
)
def test_what_would_crash_the_reader_or_fill_the_memory_is_refused(text: str) -> None:
    with pytest.raises(ThawError, match="20 references and 50 levels are allowed"):
        parse_yaml(text, "params.yaml")


def test_a_value_that_holds_itself_ends() -> None:
    assert parse_yaml("a: &x [*x, 1]", "params.yaml")["a"][1] == 1


@settings(max_examples=250, derandomize=True, database=None, deadline=None)
@given(st.text("0123456789_.:+-eExobaAyYnNsSfFtTrRuUlL~", min_size=1, max_size=7))
def test_two_readers_agree_on_whatever_is_taken(value: str) -> None:
    """But for numbers with an exponent or a sign before the point: text to YAML 1.1."""
    text = f"a: {value}"
    try:
        ours = parse_yaml(text, "x")["a"]
    except ThawError:
        return
    other = yaml.safe_load(text)["a"]
    if isinstance(ours, float) and isinstance(other, str):
        assert re.search("[eE_]|^[-+][.]", value)
        return
    assert type(ours) is type(other)
    assert ours == other or (math.isnan(ours) and math.isnan(other))


def test_a_file_that_is_read_again_after_dvc_wrote_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML().dump({"rate": 1e-5, "word": "010", "yes": "on", "count": 10}, file)
    entries = YAML(typ="safe").load(path)
    assert entries == {"rate": 1e-5, "word": "010", "yes": "on", "count": 10}
