"""A student that learns: network, loss, optimiser, on a CPU or a GPU."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pretrain.student import ResNet50, preprocess

Network = Callable[[Tensor], tuple[Tensor, Tensor]]
EVALUATED = 250
"""Scenes at once where agreement is measured."""


@dataclass
class Learner:
    """All that a checkpoint holds."""

    network: ResNet50
    to_teacher: torch.nn.Linear
    """Maps the student's features to the teacher's."""
    optimizer: torch.optim.Optimizer
    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)

    def parameters(self) -> list[Tensor]:
        """Return all that learns."""
        return [*self.network.parameters(), *self.to_teacher.parameters()]


def new_learner(
    seed: int, features: int, rate: float, weight_decay: float, device: str = "cpu"
) -> Learner:
    """Return a learner with random weights, of a teacher with so many features."""
    torch.manual_seed(seed)
    network = ResNet50().to(device)
    to_teacher = torch.nn.Linear(2048, features).to(device)
    parameters = [*network.parameters(), *to_teacher.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    gpu = device != "cpu"
    optimizer = torch.optim.AdamW(
        groups,
        # A CUDA graph reads the rate anew at each replay only from the GPU's memory.
        lr=torch.tensor(rate, device=device) if gpu else rate,
        weight_decay=weight_decay,
        fused=True,
        capturable=gpu,
    )
    return Learner(network, to_teacher, optimizer)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def mixed(device: str) -> torch.autocast:
    """Return the context that the student computes in: bfloat16 where the device is built for it.

    On a CPU that is not, bfloat16 is ten times slower than float32.
    """
    built = device == "cuda" or torch.cpu._is_avx512_bf16_supported()
    # Weights are cast anew each time: a CUDA graph must not read what was cast outside of it.
    return torch.autocast(device, torch.bfloat16, enabled=built, cache_enabled=False)


def losses(
    network: Network, to_teacher: torch.nn.Module, images: Tensor, features: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor]:
    """Return mean squared error of standardised features, and KL(teacher, student) in nats."""
    with mixed(images.device.type):
        own, own_logits = network(images)
        mapped = to_teacher(own)
    feature_loss = functional.mse_loss(mapped.float(), features)
    divergence = functional.kl_div(
        functional.log_softmax(own_logits.float(), 1),
        functional.log_softmax(logits.float(), 1),
        reduction="batchmean",
        log_target=True,
    )
    return feature_loss, divergence


@torch.no_grad()
def agreement(
    network: ResNet50, images: NDArray[np.uint8] | Tensor, classes: Tensor, side: int
) -> float:
    """Return the fraction of scenes (n, height, width, 3) whose likeliest class is the teacher's.

    Batch normalisation is left as training has it, and learns nothing from these scenes.
    """
    same = 0
    network.hold_statistics(True)
    for start in range(0, len(images), EVALUATED):
        rows = slice(start, start + EVALUATED)
        with mixed(classes.device.type):
            _, logits = network(preprocess(images[rows], side))
        same += int((logits.argmax(1) == classes[rows]).sum())
    network.hold_statistics(False)
    return same / len(images)
