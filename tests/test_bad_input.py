"""Files damaged at random: one clear message each, never another error, within seconds."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, read_entries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thaw.errors import ThawError
from thaw.fashion_mnist import read_idx
from thaw.params import load_params

TEXT = (ROOT / "params.yaml").read_text()
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def often(examples: int) -> settings:
    """So many examples, the same in every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=QUIET,
    )


def paths(entries: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every entry, sections included."""
    found = []
    for name, value in entries.items():
        found.append((*prefix, name))
        if isinstance(value, dict):
            found += paths(value, (*prefix, name))
    return found


PATHS = paths(read_entries())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@st.composite
def damaged_entries(draw: st.DrawFn) -> str:
    """Return the params with entries replaced, taken away or added."""
    entries = read_entries()
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=3)):
        section: Any = entries
        for name in path[:-1]:
            section = section.get(name) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            continue
        kind = draw(st.sampled_from(("replace", "drop", "add")))
        if kind == "drop":
            section.pop(path[-1], None)
        else:
            name = path[-1] if kind == "replace" else draw(st.text(max_size=8))
            section[name] = draw(VALUES)
    return yaml.safe_dump(entries, allow_unicode=True)


@st.composite
def damaged_text(draw: st.DrawFn) -> str:
    """Return the params with pieces cut out, doubled or overwritten."""
    text = TEXT
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 60)))
        piece = draw(
            st.sampled_from(("", text[start:end] * 2, "\t", "&a *a", "{[", "\0"))
            | st.text(max_size=10)
        )
        text = text[:start] + piece + text[end:]
    return text


def refusal(action: Callable[[], object]) -> str:
    """Return how thaw refuses, "" where it does not; any other error passes."""
    try:
        action()
    except ThawError as error:
        return str(error)
    return ""


def check_params(root: Path, content: bytes) -> None:
    (root / "params.yaml").write_bytes(content)
    message = refusal(lambda: load_params(root))
    assert not message or "params.yaml" in message
    assert len(message) < 100_000


@often(1200)
@given(text=damaged_entries())
def test_damaged_entries_of_params(tmp_path: Path, text: str) -> None:
    check_params(tmp_path, text.encode("utf-8", "surrogatepass"))


@often(800)
@given(text=damaged_text())
def test_damaged_text_of_params(tmp_path: Path, text: str) -> None:
    check_params(tmp_path, text.encode("utf-8", "surrogatepass"))


def test_params_that_would_fill_the_memory(tmp_path: Path) -> None:
    """A billion entries by reference; written out they would take gigabytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    for text in ("\n".join(lines), "\n".join([*lines[1:], "freeze: 1"]), f"{lines[0]}\nseed: *a0"):
        check_params(tmp_path, text.encode())
    check_params(tmp_path, ("\n".join([*lines, "freeze: *a9"])).encode())
    check_params(tmp_path, ("[" * 100_000).encode())


IDX = b"\x00\x00\x08\x03" + struct.pack(">III", 2, 3, 4) + bytes(24)


@often(500)
@given(
    start=st.integers(0, len(IDX)),
    cut=st.integers(0, 30),
    piece=st.binary(max_size=12),
)
def test_damaged_idx_files(tmp_path: Path, start: int, cut: int, piece: bytes) -> None:
    path = tmp_path / "images"
    path.write_bytes(IDX[:start] + piece + IDX[start + cut :])
    message = refusal(lambda: read_idx(path))
    assert not message or "images" in message
    if not message:
        assert read_idx(path).nbytes <= path.stat().st_size


@pytest.mark.parametrize("claim", [(2**31, 2**31, 2**31), (2**31 - 1, 1, 1), (0, 28, 28)])
def test_an_idx_header_that_claims_too_much(tmp_path: Path, claim: tuple[int, int, int]) -> None:
    path = tmp_path / "images"
    path.write_bytes(b"\x00\x00\x08\x03" + struct.pack(">III", *claim) + bytes(24))
    with pytest.raises(ThawError, match="truncated or too long"):
        read_idx(path)
