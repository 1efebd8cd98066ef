import re
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import store_small

from thaw.config.params import Params
from thaw.data.image_store import SMALL, open_images
from thaw.network import backbone, weights
from thaw.training.activation_cache import cached, expected_gain, plan_cache
from thaw.training.costs import macs


@pytest.fixture(scope="module")
def base() -> keras.Model:
    keras.utils.set_random_seed(0)
    return weights.resnet50(SMALL, top=False)


def test_macs_by_hand(base: keras.Model) -> None:
    assert macs(base.get_layer("conv1_conv")) == 16 * 16 * 7 * 7 * 3 * 64
    assert macs(base.get_layer("conv5_block1_0_conv")) == 1 * 1024 * 2048
    assert macs(base.get_layer("conv2_block1_out")) == 0


def test_multiplications_of_the_whole_are_resnet50s() -> None:
    """3.8 billion at 224 px: He et al. 2015, table 1."""
    network = weights.resnet50(224, top=False)
    assert sum(map(macs, network.layers)) == pytest.approx(3.8e9, rel=0.02)


@pytest.mark.parametrize(("freeze", "gain"), [("conv2", 1.09), ("conv3", 1.27), ("conv4", 2.42)])
def test_the_gain_of_many_epochs(base: keras.Model, freeze: str, gain: float) -> None:
    frozen = backbone.freeze_count(base, freeze)
    assert expected_gain(base, frozen, 100_000) == pytest.approx(gain, abs=0.005)
    assert expected_gain(base, frozen, 1) == pytest.approx(1)


def test_with_everything_frozen_the_gain_is_the_epochs(base: keras.Model) -> None:
    assert expected_gain(base, 175, 20) == pytest.approx(20)


@pytest.mark.parametrize(
    ("freeze", "images", "epochs", "frozen_batch_norm", "max_gb", "cache", "reason"),
    [
        ("conv4", 60_000, 10, "inference", 1.0, True, "expected gain 2.12x, 0.98 GB"),
        ("conv4", 60_000, 10, "inference", 0.9, False, "over cache.max_gb, 0.9"),
        ("conv4", 60_000, 10, "inference", 0.0, False, "over cache.max_gb, 0"),
        ("conv4", 60_000, 1, "inference", 4.0, False, "gain 1.00x.* worth it from 1.15x"),
        ("conv4", 60_000, 10, "training", 4.0, False, "batch statistics"),
        ("conv2", 60_000, 10, "inference", 9.0, False, "worth it from 1.15x"),
        (0, 60_000, 10, "inference", 9.0, False, "gain 1.00x"),
    ],
)
def test_the_rule(
    base: keras.Model,
    freeze: int | str,
    images: int,
    epochs: int,
    frozen_batch_norm: str,
    max_gb: float,
    cache: bool,
    reason: str,
    params: Params,
) -> None:
    frozen = backbone.freeze_count(base, freeze)
    training = params.train_partial.model_copy(update={"epochs": epochs})
    plan = plan_cache(base, frozen, images, training, frozen_batch_norm, max_gb)
    assert plan.cache == cache
    assert re.search(reason, plan.reason)


def test_augmented_images_are_not_cached(base: keras.Model, params: Params) -> None:
    for change in ({"flip": True}, {"shift": 1}):
        augment = params.train_partial.augment.model_copy(update=change)
        training = params.train_partial.model_copy(update={"augment": augment, "epochs": 50})
        plan = plan_cache(base, 143, 1000, training, "inference", 4.0)
        assert str(plan).startswith("not cached, images are augmented")


@pytest.fixture
def project(tmp_path: Path, params: Params) -> Path:
    store_small(tmp_path / "data/images", params)
    return tmp_path


@pytest.mark.parametrize("count", [20, 60])
def test_the_cut_is_read_in_any_order(base: keras.Model, project: Path, count: int) -> None:
    """Prefix, disk and suffix give what the whole backbone gives; 20 cuts inside a block."""
    images = open_images(project / "data/images", SMALL, "train")
    prefix, suffix = backbone.split_at(base, count)
    which = np.array([7, 3, 50])
    load_batch = cached(project, prefix, SMALL, "0-255", {"train": images}, "keras")
    outputs = load_batch["train"](which)
    assert len(outputs) == (2 if count == 20 else 1)
    whole = backbone.image_model(base, SMALL, "0-255")
    expected = whole.predict(images.batch(which), verbose=0)
    np.testing.assert_allclose(suffix.predict(outputs, verbose=0), expected, rtol=1e-4, atol=1e-5)


def test_a_killed_run_leaves_nothing_on_the_disk(base: keras.Model, project: Path) -> None:
    prefix, _ = backbone.split_at(base, 60)
    images = open_images(project / "data/images", SMALL, "test")
    load_batch = cached(project, prefix, SMALL, "0-255", {"test": images}, "keras")
    assert not list((project / ".thaw").iterdir()), "while it runs, too"
    assert load_batch["test"](np.array([0]))[0].any()
