"""Files damaged at random: one clear message each, never another error, within seconds."""

import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import pytest
import yaml
from conftest import ROOT, read_entries, small_params
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from report_project import make, write_study
from saved_weights import write_legacy

from stages import report
from thaw.config.load import load_params
from thaw.data.fashion_mnist import read_idx
from thaw.network import layouts, weights
from thaw.support import hdf5
from thaw.support.errors import ThawError
from thaw.support.files import sha256

TEXT = (ROOT / "params.yaml").read_text()
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def often(examples: int) -> settings:
    """So many examples, the same in every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # without making a failing example small, which takes minutes
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


SECONDS = 20
MEMORY = 1 << 30
"""Bytes: more than any of these files needs, less than one that fills the memory takes."""


@contextmanager
def bounded() -> Iterator[None]:
    """Raise TimeoutError or MemoryError, which `refusal` lets pass, where a file takes too much."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done within {SECONDS} s")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, late)
    if sys.platform == "linux":  # others have no such limit, or do not hold to it
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_what_takes_too_much_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SECONDS", 1)
    with pytest.raises(TimeoutError):
        refusal(lambda: time.sleep(10))
    if sys.platform == "linux":
        with pytest.raises(MemoryError):
            refusal(lambda: bytearray(2 * MEMORY))


def refusal(action: Callable[[], object]) -> str:
    """Return how thaw refuses, "" where it does not; any other error passes."""
    try:
        with bounded():
            action()
    except ThawError as error:
        return str(error)
    return ""


def check_params(root: Path, content: bytes) -> None:
    (root / "params.yaml").write_bytes(content)
    message = refusal(lambda: load_params(root))
    assert not message or "params.yaml" in message
    assert len(message) < 100_000


@often(400)
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


def damaged(content: bytes, damages: list[tuple[float, int, bytes]]) -> bytes:
    """Return bytes with pieces replaced: where, of 0 to 1; how many bytes; by what."""
    for where, cut, piece in damages:
        start = int(where * len(content))
        content = content[:start] + piece + content[start + cut :]
    return content


PLACES = st.floats(0, 1)
BYTES = st.one_of(
    *(st.tuples(PLACES, st.just(size), st.binary(min_size=size, max_size=size)) for size in (1, 8)),
    st.tuples(PLACES, st.just(8), st.sampled_from((bytes(8), b"\xff" * 8))),
    st.tuples(PLACES, st.integers(0, 300), st.binary(max_size=50)),
)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A network small enough that most of its file is structure."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, name="predictions"),
        ]
    )


@pytest.fixture(scope="module")
def weights_files(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Its weights in both layouts."""
    folder = tmp_path_factory.mktemp("weights")
    network.save_weights(folder / "keras3.weights.h5")
    write_legacy(folder / "legacy.h5", network)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.mark.slow
@pytest.mark.long
@often(300)
@given(layout=st.integers(0, 1), damages=st.lists(BYTES, min_size=1, max_size=20))
def test_damaged_weights_files(
    tmp_path: Path,
    network: keras.Model,
    weights_files: list[bytes],
    layout: int,
    damages: list[tuple[float, int, bytes]],
) -> None:
    """Byte by byte: whoever reads on after this finds no crash, no circle, no other error."""
    path = tmp_path / "some.h5"
    path.write_bytes(damaged(weights_files[layout], damages))
    message = refusal(lambda: weights.assign(network, layouts.read(path, network), path))
    assert not message or "some.h5" in message
    assert "Traceback" not in message
    assert "\n" not in message


@pytest.mark.parametrize("layout", [0, 1])
def test_a_whole_weights_file_has_no_flaw(
    tmp_path: Path, weights_files: list[bytes], layout: int
) -> None:
    path = tmp_path / "some.h5"
    path.write_bytes(weights_files[layout])
    assert hdf5.flaw(path) == ""


def test_a_flaw_is_one_line_whatever_the_limits_of_the_system(tmp_path: Path) -> None:
    path = tmp_path / "some.h5"
    path.write_bytes(b"no HDF5")
    for limit in ("unlimited", "1500000"):  # KB of address space
        command = f"ulimit -v {limit} && exec {sys.executable} -m {hdf5.__name__} {path}"
        ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert "signature not found" in ended.stderr
        assert ended.stderr.count("\n") == 1


def test_a_weights_file_that_would_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (1 << 31, 64), "float32", chunks=(1, 64))
    assert path.stat().st_size < 10_000
    assert "bytes of memory" in hdf5.flaw(path)


def test_a_file_that_cannot_be_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    os.mkfifo(tmp_path / "endless.h5")
    assert hdf5.flaw(tmp_path / "endless.h5") == "reading does not end within 1 s"


def test_a_file_that_crashes_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = tmp_path / "crashes"
    reader.write_text("#!/bin/sh\nkill -SEGV $$\n")
    reader.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(reader))
    assert hdf5.flaw(tmp_path / "any.h5") == "the HDF5 library crashes on it (signal 11)"


TEXTS = st.one_of(
    st.tuples(PLACES, st.integers(0, 12), st.binary(max_size=6)),
    st.tuples(
        PLACES,
        st.integers(0, 4),
        st.sampled_from(
            (b"nan", b"-1", b"1e999", b"9" * 400, b",", b'"', b"\n", b"{", b"null", b"[]", b"\0")
        ),
    ),
)


@pytest.fixture(scope="module")
def report_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose report can be made, studies among its results."""
    root = make(tmp_path_factory.mktemp("report"), small_params(read_entries()))
    write_study(root)
    report.main(root)
    return root


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Glyph")  # a character that the font lacks is no damage
@often(200)
@given(data=st.data(), damages=st.lists(TEXTS, min_size=1, max_size=3))
def test_damaged_inputs_of_the_report(
    report_inputs: Path, data: st.DataObject, damages: list[tuple[float, int, bytes]]
) -> None:
    """Any CSV or JSON; where the report is refused, the old one stays."""
    root = report_inputs
    inputs = [*root.glob("data/results/**/*.json"), *root.glob("data/results/**/*.csv")]
    path = data.draw(st.sampled_from(sorted([*inputs, *root.glob("tools/study/**/*.csv")])))
    before, content = outputs(root), path.read_bytes()
    path.write_bytes(damaged(content, damages))
    try:
        message = refusal(lambda: report.main(root))
    finally:
        path.write_bytes(content)
    if message:
        assert outputs(root) == before
        assert ("git checkout" if "study" in path.parts else "dvc repro") in message


def outputs(root: Path) -> dict[Path, str]:
    """Return the digest of each file that the report consists of."""
    files = [path for name in ("plots", "report") for path in (root / name).rglob("*.*")]
    return {path: sha256(path) for path in files if path.is_file()}
