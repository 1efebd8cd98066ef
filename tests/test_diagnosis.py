from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import store_small

from thaw.config.fields import BACKBONE_LAYERS
from thaw.config.params import Params
from thaw.config.stages import DiagnoseConfig
from thaw.findings import diagnosis
from thaw.findings.cells import CellRow, nested
from thaw.findings.diagnosis import Cell
from thaw.findings.shifts import statistics_shift
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
    assert statistics_shift(model, IMAGES, 2) == {"bn": pytest.approx((1.5 + 3.5) / 2)}
    np.testing.assert_allclose(model.get_layer("bn").get_weights()[2], 1.0)  # as it was


def test_frozen_layers_shift_where_they_train_on_the_batch() -> None:
    model = network()
    freeze_first(model, 3)
    assert statistics_shift(model, IMAGES, 4) == {"bn": 0.0}
    shifts = statistics_shift(with_batch_statistics(model), IMAGES, 4)
    assert shifts == {"bn": pytest.approx(2.5)}


def test_the_fitted_momentum_by_hand() -> None:
    assert diagnosis.fitted_momentum(32) == 0.9
    assert diagnosis.fitted_momentum(1000) == 0.98
    assert pytest.approx(diagnosis.LEFT_AFTER_AN_EPOCH, abs=0.01) == 0.9**32


def test_the_cells() -> None:
    cells = list(diagnosis.cells([10, 0], steps=32))
    assert [(cell.freeze, cell.value_range, cell.statistics) for cell in cells] == [
        (freeze, value_range, statistics)
        for freeze, kinds in (
            (10, ("inference", "training")),
            (0, ("momentum 0.9", "momentum 0.99")),
        )
        for value_range in ("0-255", "0-1")
        for statistics in kinds
    ]


def test_the_rows_as_metrics() -> None:
    one = CellRow(175, "0-255", "inference", 0.9, 0.8, 0.5, 0.0)
    other = CellRow(0, "0-255", "momentum 0.9", 0.7, 0.6, 1.5, 0.1)
    kept = ("train_accuracy", "validation_accuracy", "validation_loss", "statistics_shift")
    assert nested([one, other]) == {
        "175": {"0-255": {"inference": {name: getattr(one, name) for name in kept}}},
        "0": {"0-255": {"momentum 0.9": {name: getattr(other, name) for name in kept}}},
    }


def test_a_head_on_a_frozen_base_learns_what_the_whole_network_learns(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the base normalises by the batch, so that no features can be kept."""
    weights.save(tmp_path / "data/weights", *sources.obtain("random", tmp_path, seed=0))
    store_small(tmp_path / "data/images", params)
    config = DiagnoseConfig.of(params)
    cell = Cell(BACKBONE_LAYERS, "0-255", "training", 0.99)
    split = diagnosis._sample(tmp_path, config)
    alone = diagnosis._fit_cell(tmp_path, config, *split, cell)
    alone.checkpoint.clear()
    monkeypatch.setattr(diagnosis, "BACKBONE_LAYERS", None)  # so that none is wholly frozen
    whole = diagnosis._fit_cell(tmp_path, config, *split, cell)
    for one, other in zip(alone.history.rows, whole.history.rows, strict=True):
        assert one == pytest.approx(other, rel=0.01)


def test_what_a_cell_gives(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """18 of ResNet50's 53 batch normalisations are among its first 60 layers."""
    weights.save(tmp_path / "data/weights", *sources.obtain("random", tmp_path, seed=0))
    store_small(tmp_path / "data/images", params)
    whole, some = Cell(175, "0-255", "inference", 0.99), Cell(60, "0-1", "inference", 0.99)
    monkeypatch.setattr(diagnosis, "cells", lambda frozen, steps: [whole, some])
    short = params.diagnose.model_copy(update={"epochs": 1})
    config = DiagnoseConfig.of(params.model_copy(update={"diagnose": short}))
    (of_whole, of_some), metrics = diagnosis.diagnose(tmp_path, config)
    assert set(of_whole.shifts.values()) == {0.0}
    shifts = list(of_some.shifts.values())
    assert [shift == 0 for shift in shifts] == [True] * 18 + [False] * 35
    row, last = of_some.row, of_some.history.rows[-1]
    assert row.statistics_shift == pytest.approx(np.mean(shifts))
    assert (row.train_accuracy, row.validation_accuracy) == (last["accuracy"], last["val_accuracy"])
    assert metrics["cells"] == nested([of_whole.row, row])
    assert metrics["0-255"]["input_deviation"] > 10 * metrics["0-1"]["input_deviation"] > 0
