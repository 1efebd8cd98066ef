import keras
import numpy as np
import pytest

from thaw.config.params import Head
from thaw.network import faster
from thaw.network.heads import build_head


def test_the_heads_layers() -> None:
    head = build_head(Head(units=(128, 64), dropout=0.7, l2=0.01), 10, seed=0)
    kinds = [type(layer).__name__ for layer in head.layers]
    assert kinds == ["Dropout", "Dense", "Dropout", "Dense", "Dense"]
    assert [layer.units for layer in head.layers if hasattr(layer, "units")] == [128, 64, 10]
    assert len(build_head(Head(units=(), dropout=0.0, l2=0.0), 10, seed=0).layers) == 1


def test_fast_heads_start_from_the_same_weights() -> None:
    asked = Head(units=(128, 64), dropout=0.7, l2=0.01)
    heads = [build_head(asked, 10, seed=0, fast=fast) for fast in (False, True)]
    assert [type(layer) for layer in heads[1].layers[:2]] == [faster.Dropout, keras.layers.Dense]
    for one, other in zip(*(head.get_weights() for head in heads), strict=True):
        np.testing.assert_array_equal(one, other)


def test_initial_kernels_follow_the_seed_alone() -> None:
    """Layers of one shape differ, another seed gives others, earlier draws change nothing."""
    asked = Head(units=(2048, 2048), dropout=0.7, l2=0.01)
    one = build_head(asked, 10, seed=0).get_weights()
    keras.random.uniform((5,))
    again, other = (build_head(asked, 10, seed=seed).get_weights() for seed in (0, 1))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], one[2])
    assert not np.array_equal(one[0], other[0])
    limit = np.sqrt(6 / (2048 + 2048))  # Glorot & Bengio 2010, eq. 16
    assert limit - 1e-4 < np.abs(one[0]).max() <= limit


@pytest.mark.parametrize("rate", [0.3, 0.7, 1 / 65536])
@pytest.mark.parametrize("shape", [(128, 2048), (33, 7)])
def test_dropout_drops_its_rate_and_keeps_the_mean(rate: float, shape: tuple[int, int]) -> None:
    """By hand: what is kept is scaled by 65,536 / (65,536 - what is dropped of them)."""
    values = np.random.default_rng(0).uniform(1, 2, shape).astype("float32")
    layer = faster.Dropout(rate, seed=1)
    out = np.array(layer(values, training=True))
    kept = out != 0
    scale = 65536 / (65536 - round(rate * 65536))
    np.testing.assert_allclose(out[kept], scale * values[kept], rtol=1e-6)
    spread = np.sqrt(rate * (1 - rate) / values.size)
    assert abs((~kept).mean() - rate) <= 4 * spread
    again = faster.Dropout(rate, seed=1)(values, training=True)
    np.testing.assert_array_equal(out, again)
    assert values.size < 1000 or not np.array_equal(out, layer(values, training=True))


def test_dropouts_draws_hang_neither_on_their_neighbours_nor_on_their_place() -> None:
    """Four draws come from one random word: each place is as often dropped, and so is each pair."""
    dropped = np.array(faster.Dropout(0.5, seed=0)(np.ones((512, 2048), "float32"), training=True))
    places = (dropped == 0).reshape(-1, 4)
    spread = 0.5 / np.sqrt(len(places))
    assert (np.abs(places.mean(0) - 0.5) <= 4 * spread).all()
    for one in range(4):
        for other in range(one):
            both = (places[:, one] & places[:, other]).mean()
            assert abs(both - 0.25) <= 4 * spread


@pytest.mark.parametrize(("rate", "training"), [(0.3, False), (0.0, True)])
def test_dropout_that_does_nothing_returns_its_input(rate: float, training: bool) -> None:
    values = np.ones((4, 8), "float32")
    np.testing.assert_array_equal(faster.Dropout(rate)(values, training=training), values)


def test_dropout_just_below_1_keeps_finite_values() -> None:
    out = np.array(
        faster.Dropout(0.9999999, seed=0)(np.ones((512, 2048), "float32"), training=True)
    )
    assert set(np.unique(out)) == {0.0, 65536.0}  # of a million values, 16 are kept
