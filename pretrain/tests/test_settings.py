"""Every entry of params.yaml is checked."""

from pathlib import Path

import pytest

from pretrain.settings import HERE, load_settings
from thaw.support.errors import ThawError

TEXT = (HERE / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 0", "seed: -1", r"seed: must be from 0 to inf\. Received: -1"),
        ("seed: 0", "seed: true", r"seed: must be a whole number\. Received: True"),
        ("seed: 0", "seed: zero", r"seed: must be a whole number\. Received: 'zero'"),
        ("  teacher: 1", "  teacher: 7", r"bank\.teacher: must be from 0 to 2\. Received: 7"),
        ("scenes: 300000", "scenes: 300001", r"bank\.scenes: must be a multiple of 2000"),
        ("device: cpu", "device: tpu", r"distil\.device: must be one of cpu, cuda\. Received: 'tp"),
        ("skin_tones: false", "skin_tones: 1", r"lease\.packed\.skin_tones: must be true or false"),
        ("share: 0.22", "share: 1.22", r"lease\.sides\[1\]\.share: must be from 0 to 1"),
        ("    - side: 64\n", "    - wide: 64\n", r"lease\.sides\[1\]\.wide: is unknown"),
        ("    - side: 64\n", "    - wide: 64\n", r"lease\.sides\[1\]\.side: is missing"),
        ("  engine: graphs\n", "", r"lease\.engine: is missing"),
        ("    - 0\n    - 1\n    - 2\n", "    []\n", r"lease\.teachers: must be a list of one"),
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ThawError, match=said):
        load_settings(tmp_path / "params.yaml")


def test_numbers_become_what_they_are_declared_as(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(TEXT.replace("engine_seconds: 60.0", "engine_seconds: 9"))
    settings = load_settings(tmp_path / "params.yaml")
    assert isinstance(settings.lease.engine_seconds, float)
    assert settings.lease.teachers == (0, 1, 2)
    assert [side.side for side in settings.lease.sides] == [32, 64, 128]


def test_what_is_no_mapping_or_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("3")
    with pytest.raises(ThawError, match="the file: must be a mapping"):
        load_settings(tmp_path / "params.yaml")
    with pytest.raises(ThawError, match="cannot be read"):
        load_settings(tmp_path / "absent.yaml")
