"""Keras' ResNet50 in PyTorch, layer by layer under Keras' names, and its way back to Keras.

PyTorch only because it trains this network about four times as fast on two cores; the arithmetic is
that of `keras.applications.ResNet50` (He et al. 2015), which tests/ hold it to.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

STACKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Filters, blocks and stride of conv2 to conv5."""
EPSILON = 1.001e-5
MOMENTUM = 0.01
"""Share of a batch in the running statistics, as in Keras (which counts the rest: 0.99)."""
BGR_MEANS = (103.939, 116.779, 123.68)
"""What `preprocess_input` subtracts, after turning RGB to BGR."""


class Convolution(nn.Conv2d):
    """nn.Conv2d, by matrix product on the small maps that oneDNN's backward pass is slow on.

    At 32 px conv5 sees maps of 1x1 and conv4 of 2x2: there the product is 3 to 18 times as fast.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return (n, filters, height, width) of (n, channels, height, width)."""
        (side, stride), size = (maps.shape[2], self.stride[0]), self.kernel_size[0]
        side = -(-side // stride)
        if size == 1 and side <= 8:
            return self._product(maps[:, :, ::stride, ::stride], self.weight.flatten(1))
        if size == 3 and side == 1:
            return self._product(maps, self.weight[:, :, 1, 1])
        if size == 3 and side == 2:
            padded = functional.pad(maps.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
            taps = [padded[:, i : i + 2, j : j + 2] for i in range(3) for j in range(3)]
            kernel = self.weight.permute(0, 2, 3, 1).flatten(1)
            return self._product(torch.cat(taps, 3).permute(0, 3, 1, 2), kernel)
        return super().forward(maps)

    def _product(self, maps: Tensor, kernel: Tensor) -> Tensor:
        rows = functional.linear(maps.permute(0, 2, 3, 1), kernel, self.bias)
        return rows.permute(0, 3, 1, 2)


class ResNet50(nn.Module):
    """(n, 3, side, side) from `preprocess` to pooled features (n, 2048) and logits (n, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self._add("conv1", 3, 64, 7, 2)
        channels = 64
        for stack, (filters, blocks, stride) in enumerate(STACKS, start=2):
            for block in range(1, blocks + 1):
                name = f"conv{stack}_block{block}"
                first = stride if block == 1 else 1
                if block == 1:
                    self._add(f"{name}_0", channels, 4 * filters, 1, first)
                self._add(f"{name}_1", channels, filters, 1, first)
                self._add(f"{name}_2", filters, filters, 3, 1)
                self._add(f"{name}_3", filters, 4 * filters, 1, 1)
                nn.init.zeros_(self.layers[f"{name}_3_bn"].weight)
                channels = 4 * filters
        self.layers["predictions"] = nn.Linear(channels, 1000)
        self.to(memory_format=torch.channels_last)

    def _add(self, name: str, channels: int, filters: int, size: int, stride: int) -> None:
        convolution = Convolution(channels, filters, size, stride, padding=size // 2)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(convolution.bias)
        self.layers[f"{name}_conv"] = convolution
        self.layers[f"{name}_bn"] = nn.BatchNorm2d(filters, eps=EPSILON, momentum=MOMENTUM)

    def _normalised(self, name: str, maps: Tensor) -> Tensor:
        return self.layers[f"{name}_bn"](self.layers[f"{name}_conv"](maps))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits."""
        maps = functional.relu(self._normalised("conv1", images))
        maps = functional.max_pool2d(maps, 3, 2, padding=1)
        for stack, (_, blocks, _) in enumerate(STACKS, start=2):
            for block in range(1, blocks + 1):
                maps = self._block(f"conv{stack}_block{block}", maps, shortcut=block == 1)
        features = maps.mean((2, 3))
        return features, self.layers["predictions"](features)

    def _block(self, name: str, maps: Tensor, shortcut: bool) -> Tensor:
        kept = self._normalised(f"{name}_0", maps) if shortcut else maps
        maps = functional.relu(self._normalised(f"{name}_1", maps))
        maps = functional.relu(self._normalised(f"{name}_2", maps))
        return functional.relu(self._normalised(f"{name}_3", maps) + kept)

    def use_stored_statistics(self) -> None:
        """Let batch normalisation use its running statistics while everything still learns."""
        for layer in self.layers.values():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()

    def hold_statistics(self, held: bool) -> None:
        """Stop, or let go on, the updates of the running statistics."""
        for layer in self.layers.values():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.0 if held else MOMENTUM


def preprocess(images: NDArray[np.uint8] | Tensor, side: int) -> Tensor:
    """Return what ResNet50 takes of (n, height, width, 3) uint8 RGB, made smaller by averaging."""
    pixels = torch.as_tensor(images).flip(-1).permute(0, 3, 1, 2).float()
    if side != images.shape[1]:
        pixels = functional.avg_pool2d(pixels, images.shape[1] // side)
    for channel, mean in enumerate(BGR_MEANS):
        pixels[:, channel] -= mean  # numbers: a tensor of them would make the CPU wait for the GPU
    return pixels


def keras_layers(network: ResNet50) -> dict[str, list[NDArray[np.float32]]]:
    """Return the weights by Keras' layer names, in Keras' order and layout, float32."""
    result = {}
    for name, layer in network.layers.items():
        if isinstance(layer, nn.BatchNorm2d):
            tensors = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        elif isinstance(layer, nn.Linear):
            tensors = [layer.weight.t(), layer.bias]
        else:
            tensors = [layer.weight.permute(2, 3, 1, 0), layer.bias]
        result[name] = [np.ascontiguousarray(tensor.detach().cpu().numpy()) for tensor in tensors]
    return result
