import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from thaw.config.fields import ENGINES
from thaw.network import backbone, inference

CONNECTIONS: list[Any] = []


def note_connections(event: str, arguments: Any) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        CONNECTIONS.append(arguments)


sys.addaudithook(note_connections)  # for the life of the process: Python takes none away


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return backbone.feature_model(32, "0-255")[1]


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_openvino_agrees_with_keras(model: keras.Model) -> None:
    """In every image to a thousandth, whatever the batch: 64 and 64, 64 and 6."""
    images = pixels(198)
    expected = model.predict(images, verbose=0)
    network = inference.ready(model, "openvino")
    steps = range(0, len(images), network.batch_size)
    received = [network.run(images[i : i + network.batch_size])[0] for i in steps]
    assert [len(batch) for batch in received] == [128, 70]
    features = np.concatenate(received)
    assert features.dtype == np.float32
    distance = np.linalg.norm(features - expected, axis=1)
    assert (distance <= 1e-3 * np.linalg.norm(expected, axis=1)).all()


def test_openvino_gives_the_same_bytes_again_and_connects_to_nothing(model: keras.Model) -> None:
    CONNECTIONS.clear()
    images = pixels(10)
    one, other = (inference.ready(model, "openvino").run(images)[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert not CONNECTIONS, "its package brings telemetry along; what thaw calls does not use it"


def test_streams_change_no_bit(model: keras.Model) -> None:
    """Nor does an image's place: the last of 9 is alone with padding, or one of 9."""
    images = pixels(9)
    (whole,) = inference.openvino(model, 16, 1)(images)
    run = inference.openvino(model, 4, 2)
    parts = [run(images[:8])[0], run(images[8:])[0]]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    with pytest.raises(ValueError, match="longer"):  # than two batches of 4
        run(images)


@pytest.mark.parametrize("engine", ENGINES)
def test_several_outputs_keep_their_order(model: keras.Model, engine: str) -> None:
    base = model.get_layer("resnet50")
    prefix, _ = backbone.split_at(base, 20)
    whole = backbone.image_model(prefix, 32, "0-255")
    images = pixels(3)
    outputs = inference.ready(whole, engine).run(images)
    expected = whole.predict(images, verbose=0)
    assert len(outputs) == len(expected) == 2
    for one, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "engine", "count"),
    [
        (32, "keras", 256),
        (224, "keras", 16),
        (32, "openvino", 64),
        (48, "openvino", 28),
        (224, "openvino", 2),
    ],
)
def test_batch_sizes(size: int, engine: str, count: int) -> None:
    assert inference.batch_size(size, engine) == count


def small(size: int) -> keras.Model:
    images = keras.Input((size, size, 3), dtype="uint8")
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.Dense(3)(means))


def test_tensorflow_warns_of_no_tracing(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the size and the number of images: a last batch is odd, a stage has many models."""
    tf.get_logger().addHandler(caplog.handler)
    try:
        for size in (32, 33, 48, 64, 65, 224):
            network = inference.ready(small(size), "keras")
            for count in (16, 16, 7, 1, 3):
                network.run(np.zeros((count, size, size, 3), np.uint8))
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_tracing_once_changes_no_bit(model: keras.Model) -> None:
    network = inference.ready(model, "keras")
    for count in (16, 7, 1):
        images = pixels(count)
        np.testing.assert_array_equal(network.run(images)[0], model.predict_on_batch(images))
