from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import gray_images

from thaw.config.params import Params
from thaw.data.image_store import SMALL, write_images
from thaw.data.splits import make_splits
from thaw.findings import diagnosis
from thaw.findings.diagnosis import Cell
from thaw.network import sources, weights
from thaw.network.backbone import freeze_first, with_batch_statistics


def network() -> keras.Model:
    """One batch normalisation, of stored mean 1 and variance 3.999."""
    inputs = keras.Input((2, 2, 1))
    positive = keras.layers.ReLU()(inputs)
    model = keras.Model(inputs, keras.layers.BatchNormalization(name="bn")(positive))
    model.get_layer("bn").set_weights([np.ones(1), np.zeros(1), np.ones(1), np.full(1, 3.999)])
    return model


IMAGES = np.stack([np.full((2, 2, 1), value, np.float32) for value in (3, 5, 7, 9)])


def test_the_shift_by_hand() -> None:
    """Batches of two have the means 4 and 8: 3/2 and 7/2 deviations from the stored mean."""
    model = network()
    model.get_layer("bn").trainable = True
    assert diagnosis.statistics_shift(model, IMAGES, 2) == {"bn": pytest.approx((1.5 + 3.5) / 2)}
    np.testing.assert_allclose(model.get_layer("bn").get_weights()[2], 1.0)  # as it was


def test_frozen_layers_shift_where_they_train_on_the_batch() -> None:
    model = network()
    freeze_first(model, 3)
    assert diagnosis.statistics_shift(model, IMAGES, 4) == {"bn": 0.0}
    shifts = diagnosis.statistics_shift(with_batch_statistics(model), IMAGES, 4)
    assert shifts == {"bn": pytest.approx(2.5)}


def test_the_fitted_momentum_by_hand() -> None:
    assert diagnosis.fitted_momentum(32) == 0.9
    assert diagnosis.fitted_momentum(1000) == 0.98
    assert pytest.approx(diagnosis.LEFT_AFTER_AN_EPOCH, abs=0.01) == 0.9**32


def asked(params: Params, *freeze: int) -> Params:
    return params.model_copy(
        update={"diagnose": params.diagnose.model_copy(update={"freeze": freeze, "epochs": 1})}
    )


def test_the_cells(params: Params) -> None:
    keys = [cell.key for cell in diagnosis.cells(asked(params, 10, 0))]
    ranges = ("0-255", "0-1")
    fitted = f"{diagnosis.fitted_momentum(1):g}".replace(".", "")
    assert keys == [
        *(f"freeze_10_{r}_{b}" for r in ranges for b in ("inference", "training")),
        *(f"freeze_0_{r}_momentum_{m}" for r in ranges for m in (fitted, "099")),
    ]


def test_what_a_cell_gives(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """18 of ResNet50's 53 batch normalisations are among its first 60 layers."""
    weights.save(tmp_path / "data/weights", *sources.obtain("random", tmp_path, seed=0))
    splits = make_splits(gray_images(100), gray_images(100, seed=1), params.samples)
    write_images(tmp_path / "data/images/rgb32.h5", splits, SMALL)
    whole, some = Cell(175, "0-255", "inference", 0.99), Cell(60, "0-1", "inference", 0.99)
    monkeypatch.setattr(diagnosis, "cells", lambda params: [whole, some])
    outcomes, metrics = diagnosis.diagnose(tmp_path, asked(params, 175))
    assert set(outcomes[whole].shifts.values()) == {0.0}
    shifts = list(outcomes[some].shifts.values())
    assert [shift == 0 for shift in shifts] == [True] * 18 + [False] * 35
    assert metrics["freeze_60_unit_stored_statistics_shift"] == pytest.approx(np.mean(shifts))
    last = outcomes[some].history.rows[-1]
    assert metrics["freeze_60_unit_stored_validation_accuracy"] == last["val_accuracy"]
