"""Micro-batches with accumulated gradients, for batches that are too large for memory."""

import math

from thaw.support.errors import ThawError


def accumulation_steps(batch_size: int, side: int, limit: int, precision: str) -> int:
    """Return the number of micro-batches of a batch; print it if there is more than one.

    Args:
        batch_size: images in a batch.
        side: side of an image, pixels.
        limit: the most pixels in a micro-batch; 0 means no limit. One image is always allowed.
        precision: what the network computes in, as `precision` in params.yaml.

    Raises:
        ThawError: `precision` is mixed_float16 and a batch needs more than one micro-batch. Keras
            skips gradients that overflow in float16, which would mix the micro-batches of
            different batches.

    """
    steps = math.ceil(batch_size / max(1, limit // side**2)) if limit else 1
    if steps == 1:
        return 1
    if precision == "mixed_float16":
        raise ThawError(
            f"mixed_float16 does not allow micro-batches, but {batch_size} images of {side} px "
            f"need {steps}. Received: microbatch_pixels {limit:,}. Allowed: "
            f"{batch_size * side**2:,} or more, 0 (no limit), or a smaller batch_size; or "
            "-S precision=mixed_bfloat16."
        )
    print(f"batches of {batch_size} images go through in {steps} micro-batches", flush=True)
    return steps
