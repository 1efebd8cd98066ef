"""The allowed values of params.yaml: as pydantic fields, and as text for error messages."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from thaw.support import paths

MOST_IMAGES = 100_000_000
"""The largest number of images that an entry may ask for; more than any dataset has."""
FASHION_MNIST = paths.FASHION_MNIST.as_posix()
"""The `dataset` that is not a folder of pictures."""
BACKBONE_LAYERS = 175
"""Layers of Keras' ResNet50 below its pooling; `freeze` counts these."""
BLOCKS_PER_STAGE = {"conv2": 3, "conv3": 4, "conv4": 6, "conv5": 3}
"""Residual blocks of each stage (He et al. 2015, table 1, the 50-layer column)."""
BLOCKS = (
    "conv1",
    *BLOCKS_PER_STAGE,
    *(f"{stage}_block{n + 1}" for stage, count in BLOCKS_PER_STAGE.items() for n in range(count)),
)
VALUE_RANGES = ("0-255", "0-1")
SCHEDULES = ("constant", "cosine")
ENGINES = ("openvino", "keras")
ENGINE_PRECISIONS = ("float32", "bfloat16")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
INSTRUCTION_SETS = ("native", "avx2")
FROZEN_BATCH_NORMS = ("inference", "training")
WEIGHT_SOURCES = ("imagenet", "bundled", "random")
CLASS_WEIGHTS = ("none", "balanced")


def _freeze(value: object) -> object:
    # Python counts a bool as an int: `freeze: true` would mean one layer.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= BACKBONE_LAYERS:
        return value
    if isinstance(value, str) and value in BLOCKS:
        return value
    raise ValueError("neither a number of layers nor a block")


def _known_weights(value: object) -> object:
    if isinstance(value, str) and (value in WEIGHT_SOURCES or value.endswith((".h5", ".keras"))):
        return value
    raise ValueError("neither a source nor a file")


def integer(low: int, high: int, unit: str = "") -> Any:
    """Describe a field that takes integers only: 5.0, "5" and true are refused."""
    allowed = f"an integer from {low:,} to {high:,}{unit}"
    return Field(strict=True, ge=low, le=high, description=allowed)


def real(
    description: str,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> Any:
    """Describe a field that takes finite numbers within bounds; `gt` and `lt` exclude the bound."""
    return Field(allow_inf_nan=False, description=description, gt=gt, ge=ge, lt=lt, le=le)


def some_images() -> Any:
    """Describe a field for a number of images; if there are fewer, all of them are taken."""
    return integer(10, MOST_IMAGES, " images")


def all_or_some_images() -> Any:
    """Describe a field for a number of images that may also be 0, which means all."""
    return integer(0, MOST_IMAGES, " images, 0 for all")


def fraction() -> Any:
    """Describe a field that takes a fraction below 1."""
    return real("a number from 0 to below 1", ge=0, lt=1)


def choice(*values: str) -> Any:
    """Describe a field that takes one of these words."""
    return Field(description=" or ".join(values))


FREEZE_WORDS = (
    f"an integer from 0 to {BACKBONE_LAYERS} layers, or a block: conv1 to conv5, "
    "conv2_block1 to conv5_block3"
)
# A validator gives one message. pydantic's own check of a union gives one for each of its types.
Freeze = Annotated[int | str, BeforeValidator(_freeze)]
Weights = Annotated[str, BeforeValidator(_known_weights)]
Number = Annotated[float, Field(strict=True)]
Units = Annotated[int, Field(strict=True, ge=1, le=8192)]
