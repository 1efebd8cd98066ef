"""One step of training: eagerly, as a CUDA graph, or compiled; eagerly where the others fail."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from pretrain.learner import Learner, Network, losses
from pretrain.lease.reservoir import Batch
from pretrain.settings import Lease

Step = Callable[[Batch], Tensor]
"""Takes a batch, learns from it, returns feature loss and divergence, (2,)."""
WARM_UP = 3
"""Steps before a graph is recorded, as PyTorch's manual asks for: what is set up once is then."""


class Engine:
    """Steps for batches of several sides, each prepared when it is first needed."""

    def __init__(self, learner: Learner, lease: Lease, kind: str) -> None:
        self.kind = kind
        self.prepared: dict[int, float] = {}
        """Seconds that it took, by side."""
        self._learner, self._lease = learner, lease
        self._steps: dict[int, Step] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """Learn from a batch; return feature loss and divergence, (2,), on the device."""
        side = batch.images.shape[2]
        if side not in self._steps:
            start = time.perf_counter()
            self._steps[side] = self._prepared(batch)
            self.prepared[side] = time.perf_counter() - start
        with searching():
            return self._steps[side](batch)

    def prepare_anew(self) -> None:
        """Forget recorded steps: batch normalisation has changed its ways."""
        self._steps.clear()

    def _prepared(self, batch: Batch) -> Step:
        if self.kind != "eager":
            try:
                with time_limit(self._lease.engine_seconds), searching():
                    return self._graph(batch) if self.kind == "graphs" else self._compiled(batch)
            except Exception as error:  # a compiler fails in many ways, none of which may cost all
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                print(f"engine {self.kind} fails, going on eagerly: {said}", flush=True)
                self.kind = "eager"
        return self._eager(self._learner.network)

    def _eager(self, network: Network) -> Step:
        learner, lease = self._learner, self._lease
        parameters = learner.parameters()

        def step(batch: Batch) -> Tensor:
            feature_loss, divergence = losses(
                network, learner.to_teacher, batch.images, batch.features, batch.logits
            )
            learner.optimizer.zero_grad()
            (lease.feature_weight * feature_loss + divergence).backward()
            clip_grad_norm_(parameters, lease.gradient_norm)
            learner.optimizer.step()
            return torch.stack([feature_loss.detach(), divergence.detach()])

        return step

    def _compiled(self, batch: Batch) -> Step:
        step = self._eager(torch.compile(self._learner.network, dynamic=False))
        step(batch)
        return step

    def _graph(self, batch: Batch) -> Step:
        """Record a step; replayed, it costs the CPU one call instead of some thousand."""
        step = self._eager(self._learner.network)
        kept = Batch(batch.images.clone(), batch.features.clone(), batch.logits.clone())
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step(kept)
        torch.cuda.current_stream().wait_stream(stream)
        self._learner.optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            losses_ = step(kept)

        def replay(batch: Batch) -> Tensor:
            kept.images.copy_(batch.images)
            kept.features.copy_(batch.features)
            kept.logits.copy_(batch.logits)
            graph.replay()
            return losses_.clone()

        return replay


@contextmanager
def searching() -> Iterator[None]:
    """Let cuDNN look for the fastest kernels for each shape that is new to it.

    Only in a step, whose few shapes come thousands of times: the search takes a tenth of a second
    or so for each, and the teachers have hundreds.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError, an OSError, in the block once it has taken so long."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"it took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
