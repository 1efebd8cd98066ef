import functools
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import yaml
from conftest import gray_images

from thaw.config.fields import BACKBONE_LAYERS
from thaw.config.params import BackboneTraining, Params, Training
from thaw.data.image_store import SMALL, open_images, write_images
from thaw.data.splits import SPLITS, make_splits
from thaw.network import sources, weights
from thaw.network.backbone import feature_model
from thaw.network.features import predict, write_features
from thaw.network.heads import build_head
from thaw.support.errors import ThawError
from thaw.support.runtime import configure
from thaw.support.tables import read_csv, read_json
from thaw.training import activation_cache, modes, optimizers


@pytest.fixture
def root(tmp_path: Path, params: Params) -> Path:
    """A project through its stage features, on a few made-up images."""
    configure(params.seed, params.threads)
    weights.save(tmp_path / "data/weights", *sources.obtain("random", tmp_path))
    splits = make_splits(gray_images(100), gray_images(100, seed=1), params.samples)
    write_images(tmp_path / "data/images/rgb32.h5", splits, SMALL)
    base, model = feature_model(SMALL, "0-255")
    weights.load(tmp_path / "data/weights", base)
    images = {name: open_images(tmp_path / "data/images", SMALL, name) for name in SPLITS}
    write_features(tmp_path / "data/features/features.h5", model, images, "keras")
    return tmp_path


def plain(training: Training) -> BackboneTraining:
    """The same run for the backbone: constant rate, no head start, no augmentation."""
    return BackboneTraining.model_validate(
        training.model_dump()
        | {"batch_norm_momentum": 0.9, "schedule": "constant", "warmup_epochs": 0}
        | {"layer_decay": 1.0}
        | {"head_warmup": {"epochs": 0, "learning_rate": 0.001}}
        | {"augment": {"flip": False, "shift": 0}}
    )


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
    """Same batches, and here the same dropout, the quick one, in both: histories, predictions and
    weights agree to rounding.
    """
    monkeypatch.setattr(modes, "build_head", functools.partial(build_head, quick=True))
    cached = modes.train_frozen(root, params)
    training = plain(params.train_frozen)
    whole = modes.fine_tune(root, params, "whole", training, freeze=BACKBONE_LAYERS)
    for one, other in zip(cached.history.rows, whole.history.rows, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    for name in SPLITS:
        one, other = cached.parts[name].probabilities, whole.parts[name].probabilities
        np.testing.assert_allclose(one, other, atol=1e-4)
    for a, b in zip(cached.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_batch_that_is_too_large_goes_through_in_parts(
    root: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 images are 3 batches of 16, and one of 12 that is left out where batches are split.

    Of the running statistics, a step leaves as much in either way.
    """
    training = plain(params.train_partial)
    for at_once, parts, steps in ((16 * SMALL**2, 1, 4), (8 * SMALL**2, 2, 3)):
        asked = params.model_copy(update={"microbatch_pixels": at_once})
        run = modes.fine_tune(root, asked, f"in-{parts}", training, freeze="conv4")
        said = capsys.readouterr().out
        assert ("batches of 16 images go through in 2 parts" in said) == (parts == 2)
        assert int(run.model.optimizer.iterations) == 2 * steps
        norm = run.model.get_layer("resnet50").get_layer("conv5_block3_3_bn")
        assert norm.momentum**parts == pytest.approx(training.batch_norm_momentum)
        assert run.history.epochs == 2


def test_float16_takes_no_batch_in_parts(root: Path, params: Params) -> None:
    half = params.model_copy(
        update={"precision": "mixed_float16", "microbatch_pixels": 8 * SMALL**2}
    )
    with pytest.raises(ThawError, match=r"16 images of 32 px need 2\. Received: .*8,192\. Allowed"):
        modes.fine_tune(root, half, "partial", plain(params.train_partial), "conv4")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(("freeze", "engine"), [(20, "keras"), ("conv4", "openvino")])
def test_a_cached_run_learns_what_the_uncached_one_learns(
    root: Path, params: Params, freeze: int | str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same losses and same steps, to rounding; frozen weights are as they were.

    By plain gradient descent: of a gradient near 0, Adam's first steps take but the sign, which is
    rounding's. On pretrained weights, since a random network blows rounding up. At a rate whose
    steps are several of float32's apart from the weights, else storing them rounds steps away. To
    1e-5 in the losses but 5e-2 in a layer's steps, for a ReLU whose input rounding takes across 0
    moves its whole channel's gradient; measured 1e-7 and, with and without AVX-512, 7e-3 at most.
    """
    monkeypatch.setattr(activation_cache, "WORTH", 0.0)
    monkeypatch.setattr(optimizers, "Adam", keras.optimizers.SGD)
    weights.save(root / "data/weights", *sources.obtain("bundled", root))
    before = weights.resnet50(SMALL, top=False)
    weights.load(root / "data/weights", before)
    start = layer_weights(before)
    training = plain(params.train_partial).model_copy(update={"learning_rate": 1e-3})
    cached, uncached = (
        modes.fine_tune(root, params, "partial", training, freeze, cache_gb=gb, engine=engine)
        for gb in (1.0, 0.0)
    )
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


def test_the_head_starts_on_the_features_and_the_backbone_waits(root: Path, params: Params) -> None:
    """With hardly any rate left for fine-tuning, the head alone has learnt the images."""
    training = plain(params.train_full).model_copy(update={"epochs": 1, "learning_rate": 1e-12})
    start = {"epochs": 60, "learning_rate": 0.003}
    started = training.model_copy(
        update={"head_warmup": training.head_warmup.model_validate(start)}
    )
    losses = [
        modes.fine_tune(root, params, "full", some, freeze=BACKBONE_LAYERS).history.rows[0]
        for some in (training, started)
    ]
    assert losses[1]["val_loss"] < 0.7 * losses[0]["val_loss"]


@pytest.mark.parametrize("precision", ["mixed_bfloat16"])
def test_a_run_in_mixed_precision(root: Path, params: Params, precision: str) -> None:
    """Weights stay float32, probabilities are, and no frozen output is cached."""
    mixed = params.model_copy(update={"precision": precision})
    try:
        trained = modes.fine_tune(
            root, mixed, "partial", params.train_partial, "conv4", cache_gb=1.0
        )
    finally:
        configure(params.seed, params.threads)
    assert {weight.dtype for weight in trained.model.weights} == {"float32"}
    assert trained.parts["test"].probabilities.dtype == np.float32
    assert trained.model.get_layer("resnet50").compute_dtype == "bfloat16"


@pytest.mark.parametrize("mode", ["frozen", "partial", "partial on batch statistics"])
def test_a_saved_classifier_answers_as_it_did(root: Path, params: Params, mode: str) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    name, _, batch = mode.partition(" on ")
    if name == "frozen":
        trained = modes.train_frozen(root, params)
    else:
        training, frozen_batch_norm = (
            plain(params.train_partial),
            "training" if batch else "inference",
        )
        trained = modes.fine_tune(root, params, name, training, "conv4", frozen_batch_norm)
    modes.write_results(root, name, [trained])
    with h5py.File(root / f"data/models/{name}.weights.h5") as file:
        assert "dropout" in str(list(file["layers/sequential/layers"]))  # Keras' own
        assert "quick" not in str(list(file["layers/sequential/layers"]))
    classifier = modes.load_classifier(name, root)
    test = open_images(root / "data/images", SMALL, "test")
    probabilities = classifier.predict(test.batch(np.arange(len(test))), verbose=0)
    np.testing.assert_allclose(probabilities, trained.parts["test"].probabilities, atol=1e-4)


def test_a_classifier_that_is_not_there_or_another_is_named(root: Path, params: Params) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    with pytest.raises(ThawError, match=r"full\.weights\.h5 is no model .*dvc repro train-full"):
        modes.load_classifier("full", root)
    trained = modes.train_frozen(root, params)
    modes.write_results(root, "frozen", [trained])
    head = params.head.model_copy(update={"units": (7,)})
    other = params.model_copy(update={"head": head}).model_dump(mode="json")
    (root / "params.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(ThawError, match=r"frozen\.weights\.h5 is no model"):
        modes.load_classifier("frozen", root)


def test_the_results_of_train_frozen(root: Path, params: Params) -> None:
    trained = modes.train_frozen(root, params)
    line = modes.write_results(root, "frozen", [trained])
    metrics = read_json(root / "metrics/frozen.json")
    assert f"test accuracy {metrics['test_accuracy']:.4f}" in line
    assert metrics["parameters"] == 23_851_274
    assert metrics["parameters_trainable"] == 2048 * 128 + 128 + 128 * 10 + 10
    assert metrics["parameters_non_trainable"] == 23_587_712
    assert metrics["layers_frozen"] == BACKBONE_LAYERS
    assert metrics["epochs"] == 2
    assert metrics["images_seen"] == 2 * 60
    assert metrics["weights"] == "random"
    assert {"train_image_6_label", "test_image_0_probability"} <= set(metrics)
    assert len(read_csv(root / "data/results/frozen/history.csv")) == 2
    predictions = read_csv(root / "data/results/frozen/predictions.csv")
    assert [int(row["image"]) for row in predictions] == list(range(20))
    right = sum(row["actual"] == row["predicted"] for row in predictions)
    assert right / 20 == metrics["test_accuracy"]
    assert not list((root / ".thaw/checkpoints/train-frozen-0").iterdir())
    # The saved model is the whole one: loaded anew, it says the same of the test images.
    before = predict(trained.model, open_images(root / "data/images", SMALL, "test"))
    for variable in trained.model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    trained.model.load_weights(root / "data/models/frozen.weights.h5")
    after = predict(trained.model, open_images(root / "data/images", SMALL, "test"))
    np.testing.assert_array_equal(before, after)


def test_several_seeds_add_their_spread(root: Path, params: Params) -> None:
    """The saved model and its metrics are the first seed's, as if it had been alone."""
    alone = modes.metrics_of(modes.train_frozen(root, params))
    train = functools.partial(modes.train_frozen, root)
    modes.write_results(root, "frozen", modes.each_seed(train, params, 2))
    metrics = read_json(root / "metrics/frozen.json")
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
