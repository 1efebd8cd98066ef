"""Batches that are too large for memory: micro-batches, whose gradients are accumulated."""

import math

from thaw.support.errors import ThawError


def accumulation_steps(batch_size: int, side: int, limit: int, precision: str) -> int:
    """Return in how many micro-batches a batch goes through a network; say so where it does.

    Args:
        batch_size: images in a batch.
        side: of an image, pixels.
        limit: pixels that a micro-batch may have; 0 = no limit. One image always fits.
        precision: that the network computes in, one of params.yaml's.

    Raises:
        ThawError: in float16. Keras leaves out gradients that overflow there, and would then mix
            the micro-batches of different batches.

    """
    steps = math.ceil(batch_size / max(1, limit // side**2)) if limit else 1
    if steps == 1:
        return 1
    if precision == "mixed_float16":
        raise ThawError(
            f"mixed_float16 takes no batch in micro-batches, and {batch_size} images of {side} px "
            f"need {steps}. Received: microbatch_pixels {limit:,}. Allowed: "
            f"{batch_size * side**2:,} or more, 0 (no limit), or a smaller batch_size; or "
            "-S precision=mixed_bfloat16."
        )
    print(f"batches of {batch_size} images go through in {steps} micro-batches", flush=True)
    return steps
