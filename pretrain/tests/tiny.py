"""A teacher with random weights and pictures of a few blocks, for tests."""

import cv2
import numpy as np

from pretrain.lite import Arrays
from pretrain.pictures import Picture

STAGES = ((16, 1, 3), (24, 2, 3), (40, 2, 5), (80, 3, 3), (112, 3, 5), (192, 4, 5), (320, 1, 3))
"""Of Lite0: filters, blocks and kernels."""


def random_lite0(seed: int = 0) -> Arrays:
    """Kernels and biases of the right shapes, and of sizes that keep the answers finite."""
    random = np.random.default_rng(seed)

    def pair(out: int, channels: int, size: int) -> Arrays:
        scale = np.sqrt(2 / (channels * size * size))
        kernel = random.normal(0, scale, (out, channels, size, size)).astype(np.float32)
        return [kernel, random.normal(0, 0.1, out).astype(np.float32)]

    arrays = pair(32, 3, 3)
    channels = 32
    for stage, (out, count, size) in enumerate(STAGES):
        for _ in range(count):
            wide = channels if stage == 0 else 6 * channels
            if stage:
                arrays += pair(wide, channels, 1)
            arrays += pair(wide, 1, size) + pair(out, wide, 1)
            channels = out
    arrays += pair(1280, 320, 1)
    classifier = random.normal(0, 0.05, (1000, 1280)).astype(np.float32)
    return [*arrays, classifier, np.zeros(1000, np.float32)]


def tiny_pictures() -> list[tuple[Picture, np.ndarray]]:
    """Three pictures of each kind, one of them held out; photos are opaque."""
    random = np.random.default_rng(0)
    pictures = []
    for kind in ("clipart", "emoji", "photo"):
        for number in range(3):
            blocks = random.integers(0, 256, (7, 6, 4), dtype=np.uint8)
            pixels = cv2.resize(blocks, (60, 70), interpolation=cv2.INTER_NEAREST)
            pixels[..., 3] = 255 if kind == "photo" else np.where(pixels[..., 3] > 90, 255, 0)
            picture = Picture("p", f"{kind} {number}", kind, "CC0", number == 2, 70, 60)
            pictures.append((picture, pixels))
    return pictures
