"""Processes that make scenes ahead of the student."""

import multiprocessing
from collections import Counter
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from pretrain.pictures import Library
from pretrain.scenes import Image, random_scene, shrunk
from pretrain.settings import Lease

AHEAD = 4
"""Chunks that are made or wait, for each process."""


def pool(workers: int) -> ProcessPoolExecutor:
    """Return processes; make it before anything uses a GPU, which a forked process cannot."""
    # Here, not in each process: that would wait for ever for this one's threads to end.
    cv2.setNumThreads(1)
    made = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
    made.submit(int).result()  # all are started by the first piece of work
    return made


@lru_cache(2)
def _library(folder: Path, held_out: bool) -> Library:
    return Library(folder, held_out)


def make(
    folder: Path, lease: Lease, side: int, seed: tuple[int, ...], held_out: bool, count: int
) -> Image:
    """Return scenes (n, side, side, 3); they hang on the seed and the pictures alone."""
    random = np.random.default_rng([*seed, side, held_out])
    library = _library(folder, held_out)
    larger = max(lease.scene_side, side)
    scenes = [random_scene(random, library, larger, lease.plain_share)[0] for _ in range(count)]
    return np.stack(scenes) if larger == side else shrunk(np.stack(scenes), side)


class Makers:
    """Keeps the processes busy; each side is made in proportion to how often it is seen."""

    def __init__(
        self, processes: ProcessPoolExecutor, workers: int, folder: Path, lease: Lease, seed: int
    ) -> None:
        self._pool, self._folder, self._lease, self._seed = processes, folder, lease, seed
        self._ahead = AHEAD * workers
        self._made: Counter[int] = Counter()
        self._number = self._taken = 0
        self._jobs: list[tuple[int, Future[Image]]] = []
        self._fill()

    def held_out(self, side: int) -> Image:
        """Return the scenes of held-out pictures, all at once."""
        count = self._lease.held_out_scenes
        sizes = [len(part) for part in np.array_split(np.arange(count), max(1, count // 250))]
        jobs = [
            self._pool.submit(make, self._folder, self._lease, side, (self._seed, i), True, size)
            for i, size in enumerate(sizes)
        ]
        return np.concatenate([job.result() for job in jobs])

    def take(self, wait: bool = False) -> tuple[int, Image] | None:
        """Return a side and scenes of it, or None where none are ready and it need not wait.

        Where it need not wait, scenes that could not be made are only told of: the bank has others.

        Raises:
            Exception: whatever making those raised that it waits for.

        """
        for position, (side, job) in enumerate(self._jobs):
            if job.done() or wait:
                del self._jobs[position]
                try:
                    images = job.result()
                    self._taken += len(images)
                    self._fill()
                except Exception as error:
                    if wait:
                        raise
                    self._lose(error)
                    return None
                return side, images
        return None

    def _lose(self, error: Exception) -> None:
        """Go on without some scenes, or, where the processes are gone, without any new ones."""
        print(f"scenes could not be made: {error!r}", flush=True)
        with suppress(BrokenExecutor):
            self._fill()

    def finished(self) -> int:
        """Return how many scenes are made, taken or not."""
        waiting = sum(job.done() for _, job in self._jobs)
        return self._taken + waiting * self._lease.chunk

    def _fill(self) -> None:
        while len(self._jobs) < self._ahead:
            side = min(
                (side for side in self._lease.sides if side.share > 0),
                key=lambda side: self._made[side.side] / side.share,
            )
            self._made[side.side] += self._lease.chunk
            self._number += 1
            job = self._pool.submit(
                make,
                self._folder,
                self._lease,
                side.side,
                (self._seed, self._number),
                held_out=False,
                count=self._lease.chunk,
            )
            self._jobs.append((side.side, job))
