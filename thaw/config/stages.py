"""The entries of params.yaml that each stage may read: one frozen class for each stage.

A class has exactly the fields that dvc.yaml lists as the stage's `params`, and a test compares the
two. So a stage cannot read an entry that DVC does not watch. A config's dump identifies the stage's
checkpoints: a run continues only from one with the same dump.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from thaw.config.load import load_params
from thaw.config.params import (
    BackboneTraining,
    Baseline,
    Cache,
    Diagnose,
    Head,
    Params,
    Samples,
    Section,
    Training,
)
from thaw.support.errors import ThawError

_SMALL, _LARGE = 32**2, 224**2
"""Pixels of an image at the two sizes at which `memory_gb` was measured."""


class StageConfig(Section):
    """The entries of params.yaml that one stage reads."""

    stage: ClassVar[str]
    memory_gb: ClassVar[tuple[float, float]] = (0.5, 0.5)
    """Memory at 32 and at 224 pixels with the default batches, GB (benchmarks/memory.md)."""

    @classmethod
    def load(cls, root: Path = Path()) -> Self:
        """Read the stage's entries from `root`/params.yaml.

        Raises:
            ThawError: any entry of the file is invalid, also one of another stage.

        """
        return cls.of(load_params(root))

    @classmethod
    def of(cls, params: Params) -> Self:
        """Return the stage's entries from `params`."""
        return cls.model_validate({name: getattr(params, name) for name in cls.model_fields})

    def dump(self) -> dict[str, Any]:
        """Return the entries as JSON values; the stage's result depends on no other entry."""
        return self.model_dump(mode="json")

    @property
    def side(self) -> int:
        """Side of the images that the network gets, in pixels."""
        return getattr(self, "image_size", 32)

    @classmethod
    def memory_needed(cls, root: Path = Path()) -> float:
        """Return about how much memory the stage takes, in GB; 0 if params.yaml is invalid."""
        try:
            side = cls.load(root).side
        except ThawError:  # the stage itself will report it
            return 0.0
        small, large = cls.memory_gb
        # Activations take most of the memory, and their size is proportional to the pixels.
        return small + (large - small) * (side**2 - _SMALL) / (_LARGE - _SMALL)


class DownloadConfig(StageConfig):
    """Stage download."""

    stage = "download"
    dataset: str


class WeightsConfig(StageConfig):
    """Stage weights."""

    stage = "weights"
    memory_gb = (1.0, 1.0)
    seed: int
    threads: int
    weights: str


class PreprocessConfig(StageConfig):
    """Stage preprocess."""

    stage = "preprocess"
    dataset: str
    samples: Samples


class BaselineConfig(StageConfig):
    """Stage baseline."""

    stage = "baseline"
    memory_gb = (1.8, 1.8)
    baseline: Baseline
    instruction_set: str
    seed: int
    threads: int

    @property
    def side(self) -> int:
        """Side of the images that ResNet50 classifies, in pixels."""
        return self.baseline.image_size


class FeaturesConfig(StageConfig):
    """Stage features; it has no seed, because nothing in it is random."""

    stage = "features"
    memory_gb = (1.4, 1.4)
    engine: str
    engine_precision: str
    image_size: int
    instruction_set: str
    threads: int
    value_range: str


class TrainFrozenConfig(StageConfig):
    """Stage train-frozen."""

    stage = "train-frozen"
    memory_gb = (1.8, 1.8)
    class_weight: str
    head: Head
    image_size: int
    instruction_set: str
    seed: int
    threads: int
    train_frozen: Training
    value_range: str


@dataclass(frozen=True)
class Thawing:
    """The settings of train-partial that train-full does not have.

    Attributes:
        freeze: how many of the first layers stay frozen, or the last block that does.
        frozen_batch_norm: mode of frozen batch normalisation in training; thaw.network.backbone.
        cache_gb: disk space allowed for the frozen layers' output, 10^9 bytes; 0 for no cache.
        engine: what computes that output; thaw.network.inference.
        engine_precision: what it computes in.

    """

    freeze: int | str = 0
    frozen_batch_norm: str = "inference"
    cache_gb: float = 0.0
    engine: str = "keras"
    engine_precision: str = "float32"


class FineTuneConfig(StageConfig, ABC):
    """The entries that both stages that train the backbone read."""

    memory_gb = (2.1, 3.7)
    class_weight: str
    head: Head
    image_size: int
    instruction_set: str
    microbatch_pixels: int
    precision: str
    seed: int
    threads: int
    value_range: str

    @property
    @abstractmethod
    def training(self) -> BackboneTraining:
        """How the model is fitted."""

    @property
    def thawing(self) -> Thawing:
        """What is thawed: by default everything."""
        return Thawing()


class TrainFullConfig(FineTuneConfig):
    """Stage train-full."""

    stage = "train-full"
    train_full: BackboneTraining

    @property
    def training(self) -> BackboneTraining:
        """How the model is fitted."""
        return self.train_full


class TrainPartialConfig(FineTuneConfig):
    """Stage train-partial."""

    stage = "train-partial"
    cache: Cache
    engine: str
    engine_precision: str
    freeze: int | str
    frozen_batch_norm: str
    train_partial: BackboneTraining

    @property
    def training(self) -> BackboneTraining:
        """How the model is fitted."""
        return self.train_partial

    @property
    def thawing(self) -> Thawing:
        """What is thawed, as params.yaml says."""
        return Thawing(
            self.freeze,
            self.frozen_batch_norm,
            self.cache.max_gb,
            self.engine,
            self.engine_precision,
        )


class DiagnoseConfig(StageConfig):
    """Stage diagnose."""

    stage = "diagnose"
    memory_gb = (2.1, 2.1)
    diagnose: Diagnose
    image_size: int
    instruction_set: str
    seed: int
    threads: int


_CONFIGS: tuple[type[StageConfig], ...] = (
    DownloadConfig,
    WeightsConfig,
    PreprocessConfig,
    BaselineConfig,
    FeaturesConfig,
    TrainFrozenConfig,
    TrainFullConfig,
    TrainPartialConfig,
    DiagnoseConfig,
)
STAGES = {config.stage: config for config in _CONFIGS}
"""Configs by stage. The stage report has none: it reads all of params.yaml."""
