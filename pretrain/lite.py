"""EfficientNet-Lite 0, 1 and 2 in plain PyTorch, to be run, not trained.

Tan & Le 2019; the Lite variants are Google's of 2020, Apache-2.0. Batch normalisation is folded
into the convolutions, so a network is a list of kernels and biases, from which its shape is read.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Arrays = list[NDArray[np.float32]]
"""Kernel, bias, kernel, bias, .. of all convolutions and of the classifier, in order."""

FEATURES, CLASSES = 1280, 1000
NATIVE_SIDES = (224, 240, 260)
"""What Lite 0, 1 and 2 were trained at, pixels."""
_REPEATS = ((1, 2, 2, 3, 3, 4, 1), (1, 3, 3, 4, 4, 5, 1), (1, 3, 3, 4, 4, 5, 1))
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of each stage's first block; all others have 1."""


class _Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": at stride 2 more on the right and below."""

    def __init__(self, kernel: Tensor, bias: Tensor, stride: int) -> None:
        out, channels, size, _ = kernel.shape
        depthwise = channels == 1
        super().__init__(
            out if depthwise else channels,
            out,
            size,
            stride,
            padding=size // 2 if stride == 1 else 0,
            groups=out if depthwise else 1,
        )
        self.weight = nn.Parameter(kernel, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (n, filters, height / stride, width / stride), rounded up."""
        if self.stride[0] == 2:
            total = max(self.kernel_size[0] - (1 if maps.shape[2] % 2 else 2), 0)
            before = total // 2
            maps = functional.pad(maps, (before, total - before, before, total - before))
        return super().forward(maps)


class Lite(nn.Module):
    """(n, 3, side, side) RGB from -1 to 1 to pooled features (n, 1280) and logits (n, 1000)."""

    def __init__(self, variant: int, arrays: Arrays) -> None:
        super().__init__()
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
        self.classifier = nn.Linear(FEATURES, CLASSES)
        self.classifier.weight = nn.Parameter(pairs[-1][0], requires_grad=False)
        self.classifier.bias = nn.Parameter(pairs[-1][1], requires_grad=False)
        self.stem = _Convolution(*pairs[0], stride=2)
        self.head = _Convolution(*pairs[-2], stride=1)
        self.blocks = nn.ModuleList()
        rest = iter(pairs[1:-2])
        for stage, repeats in enumerate(_REPEATS[variant]):
            for repeat in range(repeats):
                stride = _STRIDES[stage] if repeat == 0 else 1
                # Blocks of the first stage do not widen before the depthwise convolution.
                strides = (stride, 1) if stage == 0 else (1, stride, 1)
                self.blocks.append(
                    nn.ModuleList(_Convolution(*next(rest), stride=s) for s in strides)
                )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits."""
        maps = functional.relu6(self.stem(pixels))
        for block in self.blocks:
            before = maps
            *widening, narrowing = block
            for convolution in widening:
                maps = functional.relu6(convolution(maps))
            maps = narrowing(maps)
            if maps.shape == before.shape:
                maps = maps + before
        features = functional.relu6(self.head(maps)).mean((2, 3), dtype=torch.float32)
        return features, self.classifier(features)


class Teachers(nn.Module):
    """Several networks as one teacher: their features side by side, their mean probabilities."""

    def __init__(self, networks: Sequence[Lite]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.features = FEATURES * len(networks)

    def compute_in(self, kind: torch.dtype) -> "Teachers":
        """Let the convolutions compute in `kind`; the classifiers, which cost little, do not."""
        self.to(kind, memory_format=torch.channels_last)
        for network in self.networks:
            network.classifier.float()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Return features and log probabilities, float16, of (n, height, width, 3) uint8 images.

        The images are enlarged to `side` pixels by linear interpolation.
        """
        pixels = images.permute(0, 3, 1, 2).float()
        if side != images.shape[1]:
            pixels = functional.interpolate(pixels, (side, side), mode="bilinear")
        kind = self.networks[0].stem.weight.dtype
        pixels = ((pixels - 127) / 128).to(kind, memory_format=torch.channels_last)
        features, logits = zip(*(network(pixels) for network in self.networks), strict=True)
        probabilities = torch.stack([f.float().softmax(1) for f in logits]).mean(0)
        # float16's smallest is 6e-8: below that all classes are as unlikely.
        return torch.cat(features, 1).half(), probabilities.clamp_min(1e-8).log().half()
