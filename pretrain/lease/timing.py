"""What the time is spent on, and the learning rate of each moment."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from pretrain.settings import Lease

Span = tuple[torch.cuda.Event, torch.cuda.Event]
AHEAD = 3
"""Spans of work that the CPU may be ahead of the GPU: it stays busy, and stops in time."""


class Stopwatch:
    """Seconds that the device was busy, by name; the CPU does not wait for the GPU to know them."""

    def __init__(self, device: str) -> None:
        self._gpu = device != "cpu"
        self._open: deque[tuple[str, Span]] = deque()
        self._seconds: dict[str, float] = {}
        self._start = time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what the block gives the device to do."""
        if not self._gpu:
            start = time.perf_counter()
            yield
            self._add(name, time.perf_counter() - start)
            return
        span = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        span[0].record()
        yield
        span[1].record()
        self._open.append((name, span))
        while len(self._open) > AHEAD:
            self._close()

    def _close(self) -> None:
        name, (start, end) = self._open.popleft()
        end.synchronize()
        self._add(name, start.elapsed_time(end) / 1000)

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def wait(self) -> None:
        """Wait until everything counted so far is done."""
        while self._open:
            self._close()

    def waiting(self) -> float:
        """Return the share of the time since the beginning in which the device had no work."""
        return max(0.0, 1 - self.seconds() / (time.perf_counter() - self._start))

    def seconds(self, name: str = "") -> float:
        """Return the seconds of one name, or of all."""
        return self._seconds.get(name, 0.0) if name else sum(self._seconds.values())


class Schedule:
    """The learning rate by time: up over the first steps, level, and down to 0 at the end.

    Down as 1 less the square root of the part of the decay that has passed (Hagele et al., "Scaling
    laws and compute-optimal training beyond fixed training durations", NeurIPS 2024).
    """

    def __init__(
        self, lease: Lease, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lease, self._seconds, self._clock = lease, seconds, clock
        self._start = clock()

    def elapsed(self) -> float:
        """Return the seconds since the beginning."""
        return self._clock() - self._start

    def passed(self) -> float:
        """Return the part of the time that has passed, at most 1."""
        return min(1.0, self.elapsed() / self._seconds)

    def over(self) -> bool:
        """Tell whether the time is up."""
        return self.passed() >= 1

    def stored(self) -> bool:
        """Tell whether batch normalisation uses its stored statistics by now."""
        return self.passed() >= 1 - self._lease.stored_share

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0, that is taken now."""
        rising = min(1.0, (step + 1) / max(1, self._lease.warmup_steps))
        decayed = (self.passed() - 1 + self._lease.decay_share) / max(1e-9, self._lease.decay_share)
        return self._lease.learning_rate * rising * (1 - math.sqrt(max(0.0, decayed)))
