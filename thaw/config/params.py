"""params.yaml as one typed, validated, immutable object.

Every entry is required and no other is allowed. A default in the code would be a setting that a
diff of params.yaml does not show.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from thaw.config.fields import (
    CLASS_WEIGHTS,
    ENGINE_PRECISIONS,
    ENGINES,
    FASHION_MNIST,
    FREEZE_WORDS,
    FROZEN_BATCH_NORMS,
    INSTRUCTION_SETS,
    PRECISIONS,
    SCHEDULES,
    VALUE_RANGES,
    WEIGHT_SOURCES,
    Freeze,
    Number,
    Units,
    Weights,
    all_or_some_images,
    choice,
    fraction,
    integer,
    real,
    some_images,
)


class Section(BaseModel):
    """A section of params.yaml: unknown or missing entries are errors, and it is immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Samples(Section):
    """How many images each split holds, stratified by class."""

    seed: int = integer(0, 2**31 - 1)
    train: int = all_or_some_images()
    validation: int = some_images()
    test: int = all_or_some_images()


class Head(Section):
    """The classifier on top of the pooled features."""

    units: tuple[Units, ...] = Field(
        max_length=8, description="a list of up to 8 integers from 1 to 8,192"
    )
    dropout: Number = fraction()
    l2: Number = real("a number from 0 to 10", ge=0, le=10)


class Cache(Section):
    """The frozen layers' output, which train-partial keeps on disk while it trains."""

    max_gb: Number = real("a number from 0 to 1,000 GB", ge=0, le=1000)


class Fit(Section):
    """Length and learning rate of a fit."""

    epochs: int = integer(1, 10_000)
    batch_size: int = integer(1, 4096, " images")
    learning_rate: Number = real("a number above 0, at most 1", gt=0, le=1)


class Training(Fit):
    """How a model is fitted: also the images, the repetitions and early stopping."""

    images: int = all_or_some_images()
    seeds: int = integer(1, 1000, " seeds")
    patience: int = integer(0, 10_000, " epochs, 0 for never")
    label_smoothing: Number = fraction()


class HeadWarmup(Section):
    """Training of the head alone, before the backbone is thawed."""

    epochs: int = integer(0, 10_000, " epochs, 0 for none")
    learning_rate: Number = real("a number above 0, at most 1", gt=0, le=1)


class Augment(Section):
    """Random changes to each training image, drawn anew in every epoch."""

    flip: Annotated[bool, Field(strict=True)] = Field(description="true or false")
    shift: int = integer(0, 16, " pixels")
    zoom: Number = fraction()
    brightness: Number = real("a number from 0 to 1", ge=0, le=1)

    @property
    def some(self) -> bool:
        """Whether any change is switched on."""
        return any(self.model_dump().values())


class BackboneTraining(Training):
    """How a model is fitted if some or all of its backbone is thawed."""

    batch_norm_momentum: Number = fraction()
    layer_decay: Number = real("a number above 0, at most 1", gt=0, le=1)
    schedule: Literal["constant", "cosine"] = choice(*SCHEDULES)
    warmup_epochs: int = integer(0, 1000, " epochs")
    head_warmup: HeadWarmup
    augment: Augment


class Baseline(Section):
    """What the stage baseline measures before any retraining."""

    image_size: int = integer(32, 224, " pixels")
    images: int = some_images()
    linear_images: int = some_images()


class Diagnose(Fit):
    """The stage diagnose, which switches the notebooks' mistakes on and off one by one."""

    freeze: tuple[Freeze, ...] = Field(
        min_length=1,
        description=f"a list, at least one of: {FREEZE_WORDS}",
    )
    images: int = some_images()
    validation_images: int = some_images()
    head: Head


class Params(Section):
    """All of params.yaml; comments in that file explain each entry."""

    seed: int = integer(0, 2**31 - 1)
    threads: int = integer(1, 1024, " threads")
    instruction_set: Literal["native", "avx2"] = choice(*INSTRUCTION_SETS)
    dataset: str = Field(
        strict=True, min_length=1, description=f"{FASHION_MNIST}, or a folder of pictures"
    )
    weights: Weights = choice(*WEIGHT_SOURCES, "a path that ends in .h5 or .keras")
    engine: Literal["openvino", "keras"] = choice(*ENGINES)
    engine_precision: Literal["float32", "bfloat16"] = choice(*ENGINE_PRECISIONS)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = choice(*PRECISIONS)
    image_size: int = integer(32, 224, " pixels")
    microbatch_pixels: int = integer(0, 2**31 - 1, " pixels")
    value_range: Literal["0-255", "0-1"] = choice(*VALUE_RANGES)
    frozen_batch_norm: Literal["inference", "training"] = choice(*FROZEN_BATCH_NORMS)
    freeze: Freeze = Field(description=FREEZE_WORDS)
    class_weight: Literal["none", "balanced"] = choice(*CLASS_WEIGHTS)
    samples: Samples
    head: Head
    cache: Cache
    baseline: Baseline
    train_frozen: Training
    train_full: BackboneTraining
    train_partial: BackboneTraining
    diagnose: Diagnose
