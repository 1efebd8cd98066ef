"""Teachers, and the scenes that they have answered: what a student learns from."""

from collections import Counter

import torch
from torch import Tensor

from pretrain.learner import agreement
from pretrain.lease.makers import Makers
from pretrain.lease.reservoir import Batch, Reservoir, Scale
from pretrain.lease.timing import Stopwatch
from pretrain.lite import Teachers
from pretrain.scenes import Image
from pretrain.settings import Lease, Side
from pretrain.student import ResNet50


class Classroom:
    """Asks the teachers about new scenes, and gives the student old and new ones."""

    def __init__(
        self, lease: Lease, teachers: Teachers, makers: Makers, device: str, seed: int
    ) -> None:
        self.watch = Stopwatch(device)
        self.views: Counter[int] = Counter()
        """Scenes that the student has been given, by side."""
        self.makers = makers
        self._lease, self._teachers, self._device = lease, teachers, device
        self._random = torch.Generator(device).manual_seed(seed)
        self._sides = {side.side: side for side in lease.sides if side.share > 0}
        self.reservoirs = {
            side.side: Reservoir(side.bank, side.side, teachers.features, device)
            for side in self._sides.values()
        }
        self._held_out = {side: self._examined(side) for side in self._sides}
        self._fill()
        # One of all sides: of the rarest alone there are few scenes yet.
        known = [some.known() for some in self.reservoirs.values()]
        self._scale = Scale.of(torch.cat(known))

    def _examined(self, side: int) -> tuple[Tensor, Tensor]:
        """Return scenes of held-out pictures, and the classes that the teachers give them."""
        images = self.makers.held_out(side)
        size = self._lease.chunk  # as all others: each new size must be prepared for
        parts = [self.answer(images[i : i + size], side) for i in range(0, len(images), size)]
        seen, _, logits = (torch.cat(some) for some in zip(*parts, strict=True))
        return seen, logits.argmax(1)

    def _fill(self) -> None:
        """Wait for the scenes that the first steps draw from."""
        first = self._lease.first_scenes
        while any(
            some.added < max(2, first * self._sides[side].share)
            for side, some in self.reservoirs.items()
        ):
            self.teach(wait=True)

    def answer(self, images: Image | Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return images on the device, and what the teachers say of them."""
        seen = images if isinstance(images, Tensor) else self._sent(images)
        with self.watch("teach"):
            features, logits = self._teachers(seen, self._sides[side].teacher_side)
        return seen, features, logits

    def _sent(self, images: Image) -> Tensor:
        sent = torch.from_numpy(images)
        if self._device == "cpu":
            return sent
        return sent.pin_memory().to(self._device, non_blocking=True)

    def teach(self, wait: bool = False) -> bool:
        """Have the next scenes answered, if there are any."""
        made = self.makers.take(wait)
        if made is None:
            return False
        side, images = made
        self.reservoirs[side].add(*self.answer(images, side))
        return True

    def may_teach(self) -> bool:
        """Tell whether the teachers have had less than their share of the device's time."""
        return self.watch.seconds("teach") <= self._lease.teach_share * self.watch.seconds()

    def next_side(self) -> Side:
        """Return the side that has been seen least, by the share that it should have."""
        return min(self._sides.values(), key=lambda side: self.views[side.side] / side.share)

    def draw(self, side: Side) -> Batch:
        """Return a batch of scenes of one side."""
        self.views[side.side] += side.batch_size
        return self.reservoirs[side.side].draw(side.batch_size, self._random, self._scale)

    def images(self, number: int) -> Tensor:
        """Return scenes as the student takes them, of all sides in turn; no views are counted."""
        side = list(self._sides)[number % len(self._sides)]
        known, size = self.reservoirs[side], self._sides[side].batch_size
        return known.draw(size, self._random, self._scale).images

    def scenes(self) -> int:
        """Return how many scenes the teachers have answered, the held-out ones aside."""
        return sum(some.added for some in self.reservoirs.values())

    def agreement(self, network: ResNet50) -> dict[int, float]:
        """Return the share of held-out scenes that network and teachers call the same, by side."""
        return {
            side: agreement(network, images, classes, side)
            for side, (images, classes) in self._held_out.items()
        }
