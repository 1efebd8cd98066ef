"""One session on a lent machine, from the first second to the last."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pretrain.learner import Learner, new_learner
from pretrain.lease import carried
from pretrain.lease.classroom import Classroom
from pretrain.lease.engine import Engine
from pretrain.lease.makers import Makers, pool
from pretrain.lease.timing import Schedule
from pretrain.lease.training import Training
from pretrain.settings import Settings
from thaw.support.errors import ThawError


@dataclass(frozen=True)
class Lent:
    """What a session has to work with."""

    settings: Settings
    device: str
    engine: str
    carried: Path
    out: Path
    seconds: float
    begun: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        """Return the seconds since the program began."""
        return time.monotonic() - self.begun

    def left(self) -> float:
        """Return the seconds until the time is up."""
        return self.seconds - self.elapsed()

    def workers(self) -> int:
        """Return how many processes make scenes."""
        return self.settings.lease.workers or max(1, len(os.sched_getaffinity(0)) - 1)


@contextmanager
def opened(lent: Lent) -> Iterator[Classroom]:
    """Yield a classroom with its first scenes answered; end its processes afterwards.

    Raises:
        ThawError: what travelled is not whole, or there is no such device.

    """
    carried.verify(lent.carried)
    settings, workers = lent.settings, lent.workers()
    torch.set_num_threads(settings.threads)  # the processors are for the scenes
    processes = pool(workers)  # before the first use of the GPU
    try:
        if lent.device == "cuda" and not torch.cuda.is_available():
            raise ThawError("The device must be there. Received: cuda, and PyTorch sees none.")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "pictures"
            carried.unpack(lent.carried, folder, processes.map)
            makers = Makers(processes, workers, folder, settings.lease, settings.seed)
            teachers = carried.load_teachers(
                lent.carried / carried.TEACHERS, settings.lease.teachers, lent.device
            )
            yield Classroom(settings.lease, teachers, makers, lent.device, settings.seed)
    finally:
        processes.shutdown(wait=False, cancel_futures=True)


def student(lent: Lent) -> Learner:
    """Return a student that knows nothing yet."""
    lease = lent.settings.lease
    features = len(lease.teachers) * 1280
    return new_learner(
        lent.settings.seed, features, lease.learning_rate, lease.weight_decay, lent.device
    )


def train(lent: Lent) -> dict[str, float]:
    """Train until the time is up but for the reserve; return agreements by side."""
    lease = lent.settings.lease
    with opened(lent) as classroom:
        learner = student(lent)
        engine = Engine(learner, lease, lent.engine)
        opening = lent.elapsed()
        schedule = Schedule(lease, max(1.0, lent.left() - lease.reserve_seconds))
        about: dict[str, str | float] = {
            "device": device_name(lent.device),
            "opening_seconds": round(opening, 1),
            "teachers": "+".join(f"Lite{variant}" for variant in lease.teachers),
        }
        training = Training(learner, classroom, engine, lease, lent.out, about)
        training.run(schedule)
        return training.finish()


def device_name(device: str) -> str:
    """Return what the metrics call the device."""
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"
