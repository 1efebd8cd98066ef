from pathlib import Path

import numpy as np
import pytest

from thaw.network import bundled
from thaw.support.errors import ThawError


@pytest.fixture
def layers() -> bundled.Layers:
    random = np.random.default_rng(0)
    return {
        "conv1_conv": [random.normal(size=(3, 3, 4, 6)).astype(np.float32), np.ones(6, np.float32)],
        "conv1_bn": [random.normal(size=6).astype(np.float32) for _ in range(4)],
        "predictions": [random.normal(size=(6, 5)).astype(np.float32), np.zeros(5, np.float32)],
    }


def test_quantising_by_hand() -> None:
    kernel = np.array([[2.54, 0.0], [-1.27, 0.0], [0.02, 0.0]], np.float32)
    integers, scale = bundled.quantise(kernel)
    np.testing.assert_array_equal(integers, [[127, 0], [-64, 0], [1, 0]])  # -63.5 to even
    np.testing.assert_allclose(scale, [0.02, 1.0], rtol=1e-6)
    assert integers.dtype == np.int8
    assert scale.dtype == np.float32


def test_what_was_packed_is_read(layers: bundled.Layers, tmp_path: Path) -> None:
    bundled.pack(tmp_path, layers)
    received = bundled.read(tmp_path)
    assert received.keys() == layers.keys()
    for name, arrays in layers.items():
        for array, packed in zip(arrays, received[name], strict=True):
            assert packed.dtype == np.float32
            expected = array
            if array.ndim > 1:
                integers, scale = bundled.quantise(array)
                expected = integers * scale
            np.testing.assert_array_equal(packed, expected)


def test_packing_again_gives_the_same_bytes(layers: bundled.Layers, tmp_path: Path) -> None:
    for name in ("one", "other"):
        bundled.pack(tmp_path / name, layers)
    one, other = (
        (tmp_path / name / bundled.WEIGHTS_FILE).read_bytes() for name in ("one", "other")
    )
    assert one == other


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_any_other_file_is_refused(layers: bundled.Layers, tmp_path: Path, damage: str) -> None:
    bundled.pack(tmp_path, layers)
    path = tmp_path / bundled.WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(ThawError, match=r"is not the file that ships with thaw: expected SHA-256"):
        bundled.read(tmp_path)
