import re
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from thaw.config.fields import ENGINES
from thaw.network import backbone, inference
from thaw.support.errors import ThawError
from thaw.support.runtime import set_up

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


@pytest.fixture
def has_bfloat16() -> bool:
    return "BF16" in inference._processor_precisions()


def close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether each image's features lie within 1 % of their length of one another, and differ."""
    distance = np.linalg.norm(one - other, axis=1) / np.linalg.norm(other, axis=1)
    return bool((distance < 0.01).all() and distance.any())


def test_keras_computes_in_bfloat16(
    model: keras.Model, has_bfloat16: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same weights, which stay as they are; a processor that is slow at it is named."""
    before, images = model.get_weights(), pixels(20)
    (exact,) = inference.ready(model, "keras").run(images)
    (rounded,) = inference.ready(model, "keras", "bfloat16").run(images)
    assert rounded.dtype == np.float32
    assert close(rounded, exact)
    assert ("slowly" in capsys.readouterr().err) != has_bfloat16
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_openvino_computes_in_bfloat16_or_says_that_it_cannot(
    model: keras.Model, has_bfloat16: bool
) -> None:
    """It would compute in float32 without a word on a processor without instructions for it."""
    images = pixels(20)
    if has_bfloat16:
        (exact,) = inference.ready(model, "openvino").run(images)
        assert close(inference.ready(model, "openvino", "bfloat16").run(images)[0], exact)
    else:
        with pytest.raises(ThawError, match=r"Allowed here: .*=float32.*Received: .*bfloat16"):
            inference.ready(model, "openvino", "bfloat16")


HELD = """
import os
from thaw.support.runtime import set_up
set_up(2, {instruction_set!r})
os.environ["ONEDNN_VERBOSE"] = "1"
import tensorflow as tf
from thaw.network.inference import _processor_precisions
tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
print(_processor_precisions())
"""


def instructions(instruction_set: str) -> tuple[str, bool]:
    """Return what TensorFlow's oneDNN says that it uses, and whether OpenVINO sees bfloat16."""
    script = HELD.format(instruction_set=instruction_set)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    (isa,) = re.findall("info,cpu,isa:(.*)", ended.stdout)
    return isa, "BF16" in ended.stdout.splitlines()[-1]


def test_both_engines_are_held_to_avx2(has_bfloat16: bool) -> None:
    """On a processor that has more, they use more otherwise."""
    assert instructions("native")[1] == has_bfloat16
    assert instructions("avx2") == ("Intel AVX2", False)


def test_another_family_of_processors_has_no_avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(ThawError, match=r"=native. Received: avx2 on arm64"):
        set_up(2, "avx2")
