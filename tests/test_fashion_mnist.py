import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from thaw.data import fashion_mnist
from thaw.data.fashion_mnist import RawFile, read_idx
from thaw.support.errors import ThawError


def idx(shape: tuple[int, ...], values: bytes, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + values


def test_read_idx_against_a_file_made_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes.fromhex("00000803 00000002 00000001 00000003 010203 0405ff"))
    array = read_idx(path)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, [[[1, 2, 3]], [[4, 5, 255]]])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00",
        b"\x00\x00\x08\x03",
        b"\x89PNG\r\n\x1a\n",
        gzip.compress(b"x", mtime=0),
        idx((2, 2), b"abc"),
        idx((2, 2), b"abcde"),
        idx((2, 2), b"abcd", kind=0x0D),
        idx((2**31, 2**31, 2**31), b"abcd"),
        idx((0,), b"x"),
    ],
)
def test_read_idx_refuses_what_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ThawError, match=rf"{path}.*Received: "):
        read_idx(path)


def test_load_refuses_files_that_are_missing_or_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {f"file-{i}": idx((i + 1,), bytes(i + 1)) for i in range(4)}
    files = [RawFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in contents.items()]
    monkeypatch.setattr(fashion_mnist, "FILES", files)
    with pytest.raises(ThawError, match=r"is missing. Run `dvc repro download`"):
        fashion_mnist.load(tmp_path)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "file-0").write_bytes(contents["file-0"][:-1])
    with pytest.raises(ThawError, match=r"file-0 is damaged: .*dvc repro --force download"):
        fashion_mnist.load(tmp_path)
