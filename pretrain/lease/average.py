"""The mean of the weights of many steps, and statistics of batch normalisation that fit it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pretrain.learner import mixed
from pretrain.student import MOMENTUM, ResNet50


class Average:
    """A moving mean of the weights: `decay` of it stays at each step.

    At first it follows closely, since the random weights at the start are worth nothing.
    """

    def __init__(self, network: ResNet50, decay: float) -> None:
        self._decay, self._steps = decay, 0
        self._sources = [parameter.detach() for parameter in network.parameters()]
        self._means = [source.clone() for source in self._sources]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        self._steps += 1
        decay = min(self._decay, self._steps / (10 + self._steps))
        torch._foreach_lerp_(self._means, self._sources, 1 - decay)

    @torch.no_grad()
    def write(self, network: ResNet50) -> None:
        """Give its weights to another network."""
        for parameter, mean in zip(network.parameters(), self._means, strict=True):
            parameter.copy_(mean)


def norms(network: ResNet50) -> list[nn.BatchNorm2d]:
    """Return all layers of batch normalisation."""
    return [layer for layer in network.layers.values() if isinstance(layer, nn.BatchNorm2d)]


@torch.no_grad()
def copy_all(source: ResNet50, target: ResNet50) -> None:
    """Give weights and statistics to another network."""
    target.load_state_dict(source.state_dict())


@torch.no_grad()
def measure_statistics(network: ResNet50, draw: Callable[[int], Tensor], batches: int) -> None:
    """Set batch normalisation's statistics to their mean over batches of all sides.

    Args:
        network: is left with batch normalisation in the mode that it had.
        draw: gives the images (n, 3, side, side) of batch number i; sides take turns.
        batches: how many.

    """
    layers = norms(network)
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean of all batches
        layer.train()
    for number in range(batches):
        images = draw(number)
        with mixed(images.device.type):
            network(images)
    for layer, mode in zip(layers, modes, strict=True):
        layer.momentum = MOMENTUM
        layer.train(mode)
