"""Scenes of one side with the teachers' answers, on the device that learns from them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.lite import CLASSES
from pretrain.student import preprocess

SCALED_BY = 20_000
"""Scenes that the mean and the deviation of the teachers' features are taken from, at most."""
LEAST = 0.05
"""Least deviation of a feature, as a share of the mean of all."""


@dataclass(frozen=True)
class Scale:
    """Standardises the teachers' features, each by its own mean and deviation.

    One that hardly varies in the scenes that this is taken from may vary in later ones: `LEAST` of
    the mean deviation keeps it from outweighing all others.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Scale":
        """Return the scale of features (n, k)."""
        part = features[:SCALED_BY].float()
        deviation = part.std(0)
        return cls(part.mean(0), torch.maximum(deviation, LEAST * deviation.mean() + 1e-3))

    def __call__(self, features: Tensor) -> Tensor:
        """Return (n, k) float32."""
        return (features.float() - self.mean) / self.deviation


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    images: Tensor
    """(n, 3, side, side) as ResNet50 takes them."""
    features: Tensor
    logits: Tensor


class Reservoir:
    """Keeps so many scenes; once full, new ones take the place of the oldest."""

    def __init__(self, capacity: int, side: int, features: int, device: str) -> None:
        self.side = side
        self.images = torch.zeros((capacity, side, side, 3), dtype=torch.uint8, device=device)
        self.features = torch.zeros((capacity, features), dtype=torch.float16, device=device)
        self.logits = torch.zeros((capacity, CLASSES), dtype=torch.float16, device=device)
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, len(self.images))

    def known(self) -> Tensor:
        """Return the features of all scenes that are here."""
        return self.features[: len(self)]

    def add(self, images: Tensor, features: Tensor, logits: Tensor) -> None:
        """Take in scenes with their answers."""
        rows = torch.arange(self.added, self.added + len(images), device=images.device)
        rows %= len(self.images)
        self.images[rows], self.features[rows], self.logits[rows] = images, features, logits
        self.added += len(images)

    def draw(self, size: int, random: torch.Generator, scale: Scale) -> Batch:
        """Return scenes at random, half of them mirrored, with the answers as they are stored.

        Of all that could be changed on the GPU only this is: a teacher that saw another cut or
        other colours than the student would teach noise (README.md, Trials), and asking it again
        costs what a new scene costs.
        """
        rows = torch.randint(len(self), (size,), device=self.images.device, generator=random)
        images = self.images[rows]
        mirrored = torch.rand(size, device=images.device, generator=random) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        pixels = preprocess(images, self.side).contiguous(memory_format=torch.channels_last)
        return Batch(pixels, scale(self.features[rows]), self.logits[rows])
