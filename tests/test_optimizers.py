from collections.abc import Iterator

import keras
import numpy as np
import pytest

from thaw.config.params import Params
from thaw.network.faster import Adam
from thaw.training.optimizers import build_optimizer, rate_schedule


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(4)]
    return keras.Sequential([keras.Input((8,)), *layers])


@pytest.fixture(params=["float32", "mixed_float16"])
def rounding(request: pytest.FixtureRequest) -> Iterator[float]:
    """What layers compute in, and how far apart its roundings may lead."""
    keras.config.set_dtype_policy(request.param)
    yield {"float32": 1e-5, "mixed_float16": 1e-3}[request.param]
    keras.config.set_dtype_policy("float32")


def test_adam_goes_where_keras_own_does(rounding: float) -> None:
    """Over 50 steps at a falling rate."""
    inputs = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    targets = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 50)
    ends = []
    for kind in (keras.optimizers.Adam, Adam):
        model = network()
        before = model.get_weights()
        model.compile(kind(schedule), "mean_squared_error")
        for _ in range(50):
            model.train_on_batch(inputs, targets)
        ends.append(model.get_weights())
    for a, b, start in zip(*ends, before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=rounding)
        assert abs(a - start).max() > 0.05


def test_adam_by_hand() -> None:
    """Two steps of a gradient of 2, then 1 (Kingma & Ba 2015, algorithm 1)."""
    weight = keras.Variable([5.0])
    adam = Adam(0.1)
    adam.build([weight])
    mean = variance = 0.0
    expected = 5.0
    for step, gradient in enumerate((2.0, 1.0), 1):
        mean, variance = 0.9 * mean + 0.1 * gradient, 0.999 * variance + 0.001 * gradient**2
        unbiased = mean / (1 - 0.9**step), variance / (1 - 0.999**step)
        expected -= 0.1 * unbiased[0] / (unbiased[1] ** 0.5 + 1e-7)
        adam.apply([keras.ops.convert_to_tensor([gradient])], [weight])
        assert float(weight[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_micro_batches_make_the_same_step(params: Params, layer_decay: float) -> None:
    """20 steps at a falling rate. Without batch normalisation, which sees a micro-batch alone."""
    inputs = np.random.default_rng(0).normal(size=(48, 8)).astype("float32")
    targets = np.random.default_rng(1).normal(size=(48, 4)).astype("float32")
    changes = {"schedule": "cosine", "learning_rate": 0.01, "layer_decay": layer_decay, "epochs": 4}
    training = params.train_full.model_copy(update=changes)
    ends = []
    for parts in (1, 3):
        model = network()
        start = model.get_weights()
        model.compile(build_optimizer(training, 5, parts), "mean_squared_error")
        for _ in range(20):
            for some in np.array_split(np.arange(48), parts):
                model.train_on_batch(inputs[some], targets[some])
        ends.append(model.get_weights())
    for one, other, before in zip(*ends, start, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert abs(one - before).max() > 0.01


@pytest.mark.parametrize(
    ("warmup", "step", "expected"),
    [
        *((1, 0, 0.0), (1, 5, 0.05), (1, 10, 0.1), (1, 25, 0.05), (1, 40, 0.0)),
        *((0, 0, 0.1), (0, 20, 0.05), (0, 40, 0.0)),
        (9, 40, 0.0),  # a warm-up longer than the run leaves its last epoch to fall in
    ],
)
def test_the_rate_by_hand(params: Params, warmup: int, step: int, expected: float) -> None:
    """10 steps an epoch, 4 epochs, at most 0.1."""
    changes = {"epochs": 4, "learning_rate": 0.1, "schedule": "cosine", "warmup_epochs": warmup}
    schedule = rate_schedule(params.train_full.model_copy(update=changes), 10)
    assert float(schedule(step)) == pytest.approx(expected, abs=1e-8)


def test_each_stage_learns_at_its_rate(params: Params) -> None:
    """Adam's first step is the rate itself, whatever the gradient."""
    changes = {"schedule": "constant", "learning_rate": 0.01, "layer_decay": 0.5}
    names = ("conv1_conv", "conv3_block1_1_conv", "conv5_block3_3_conv", "probabilities")
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, name=name) for name in names]
    model = keras.Sequential([keras.Input((4,)), *layers])
    adam = build_optimizer(params.train_full.model_copy(update=changes), 1)
    model.compile(adam, "mean_squared_error")
    before = [layer.get_weights()[0] for layer in layers]
    inputs = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    model.train_on_batch(inputs, inputs)
    steps = [
        abs(layer.get_weights()[0] - old).max() for layer, old in zip(layers, before, strict=True)
    ]
    assert steps == pytest.approx([0.01 / 32, 0.01 / 8, 0.01 / 2, 0.01], rel=1e-2)


def test_a_constant_rate(params: Params) -> None:
    training = params.train_full.model_copy(update={"schedule": "constant"})
    assert rate_schedule(training, 10) == training.learning_rate
