"""What each stage may read of params.yaml: one frozen object a stage.

A class' fields are its stage's `params` in dvc.yaml, to the letter: a test compares the two. So a
stage cannot read what DVC does not watch. A config's dump is the identity of the stage's
checkpoints.
"""

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
"""Pixels of the images that `memory_gb` was measured at."""


class StageConfig(Section):
    """The part of params.yaml that one stage reads."""

    stage: ClassVar[str]
    memory_gb: ClassVar[tuple[float, float]] = (0.5, 0.5)
    """What the stage takes at 32 and at 224 pixels with default batches (benchmarks/memory.md)."""

    @classmethod
    def load(cls, root: Path = Path()) -> Self:
        """Read the stage's part of `root`/params.yaml.

        Raises:
            ThawError: any entry of the file is not valid: see `load_params`.

        """
        return cls.of(load_params(root))

    @classmethod
    def of(cls, params: Params) -> Self:
        """Return the stage's part of `params`."""
        return cls.model_validate({name: getattr(params, name) for name in cls.model_fields})

    def dump(self) -> dict[str, Any]:
        """Return all that the stage's result depends on, as JSON has it."""
        return self.model_dump(mode="json")

    @property
    def side(self) -> int:
        """Side of the images that go through the network, pixels."""
        return getattr(self, "image_size", 32)

    @classmethod
    def memory_needed(cls, root: Path = Path()) -> float:
        """Return about how much memory the stage takes, GB; 0 where params.yaml is not valid."""
        try:
            side = cls.load(root).side
        except ThawError:  # which the stage will say
            return 0.0
        small, large = cls.memory_gb
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
    samples: Samples


class BaselineConfig(StageConfig):
    """Stage baseline."""

    stage = "baseline"
    memory_gb = (1.8, 1.8)
    baseline: Baseline
    seed: int
    threads: int

    @property
    def side(self) -> int:
        """Side at which ResNet50 names images."""
        return self.baseline.image_size


class FeaturesConfig(StageConfig):
    """Stage features, which draws nothing: another seed changes nothing."""

    stage = "features"
    memory_gb = (1.4, 1.4)
    engine: str
    image_size: int
    threads: int
    value_range: str


class TrainFrozenConfig(StageConfig):
    """Stage train-frozen."""

    stage = "train-frozen"
    memory_gb = (1.8, 1.8)
    head: Head
    image_size: int
    seed: int
    threads: int
    train_frozen: Training
    value_range: str


@dataclass(frozen=True)
class Thawing:
    """What train-partial lets a user choose, and train-full does not.

    Attributes:
        freeze: how many of the first layers stay frozen, or the block through which they do.
        frozen_batch_norm: the mode of frozen batch normalisation while training, see `backbone`.
        cache_gb: the most disk for the frozen layers' output, 10^9 bytes; 0 = no cache.
        engine: what computes that output, see `inference`.

    """

    freeze: int | str = 0
    frozen_batch_norm: str = "inference"
    cache_gb: float = 0.0
    engine: str = "keras"


class FineTuneConfig(StageConfig):
    """What the stages that train the backbone have in common."""

    memory_gb = (2.1, 3.7)
    head: Head
    image_size: int
    microbatch_pixels: int
    precision: str
    seed: int
    threads: int
    value_range: str

    @property
    def training(self) -> BackboneTraining:
        """How the model is fitted."""
        raise NotImplementedError

    @property
    def thawing(self) -> Thawing:
        """What thaws: here everything."""
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
    freeze: int | str
    frozen_batch_norm: str
    train_partial: BackboneTraining

    @property
    def training(self) -> BackboneTraining:
        """How the model is fitted."""
        return self.train_partial

    @property
    def thawing(self) -> Thawing:
        """What thaws, as params.yaml has it."""
        return Thawing(self.freeze, self.frozen_batch_norm, self.cache.max_gb, self.engine)


class DiagnoseConfig(StageConfig):
    """Stage diagnose."""

    stage = "diagnose"
    memory_gb = (2.1, 2.1)
    diagnose: Diagnose
    image_size: int
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
"""By stage. The report has no config: it names all of params.yaml."""
