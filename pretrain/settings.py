"""pretrain/params.yaml as typed, frozen values; unknown or missing entries are refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pretrain import typed
from pretrain.typed import Share, Within

HERE = Path(__file__).parent
FOLDER = HERE / "data"
"""What the stages write, and the checkpoints of an unfinished run; not in git."""
SIDES = SMALL, LARGE = 32, 64
"""Of the pictures that stage distil's student sees, pixels."""
SHARD = 2000
"""Scenes in one file of the bank."""

Count = Annotated[int, Within(1)]
CountOrNone = Annotated[int, Within(0)]
Positive = Annotated[float, Within(1e-9)]
NotNegative = Annotated[float, Within(0)]
Quality = Annotated[int, Within(1, 100)]


@dataclass(frozen=True)
class Bank:
    """Scenes and what the teacher says of them."""

    teacher: Annotated[int, Within(0, 2)]
    teacher_side: Annotated[int, Within(64, 320)]
    plain_share: Share
    scenes: Annotated[int, Within(SHARD, multiple_of=SHARD)]
    held_out_scenes: Annotated[int, Within(SHARD, multiple_of=SHARD)]


@dataclass(frozen=True)
class Distil:
    """How the student learns from a bank on the disk, in so many steps."""

    device: Literal["cpu", "cuda"]
    steps: Count
    warmup_steps: CountOrNone
    decay_steps: CountOrNone
    learning_rate: Annotated[float, Within(1e-9, 1)]
    weight_decay: Share
    large_share: Share
    batch_size: Annotated[int, Within(2)]
    large_batch_size: Annotated[int, Within(2)]
    feature_weight: NotNegative
    checkpoint_steps: Count


@dataclass(frozen=True)
class Packed:
    """The pictures and teachers that travel."""

    object_side: Annotated[int, Within(32, 256)]
    photo_side: Annotated[int, Within(256, 1600)]
    object_quality: Quality
    alpha_quality: Quality
    photo_quality: Quality
    skin_tones: bool
    most_megabytes: Positive


@dataclass(frozen=True)
class Side:
    """One size of the student's pictures."""

    side: Annotated[int, Within(32, 224, multiple_of=32)]
    teacher_side: Annotated[int, Within(64, 320)]
    share: Share
    batch_size: Annotated[int, Within(2)]
    bank: Annotated[int, Within(2)]


@dataclass(frozen=True)
class Lease:
    """How the student learns from scenes made while it learns, in so many seconds."""

    packed: Packed
    sides: tuple[Side, ...]
    teachers: tuple[Annotated[int, Within(0, 2)], ...]
    teach_share: Annotated[float, Within(0.05, 0.95)]
    scene_side: Annotated[int, Within(32, 224, multiple_of=32)]
    plain_share: Share
    workers: CountOrNone
    chunk: Count
    first_scenes: Count
    held_out_scenes: Count
    engine: Literal["eager", "graphs", "compile"]
    engine_seconds: Positive
    learning_rate: Annotated[float, Within(1e-9, 1)]
    weight_decay: Share
    gradient_norm: Positive
    feature_weight: NotNegative
    warmup_steps: CountOrNone
    decay_share: Share
    stored_share: Share
    average_decay: Annotated[float, Within(0, 0.99999)]
    statistics_batches: Count
    show_seconds: Positive
    reserve_seconds: NotNegative


@dataclass(frozen=True)
class Settings:
    """The whole file."""

    seed: CountOrNone
    threads: Count
    held_out: Annotated[float, Within(1e-6, 0.999)]
    bank: Bank
    distil: Distil
    lease: Lease


def load_settings(path: Path = HERE / "params.yaml") -> Settings:
    """Return the settings in `path`.

    Raises:
        ThawError: the file is missing, is no YAML, or an entry is unknown, missing or out of range.

    """
    return typed.read(Settings, path)
