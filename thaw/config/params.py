"""params.yaml as one typed, validated, immutable object.

Every entry must be there, and nothing else: a default in code would be a knob that no diff shows.
"""

import difflib
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from thaw.support.errors import ThawError
from thaw.support.yaml_file import read_yaml

PARAMS_FILE = "params.yaml"
TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000
"""How many there are in Fashion-MNIST."""
CLASSES = 10
BACKBONE_LAYERS = 175
"""Layers of Keras' ResNet50 below its pooling: what `freeze` counts."""
BLOCKS_PER_STAGE = {"conv2": 3, "conv3": 4, "conv4": 6, "conv5": 3}
"""Residual blocks of each stage (He et al. 2015, table 1, the 50-layer column)."""
BLOCKS = (
    "conv1",
    *BLOCKS_PER_STAGE,
    *(f"{stage}_block{n + 1}" for stage, count in BLOCKS_PER_STAGE.items() for n in range(count)),
)
INPUT_RANGES = ("byte", "unit")
SCHEDULES = ("constant", "cosine")
ENGINES = ("openvino", "keras")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
BATCH_NORMS = ("stored", "batch")
WEIGHT_SOURCES = ("imagenet", "bundled", "random")


def _freeze(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= BACKBONE_LAYERS:
        return value
    if isinstance(value, str) and value in BLOCKS:
        return value
    raise ValueError("neither a number of layers nor a block")


def _weights(value: object) -> object:
    if isinstance(value, str) and (value in WEIGHT_SOURCES or value.endswith((".h5", ".keras"))):
        return value
    raise ValueError("neither a source nor a file")


def _integer(low: int, high: int, unit: str = "") -> Any:
    """Describe a field that takes whole numbers only: not 5.0, not "5", not true."""
    allowed = f"an integer from {low:,} to {high:,}{unit}"
    return Field(strict=True, ge=low, le=high, description=allowed)


def _real(
    description: str,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> Any:
    return Field(allow_inf_nan=False, description=description, gt=gt, ge=ge, lt=lt, le=le)


def _some_images() -> Any:
    return _integer(CLASSES, TRAIN_IMAGES - CLASSES, " images")


def _fraction() -> Any:
    return _real("a number from 0 to below 1", ge=0, lt=1)


def _choice(*values: str) -> Any:
    return Field(description=" or ".join(values))


_FREEZE = (
    f"an integer from 0 to {BACKBONE_LAYERS} layers, or a block: conv1 to conv5, "
    "conv2_block1 to conv5_block3"
)
Freeze = Annotated[int | str, BeforeValidator(_freeze)]
Number = Annotated[float, Field(strict=True)]
Units = Annotated[int, Field(strict=True, ge=1, le=8192)]


class Section(BaseModel):
    """A part of params.yaml: nothing unknown, nothing missing, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Samples(Section):
    """How many images each part of the split holds, stratified by class."""

    seed: int = _integer(0, 2**31 - 1)
    train: int = Field(strict=True, description="0 (all) or an integer from 10 to 59,990")
    validation: int = _some_images()
    test: int = Field(strict=True, description="0 (all) or an integer from 10 to 10,000")

    @property
    def train_count(self) -> int:
        """Images to train on: what validation leaves, if 0 asks for all."""
        return self.train or TRAIN_IMAGES - self.validation

    @property
    def test_count(self) -> int:
        """Images to test on."""
        return self.test or TEST_IMAGES


class Head(Section):
    """The classifier on top of the pooled features."""

    units: tuple[Units, ...] = Field(
        max_length=8, description="a list of up to 8 integers from 1 to 8,192"
    )
    dropout: Number = _fraction()
    l2: Number = _real("a number from 0 to 10", ge=0, le=10)


class Cache(Section):
    """The frozen layers' output, kept on disk while a partial run trains."""

    max_gb: Number = _real("a number from 0 to 1,000 GB", ge=0, le=1000)


class Fit(Section):
    """How long and how fast a model is fitted."""

    epochs: int = _integer(1, 10_000)
    batch_size: int = _integer(1, 4096, " images")
    learning_rate: Number = _real("a number above 0, at most 1", gt=0, le=1)


class Training(Fit):
    """How a model is fitted, on how many images, and when it stops early."""

    images: int = _integer(0, TRAIN_IMAGES, " images, 0 for all")
    seeds: int = _integer(1, 1000, " seeds")
    patience: int = _integer(0, 10_000, " epochs, 0 for never")
    label_smoothing: Number = _fraction()


class HeadStart(Section):
    """The head alone, fitted before the backbone thaws."""

    epochs: int = _integer(0, 10_000, " epochs, 0 for none")
    learning_rate: Number = _real("a number above 0, at most 1", gt=0, le=1)


class Augment(Section):
    """How each training image is changed anew in every epoch."""

    flip: Annotated[bool, Field(strict=True)] = Field(description="true or false")
    shift: int = _integer(0, 16, " pixels")

    @property
    def some(self) -> bool:
        """Whether anything changes."""
        return self.flip or self.shift > 0


class BackboneTraining(Training):
    """How a model is fitted of which some of the backbone is thawed."""

    batch_norm_momentum: Number = _fraction()
    rate_decay: Number = _real("a number above 0, at most 1", gt=0, le=1)
    schedule: Literal["constant", "cosine"] = _choice(*SCHEDULES)
    warmup_epochs: int = _integer(0, 1000, " epochs")
    head_start: HeadStart
    augment: Augment


class Baseline(Section):
    """What is known before any retraining."""

    image_size: int = _integer(32, 224, " pixels")
    images: int = _integer(CLASSES, TEST_IMAGES, " images")
    linear_images: int = _some_images()


class Diagnose(Fit):
    """The notebooks' mistakes, switched on and off one by one."""

    freeze: tuple[Freeze, ...] = Field(
        min_length=1,
        description=f"a list, at least one of: {_FREEZE}",
    )
    images: int = _some_images()
    validation_images: int = _some_images()
    head: Head


class Params(Section):
    """All of params.yaml; the file itself says what each entry means."""

    seed: int = _integer(0, 2**31 - 1)
    threads: int = _integer(1, 1024, " threads")
    dataset: Literal["fashion-mnist"] = _choice("fashion-mnist")
    weights: Annotated[str, BeforeValidator(_weights)] = _choice(
        *WEIGHT_SOURCES, "a path that ends in .h5 or .keras"
    )
    engine: Literal["openvino", "keras"] = _choice(*ENGINES)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = _choice(*PRECISIONS)
    image_size: int = _integer(32, 224, " pixels")
    pixels_at_once: int = _integer(0, 2**31 - 1, " pixels")
    input_range: Literal["byte", "unit"] = _choice(*INPUT_RANGES)
    batch_norm: Literal["stored", "batch"] = _choice(*BATCH_NORMS)
    freeze: Freeze = Field(description=_FREEZE)
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
        """No part may ask for more images than there are."""
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
            f"{path}: must be {CLASSES} to {there:,}, as many images are there. Received: {asked!r}"
            for path, (asked, there) in asked_and_there.items()
            if asked > there or (asked != 0 and asked < CLASSES)
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def load_params(root: Path = Path()) -> Params:
    """Read `root`/params.yaml.

    Raises:
        ThawError: the file is missing, is not YAML, or an entry is unknown, missing, of the wrong
            type or out of range; the message lists every such entry.

    """
    path = root / PARAMS_FILE
    entries = _read_entries(path)
    try:
        return Params.model_validate(entries)
    except ValidationError as error:
        problems = [line for item in error.errors() for line in _problem(dict(item))]
        listed = "\n".join(f"  {line}" for line in dict.fromkeys(problems))
        raise ThawError(
            f"{path} is not valid:\n{listed}\n"
            "Correct the file, or set a value with `dvc exp run -S key=value`."
        ) from None


def _read_entries(path: Path) -> dict[str, Any]:
    entries = read_yaml(path)
    if not isinstance(entries, dict):
        raise ThawError(
            f"{path} must hold entries of the form `key: value`. Received: {_shorten(entries)}"
        )
    return entries


def _problem(item: dict[str, Any]) -> list[str]:
    """Say one of pydantic's errors as thaw does: where, what is allowed, what was received."""
    if not item["loc"]:
        return (
            str(item["ctx"]["error"]).splitlines()
            if "error" in item.get("ctx", {})
            else [item["msg"]]
        )
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return [f"{path}: missing. Allowed: {_allowed(item['loc'])}. Received: nothing"]
    if item["type"] in ("extra_forbidden", "invalid_key"):
        near = difflib.get_close_matches(str(item["loc"][-1]), _siblings(item["loc"]), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return [
            f"{path}: unknown.{hint} Allowed: {', '.join(_siblings(item['loc']))}. "
            f"Received: {_shorten(item['input'])}"
        ]
    return [f"{path}: must be {_allowed(item['loc'])}. Received: {_shorten(item['input'])}"]


def _section_of(location: tuple[Any, ...]) -> type[BaseModel]:
    section: type[BaseModel] = Params
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        section = kind
    return section


def _allowed(location: tuple[Any, ...]) -> str:
    section: type[BaseModel] = Params
    allowed = ""
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:  # an element of a list: the list's own words cover it
            break
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            section = kind
            allowed = f"a section with the entries {', '.join(kind.model_fields)}"
        else:
            allowed = field.description or ""
    return allowed


def _siblings(location: tuple[Any, ...]) -> list[str]:
    return list(_section_of(location).model_fields)


def _shorten(value: object, limit: int = 80) -> str:
    text = _brief().repr(value)
    return text if len(text) <= limit else text[:limit] + ".."


def _brief() -> reprlib.Repr:
    """Return what says how a value begins: in full, a few lines of YAML can be gigabytes."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxlist, brief.maxdict = 3, 9, 4
    brief.maxstring = brief.maxother = brief.maxlong = 200
    return brief


if __name__ == "__main__":  # `make repro` asks before DVC takes away any stage's outputs
    try:
        load_params()
    except ThawError as error:
        raise SystemExit(f"error: {error}") from None
