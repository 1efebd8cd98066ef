from pathlib import Path

import numpy as np
import pytest
from conftest import gray_images

from thaw import modes, weights
from thaw.backbone import feature_model
from thaw.features import predict, write_features
from thaw.files import read_csv, read_json
from thaw.images import PARTS, SMALL, open_images, split, write_images
from thaw.params import BACKBONE_LAYERS, BackboneTraining, Params
from thaw.runtime import configure


@pytest.fixture
def root(tmp_path: Path, params: Params) -> Path:
    """A project through its stage features, on a few made-up images."""
    configure(params.seed, params.threads)
    weights.save(tmp_path / "data/weights", *weights.obtain("random", tmp_path))
    parts = split(gray_images(100), gray_images(100, seed=1), params)
    write_images(tmp_path / "data/images/rgb32.h5", parts, SMALL)
    base, model = feature_model(SMALL, "byte")
    weights.load(tmp_path / "data/weights", base)
    images = {part: open_images(tmp_path / "data/images", SMALL, part) for part in PARTS}
    write_features(tmp_path / "data/features/features.h5", model, images)
    return tmp_path


def test_train_frozen_gives_what_the_end_to_end_frozen_model_gives(
    root: Path, params: Params
) -> None:
    """Same batches, same dropout: histories, predictions and weights agree to rounding."""
    cached = modes.train_frozen(root, params)
    settings = params.train_frozen.model_dump() | {"batch_norm_momentum": 0.9}
    training = BackboneTraining.model_validate(settings)
    whole = modes.fine_tune(root, params, "whole", training, freeze=BACKBONE_LAYERS)
    for one, other in zip(cached.history.rows, whole.history.rows, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    for part in PARTS:
        one, other = cached.parts[part].probabilities, whole.parts[part].probabilities
        np.testing.assert_allclose(one, other, atol=1e-4)
    for a, b in zip(cached.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_the_results_of_train_frozen(root: Path, params: Params) -> None:
    trained = modes.train_frozen(root, params)
    line = modes.write_results(root, "frozen", trained)
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
    assert len(read_csv(root / "data/results/frozen/confusion.csv")) == 20
    assert not list((root / ".thaw/checkpoints/train-frozen").iterdir())
    # The saved model is the whole one: loaded anew, it says the same of the test images.
    before = predict(trained.model, open_images(root / "data/images", SMALL, "test"))
    for variable in trained.model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    trained.model.load_weights(root / "data/models/frozen.weights.h5")
    after = predict(trained.model, open_images(root / "data/images", SMALL, "test"))
    np.testing.assert_array_equal(before, after)
