"""pretrain/params.yaml as typed, frozen values; unknown or missing entries are refused."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thaw.support.errors import ThawError
from thaw.support.yaml_file import read_yaml

HERE = Path(__file__).parent
FOLDER = HERE / "data"
"""What the stages write, and the checkpoints of an unfinished run; not in git."""
SIDES = SMALL, LARGE = 32, 64
"""Of the student's pictures, pixels."""
SHARD = 2000
"""Scenes in one file of the bank."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bank(_Strict):
    """Scenes and what the teacher says of them."""

    teacher: int = Field(ge=0, le=2)
    teacher_side: int = Field(ge=64, le=320)
    scenes: int = Field(ge=SHARD, multiple_of=SHARD)
    held_out_scenes: int = Field(ge=SHARD, multiple_of=SHARD)


class Distil(_Strict):
    """How the student learns."""

    steps: int = Field(ge=1)
    warmup_steps: int = Field(ge=0)
    decay_steps: int = Field(ge=0)
    learning_rate: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0, le=1)
    large_share: float = Field(ge=0, le=1)
    batch_size: int = Field(ge=2)
    large_batch_size: int = Field(ge=2)
    feature_weight: float = Field(ge=0)
    checkpoint_steps: int = Field(ge=1)


class Settings(_Strict):
    """The whole file."""

    seed: int = Field(ge=0)
    threads: int = Field(ge=1)
    held_out: float = Field(gt=0, lt=1)
    bank: Bank
    distil: Distil


def load_settings(path: Path = HERE / "params.yaml") -> Settings:
    """Return the settings in `path`.

    Raises:
        ThawError: the file is missing, is no YAML, or an entry is unknown, missing or out of range.

    """
    try:
        return Settings.model_validate(read_yaml(path))
    except ValidationError as error:
        listed = "\n".join(
            f"  {'.'.join(map(str, entry['loc']))}: {entry['msg']}. Received: {entry['input']!r}"
            for entry in error.errors()
        )
        raise ThawError(f"{path} holds entries that cannot be used:\n{listed}") from error
