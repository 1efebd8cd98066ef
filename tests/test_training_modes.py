"""The three modes on a few made-up images: what they learn, what they write, what comes back."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from conftest import store_small

from thaw import __version__
from thaw.config.fields import BACKBONE_LAYERS
from thaw.config.params import Params
from thaw.config.stages import TrainFrozenConfig, TrainFullConfig, TrainPartialConfig
from thaw.data.dataset import read_dataset
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import SMALL, open_images
from thaw.findings.classifier_results import classifier_metrics, write_results
from thaw.network import faster, sources, weights
from thaw.network.backbone import feature_model
from thaw.network.classifier import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    load_classifier,
)
from thaw.network.features import write_features
from thaw.network.heads import build_head
from thaw.network.inference import predict
from thaw.support.errors import ThawError
from thaw.support.runtime import set_up
from thaw.support.tables import read_csv, read_json
from thaw.training import activation_cache
from thaw.training import fine_tune as fine_tuning
from thaw.training.fine_tune import fine_tune
from thaw.training.frozen import train_frozen
from thaw.training.result import TrainingResult, each_seed


@pytest.fixture
def root(tmp_path: Path, params: Params) -> Path:
    """A project through its stage features, on a few made-up images."""
    set_up(params.threads)
    weights.save(tmp_path / "data/weights", *sources.obtain("random", tmp_path, seed=0))
    dataset = store_small(tmp_path / "data/images", params)
    base, model = feature_model(SMALL, "0-255")
    weights.load(tmp_path / "data/weights", base)
    images = {part: open_images(tmp_path / "data/images", SMALL, part) for part in dataset.splits}
    write_features(tmp_path / "data/features/features.h5", model, images, "keras")
    return tmp_path


@pytest.fixture
def frozen(params: Params) -> TrainFrozenConfig:
    return TrainFrozenConfig.of(params)


def partial(params: Params, training: dict[str, Any] | None = None, **changes: Any) -> Any:
    """Return train-partial's config for a plain run: constant rate, no cache, no augmentation."""
    plain = {"batch_norm_momentum": 0.9, "schedule": "constant", "warmup_epochs": 0}
    plain |= {
        "layer_decay": 1.0,
        "augment": {"flip": False, "shift": 0, "zoom": 0.0, "brightness": 0.0},
    }
    plain |= {"head_warmup": {"epochs": 0, "learning_rate": 0.001}}
    fitted = params.train_partial.model_dump() | plain | (training or {})
    entries = {"train_partial": fitted, "cache": {"max_gb": 0.0}, "engine": "keras"} | changes
    return TrainPartialConfig.of(Params.model_validate(params.model_dump() | entries))


def layer_weights(network: keras.Model) -> dict[str, np.ndarray]:
    """Every layer's weights in one row."""
    return {
        layer.name: np.concatenate([weight.ravel() for weight in layer.get_weights()])
        for layer in network.layers
        if layer.weights
    }


def test_train_frozen_gives_what_the_end_to_end_frozen_model_gives(
    root: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same batches, and here the same dropout, the faster one, in both: histories, predictions and
    weights agree to rounding. By plain gradient descent: Adam's first steps take only the sign of a
    gradient, and near 0 that is rounding's, another on every processor.
    """
    monkeypatch.setattr(fine_tuning, "build_head", functools.partial(build_head, fast=True))
    monkeypatch.setattr(faster, "Adam", keras.optimizers.SGD)
    config = partial(params, params.train_frozen.model_dump(), freeze=BACKBONE_LAYERS)
    cached, whole = train_frozen(root, TrainFrozenConfig.of(params)), fine_tune(root, config)
    for one, other in zip(cached.history.rows, whole.history.rows, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    for name in read_dataset(root / "data/images").splits:
        np.testing.assert_allclose(
            cached.predictions[name].probabilities,
            whole.predictions[name].probabilities,
            atol=1e-4,
        )
    for a, b in zip(cached.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_batch_that_is_too_large_goes_through_in_micro_batches(
    root: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 images are 3 batches of 16, and one of 12 that is left out where gradients accumulate.

    A step leaves as much of the running statistics either way.
    """
    for limit, micro_batches, steps in ((16 * SMALL**2, 1, 4), (8 * SMALL**2, 2, 3)):
        config = partial(params, freeze="conv4", microbatch_pixels=limit)
        result = fine_tune(root, config)
        said = capsys.readouterr().out
        assert ("batches of 16 images go through in 2 micro-batches" in said) == (
            micro_batches == 2
        )
        assert int(result.model.optimizer.iterations) == 2 * steps
        norm = result.model.get_layer("resnet50").get_layer("conv5_block3_3_bn")
        momentum = config.train_partial.batch_norm_momentum
        assert norm.momentum**micro_batches == pytest.approx(momentum)
        assert result.history.epochs == 2


def test_float16_takes_no_batch_in_micro_batches(root: Path, params: Params) -> None:
    limited = {"precision": "mixed_float16", "microbatch_pixels": 8 * SMALL**2, "freeze": "conv4"}
    with pytest.raises(ThawError, match=r"16 images of 32 px need 2\. Received: .*8,192\. Allowed"):
        fine_tune(root, partial(params, **limited))


@pytest.mark.parametrize(("freeze", "engine"), [(20, "keras"), ("conv4", "openvino")])
def test_a_cached_run_learns_what_the_uncached_one_learns(
    root: Path,
    params: Params,
    freeze: int | str,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Same losses and same steps, to rounding; frozen weights are as they were.

    By plain gradient descent, see above. On pretrained weights, since a random network blows
    rounding up. At a rate whose steps are several of float32's apart from the weights, else storing
    them rounds steps away. To 1e-5 in the losses but 5e-2 in a layer's steps, for a ReLU whose
    input rounding takes across 0 moves its whole channel's gradient; measured 1e-7 and, with and
    without AVX-512, 7e-3 at most.
    """
    monkeypatch.setattr(activation_cache, "WORTH", 0.0)
    monkeypatch.setattr(faster, "Adam", keras.optimizers.SGD)
    weights.save(root / "data/weights", *sources.obtain("bundled", root, seed=0))
    before = weights.resnet50(SMALL, top=False)
    weights.load(root / "data/weights", before)
    start = layer_weights(before)
    cached, uncached = (
        fine_tune(
            root,
            partial(
                params,
                {"learning_rate": 1e-3},
                freeze=freeze,
                engine=engine,
                cache={"max_gb": gb},
            ),
        )
        for gb in (1.0, 0.0)
    )
    assert capsys.readouterr().out.count("frozen layers' output: ") == 2
    for one, other in zip(cached.history.rows, uncached.history.rows, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    ends = [layer_weights(run.model.get_layer("resnet50")) for run in (cached, uncached)]
    for layer in before.layers[: cached.layers_frozen]:
        if layer.weights:
            np.testing.assert_array_equal(ends[0][layer.name], start[layer.name])
    for layer in before.layers[cached.layers_frozen :]:
        if layer.weights:
            one, other = (end[layer.name] - start[layer.name] for end in ends)
            assert np.linalg.norm(one - other) <= 5e-2 * np.linalg.norm(other), layer.name


def test_the_head_warms_up_on_the_features_while_the_backbone_waits(
    root: Path, params: Params
) -> None:
    """With hardly any rate left for fine-tuning, the head alone has learnt the images."""
    hardly = {"epochs": 1, "learning_rate": 1e-12}
    warmups = ({"epochs": 0, "learning_rate": 0.003}, {"epochs": 60, "learning_rate": 0.003})
    cold, warm = (
        fine_tune(root, partial(params, hardly | {"head_warmup": warmup}, freeze=BACKBONE_LAYERS))
        for warmup in warmups
    )
    assert warm.history.rows[0]["val_loss"] < 0.7 * cold.history.rows[0]["val_loss"]
    assert (cold.head_warmup_epochs, warm.head_warmup_epochs) == (0, 60)


@pytest.mark.parametrize("precision", ["mixed_bfloat16"])
def test_a_run_in_mixed_precision(root: Path, params: Params, precision: str) -> None:
    """Weights stay float32, probabilities are, and no frozen output is cached."""
    set_up(params.threads, precision=precision)
    try:
        result = fine_tune(
            root, partial(params, precision=precision, freeze="conv4", cache={"max_gb": 1.0})
        )
    finally:
        set_up(params.threads)
    assert {weight.dtype for weight in result.model.weights} == {"float32"}
    assert result.predictions["test"].probabilities.dtype == np.float32
    assert result.model.get_layer("resnet50").compute_dtype == "bfloat16"


def test_what_is_built_does_not_hang_on_what_was_drawn_before(root: Path, params: Params) -> None:
    """Initial weights have seeds of their own, so every mode starts from one head."""
    heads = []
    for draws in (0, 7):
        for _ in range(draws):
            keras.random.uniform((3,))
        result = fine_tune(root, partial(params, {"epochs": 1, "learning_rate": 1e-12}, freeze=175))
        result.checkpoint.clear()
        heads.append(result.model.get_layer("head").get_weights())
    for one, other in zip(*heads, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", ["frozen", "partial", "partial on batch statistics"])
def test_a_saved_classifier_answers_as_it_did(root: Path, params: Params, mode: str) -> None:
    name, _, batch = mode.partition(" on ")
    result: TrainingResult
    if name == "frozen":
        config = TrainFrozenConfig.of(params)
        result = train_frozen(root, config)
    else:
        statistics = "training" if batch else "inference"
        config = partial(params, freeze="conv4", frozen_batch_norm=statistics)
        result = fine_tune(root, config)
    write_results(root, name, config, [result])
    folder = root / "data/models" / name
    with h5py.File(folder / WEIGHTS_FILE) as file:
        layers = str(list(file["layers/sequential/layers"]))
        assert "dropout" in layers, "Keras' own"
    # params.yaml is not there at all: a model knows its input by itself.
    assert not (root / "params.yaml").exists()
    classifier = load_classifier(folder)
    assert not any(isinstance(layer, faster.Dropout) for layer in classifier.layers[-1].layers)
    test = open_images(root / "data/images", SMALL, "test")
    probabilities = classifier.predict(test.batch(np.arange(len(test))), verbose=0)
    expected = result.predictions["test"].probabilities
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def test_a_model_keeps_the_value_range_that_it_was_trained_on(root: Path, params: Params) -> None:
    """Before, `value_range` set in params.yaml after training changed what a model answered."""
    mistaken = TrainFrozenConfig.of(params.model_copy(update={"value_range": "0-1"}))
    write_results(root, "frozen", mistaken, [train_frozen(root, mistaken)])
    described = json.loads((root / "data/models/frozen" / DESCRIPTION_FILE).read_text())
    assert described == {
        "thaw_version": __version__,
        "image_size": SMALL,
        "value_range": "0-1",
        "head": params.head.model_dump(mode="json"),
        "dataset": "Fashion-MNIST",
        "gray": True,
        "classes": list(CLASS_NAMES),
        "weights": "random",
    }
    pixels = open_images(root / "data/images", SMALL, "test").batch(np.arange(4))
    classifier = load_classifier(root / "data/models/frozen")
    answers = classifier.predict(pixels, verbose=0)
    for value_range in ("0-1", "0-255"):
        base, extractor = feature_model(SMALL, value_range)
        weights.load(root / "data/weights", base)
        pooled = extractor.predict(pixels, verbose=0)
        expected = classifier.get_layer("head").predict(pooled, verbose=0)
        assert np.allclose(answers, expected, atol=1e-4) == (value_range == "0-1")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (WEIGHTS_FILE, None, r"model\.weights\.h5: .*No such file"),
        (WEIGHTS_FILE, b"no HDF5", r"model\.weights\.h5: "),
        (DESCRIPTION_FILE, None, r"model\.json: .*No such file"),
        (DESCRIPTION_FILE, b"{", r"model\.json: .*Invalid JSON"),
        (DESCRIPTION_FILE, b'{"image_size": 32}', r"model\.json: .*value_range"),
    ],
)
def test_a_folder_without_a_whole_classifier_is_named(
    whole_classifier: Path, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    shutil.copytree(whole_classifier, tmp_path / "frozen")
    path = tmp_path / "frozen" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ThawError, match=r"(?s)frozen must hold a classifier .*" + said):
        load_classifier(tmp_path / "frozen")


def test_the_results_of_train_frozen(root: Path, frozen: TrainFrozenConfig) -> None:
    result = train_frozen(root, frozen)
    line = write_results(root, "frozen", frozen, [result])
    metrics = read_json(root / "data/results/frozen/summary.json")
    assert f"test accuracy {metrics['test_accuracy']:.4f}" in line
    assert metrics["parameters"] == 23_851_274
    assert metrics["parameters_trainable"] == 2048 * 128 + 128 + 128 * 10 + 10
    assert metrics["parameters_non_trainable"] == 23_587_712
    assert (metrics["layers_frozen"], metrics["frozen_through"]) == (BACKBONE_LAYERS, "conv5")
    assert metrics["epochs"] == 2
    assert metrics["images_seen"] == 2 * 60
    assert metrics["weights"] == "random"
    assert {"train_image_6_label", "test_image_0_probability"} <= set(metrics)
    compared = read_json(root / "metrics/frozen.json")
    assert (list(compared), compared["frozen"]["acc"]) == (["frozen"], metrics["test_accuracy"])
    assert len(read_csv(root / "data/results/frozen/history.csv")) == 2
    predictions = read_csv(root / "data/results/frozen/predictions.csv")
    assert [int(row["image"]) for row in predictions] == list(range(20))
    right = sum(row["actual"] == row["predicted"] for row in predictions)
    assert right / 20 == metrics["test_accuracy"]
    assert not list((root / ".thaw/checkpoints/train-frozen-0").iterdir())
    # The saved model is the whole one: loaded anew, it says the same of the test images.
    before = predict(result.model, open_images(root / "data/images", SMALL, "test"))
    for variable in result.model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    result.model.load_weights(root / "data/models/frozen" / WEIGHTS_FILE)
    after = predict(result.model, open_images(root / "data/images", SMALL, "test"))
    np.testing.assert_array_equal(before, after)


def test_train_full_thaws_everything(
    root: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainFullConfig.of(params)
    metrics = classifier_metrics(fine_tune(root, config), read_dataset(root / "data/images"))
    assert "frozen" not in capsys.readouterr().out, "nothing is"
    assert metrics["parameters_trainable"] == 23_798_154
    assert metrics["parameters_non_trainable"] == 53_120
    assert (metrics["layers_frozen"], metrics["frozen_through"]) == (0, "none")


def test_several_seeds_add_their_spread(root: Path, frozen: TrainFrozenConfig) -> None:
    """The saved model and its metrics are the first seed's, as if it had been alone."""
    alone = classifier_metrics(train_frozen(root, frozen), read_dataset(root / "data/images"))
    train = functools.partial(train_frozen, root)
    write_results(root, "frozen", frozen, each_seed(train, frozen, 2))
    metrics = read_json(root / "data/results/frozen/summary.json")
    rows = read_csv(root / "data/results/frozen/predictions.csv")
    right = {
        seed: np.mean([row["actual"] == row["predicted"] for row in rows if row["seed"] == seed])
        for seed in ("0", "1")
    }
    assert len(rows) == 2 * 20
    assert metrics["seeds"] == 2
    assert metrics["test_accuracy"] == right["0"] == alone["test_accuracy"]
    assert metrics["test_accuracy_mean"] == pytest.approx(np.mean([*right.values()]), abs=1e-4)
    assert not list((root / ".thaw/checkpoints").glob("*/*"))
