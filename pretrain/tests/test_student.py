"""The student is Keras' ResNet50: same answers, same weights, same gradients."""

from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from pretrain.layers import load_layers, save_layers
from pretrain.student import Convolution, ResNet50, keras_layers, preprocess
from thaw.network import bundled, weights
from thaw.network.backbone import image_model


@pytest.fixture(scope="module")
def network() -> ResNet50:
    """A network none of whose weights is 0 or 1, where mistakes would not show."""
    torch.manual_seed(0)
    network = ResNet50()
    for layer in network.layers.values():
        for parameter in layer.parameters():
            if parameter.ndim == 1:
                torch.nn.init.uniform_(parameter, 0.1, 0.6)
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("side", [32, 64, 96])
def test_keras_gives_the_same_features_from_the_same_images(network: ResNet50, side: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    with torch.no_grad():
        features, logits = network(preprocess(images, side))
    for top, expected in ((False, features), (True, torch.softmax(logits, 1))):
        model = weights.resnet50(side, top=top)
        weights.assign(model, keras_layers(network), Path("student"))
        received = image_model(model, side, "0-255").predict(images, verbose=0)
        np.testing.assert_allclose(received, expected.numpy(), rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (1, 2), (3, 1), (7, 2)])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 16])
def test_a_convolution_is_pytorchs_own(size: int, stride: int, side: int) -> None:
    torch.manual_seed(0)
    ours = Convolution(5, 6, size, stride, padding=size // 2)
    maps = torch.randn(2, 5, side, side, requires_grad=True)
    plain = torch.nn.functional.conv2d(maps, ours.weight, ours.bias, stride, size // 2)
    for result in (ours(maps), plain):
        result.square().sum().backward()
        gradients = [maps.grad, ours.weight.grad, ours.bias.grad]
        if result is not plain:
            first = [gradient.clone() for gradient in gradients]
            maps.grad = ours.weight.grad = ours.bias.grad = None
    torch.testing.assert_close(ours(maps), plain)
    for one, other in zip(first, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_images_are_averaged_and_preprocessed_as_keras_does() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    small = images.reshape(2, 32, 2, 32, 2, 3).mean((2, 4))
    expected = keras.applications.resnet.preprocess_input(small.copy())
    received = preprocess(images, 32).permute(0, 2, 3, 1)
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-3)


def test_layers_come_back_from_their_file(network: ResNet50, tmp_path: Path) -> None:
    layers = keras_layers(network)
    save_layers(tmp_path / "student.npz", layers)
    loaded = load_layers(tmp_path / "student.npz")
    assert list(loaded) == list(layers)
    for name, arrays in layers.items():
        for one, other in zip(arrays, loaded[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_packing_keeps_every_kernel_to_half_a_step(network: ResNet50, tmp_path: Path) -> None:
    layers = keras_layers(network)
    bundled.pack(tmp_path, layers)
    for name, arrays in bundled.read(tmp_path).items():
        for packed, array in zip(arrays, layers[name], strict=True):
            step = np.abs(array).max(axis=tuple(range(array.ndim - 1))) / bundled.LARGEST
            limit = 0 if array.ndim == 1 else 0.501 * step
            assert (np.abs(packed - array) <= limit).all(), name
