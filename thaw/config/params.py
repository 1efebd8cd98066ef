"""params.yaml as one typed, validated, immutable object.

Every entry is required and no other is allowed. A default in the code would be a setting that a
diff of params.yaml does not show.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thaw.config.fields import (
    CLASSES,
    ENGINES,
    FREEZE_WORDS,
    FROZEN_BATCH_NORMS,
    PRECISIONS,
    SCHEDULES,
    TEST_IMAGES,
    TRAIN_IMAGES,
    VALUE_RANGES,
    WEIGHT_SOURCES,
    Freeze,
    Number,
    Units,
    Weights,
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
    train: int = Field(strict=True, description="0 (all) or an integer from 10 to 59,990")
    validation: int = some_images()
    test: int = Field(strict=True, description="0 (all) or an integer from 10 to 10,000")

    @property
    def train_count(self) -> int:
        """Number of training images; 0 in params.yaml means all that validation leaves."""
        return self.train or TRAIN_IMAGES - self.validation

    @property
    def test_count(self) -> int:
        """Number of test images; 0 in params.yaml means all."""
        return self.test or TEST_IMAGES


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

    images: int = integer(0, TRAIN_IMAGES, " images, 0 for all")
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

    @property
    def some(self) -> bool:
        """Whether any change is switched on."""
        return self.flip or self.shift > 0


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
    images: int = integer(CLASSES, TEST_IMAGES, " images")
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
    dataset: Literal["fashion-mnist"] = choice("fashion-mnist")
    weights: Weights = choice(*WEIGHT_SOURCES, "a path that ends in .h5 or .keras")
    engine: Literal["openvino", "keras"] = choice(*ENGINES)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = choice(*PRECISIONS)
    image_size: int = integer(32, 224, " pixels")
    microbatch_pixels: int = integer(0, 2**31 - 1, " pixels")
    value_range: Literal["0-255", "0-1"] = choice(*VALUE_RANGES)
    frozen_batch_norm: Literal["inference", "training"] = choice(*FROZEN_BATCH_NORMS)
    freeze: Freeze = Field(description=FREEZE_WORDS)
    samples: Samples
    head: Head
    cache: Cache
    baseline: Baseline
    train_frozen: Training
    train_full: BackboneTraining
    train_partial: BackboneTraining
    diagnose: Diagnose

    @model_validator(mode="after")
    def _samples_are_there(self) -> Self:
        """Check that no entry asks for more images than exist."""
        # The limits depend on other entries, so no field can check them alone.
        asked_and_there = {
            "samples.train": (self.samples.train, TRAIN_IMAGES - self.samples.validation),
            "samples.test": (self.samples.test, TEST_IMAGES),
            "train_frozen.images": (self.train_frozen.images, self.samples.train_count),
            "train_full.images": (self.train_full.images, self.samples.train_count),
            "train_partial.images": (self.train_partial.images, self.samples.train_count),
            "baseline.images": (self.baseline.images, self.samples.test_count),
            "baseline.linear_images": (self.baseline.linear_images, self.samples.train_count),
            "diagnose.images": (self.diagnose.images, self.samples.train_count),
            "diagnose.validation_images": (
                self.diagnose.validation_images,
                self.samples.validation,
            ),
        }
        problems = [
            f"{path}: must be {CLASSES} to {there:,}, the number available. Received: {asked!r}"
            for path, (asked, there) in asked_and_there.items()
            if asked > there or (asked != 0 and asked < CLASSES)
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self
