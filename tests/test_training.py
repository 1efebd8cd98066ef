import gc
import weakref
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from small_net import FEATURES, LABELS, batches, network, others, settings

from thaw.config.params import HeadWarmup, Params
from thaw.support.errors import ThawError
from thaw.support.runtime import set_up
from thaw.training.batches import ArrayBatches, Batches
from thaw.training.checkpoint import Checkpoint, uncompiled
from thaw.training.fitting import class_weights, cross_entropy, fit, warm_up_head
from thaw.training.history import History
from thaw.training.optimizers import build_optimizer


class KilledError(Exception):
    pass


def killed_after(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Make the process die right after an epoch's checkpoint is written."""
    save = Checkpoint.save

    def save_and_die(self: Checkpoint, model: keras.Model, history: History) -> None:
        save(self, model, history)
        if history.epochs == epoch:
            raise KilledError

    monkeypatch.setattr(Checkpoint, "save", save_and_die)


@pytest.mark.parametrize(
    ("schedule", "layer_decay", "accumulation_steps", "epoch", "steps_per_execution"),
    [
        ("constant", 1.0, 1, 1, 1),
        ("cosine", 0.5, 3, 3, 1),
        ("cosine", 1.0, 1, 3, 3),
        ("cosine", 0.5, 1, 4, 1),
    ],
)
def test_an_interrupted_run_ends_with_the_same_weights(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
    steps_per_execution: int,
    schedule: str,
    layer_decay: float,
    accumulation_steps: int,
    params: Params,
) -> None:
    def run(model: keras.Model, name: str) -> History:
        changes = {"epochs": 4, "schedule": schedule, "layer_decay": layer_decay}
        training = params.train_full.model_copy(update=changes)
        train = batches(accumulation_steps=accumulation_steps)
        optimizer = build_optimizer(training, train.steps, accumulation_steps)
        checkpoint = Checkpoint(tmp_path / name)
        return fit(
            model,
            train,
            batches(None),
            settings(),
            checkpoint,
            optimizer=optimizer,
            steps_per_execution=steps_per_execution,
        )

    whole = network()
    expected = run(whole, "whole")
    with monkeypatch.context() as patch:
        killed_after(patch, epoch)
        with pytest.raises(KilledError):
            run(network(), "cut")
    keras.utils.set_random_seed(99)  # nothing may hang on the state of the new process
    resumed = keras.models.clone_model(network())
    history = run(resumed, "cut")
    assert history == expected
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("steps", [3, 32])
def test_steps_taken_at_once_change_no_bit(tmp_path: Path, steps: int) -> None:
    """4 steps an epoch: 3 leave a rest, 32 are more than there are."""
    one, several = network(), network()
    histories = [
        fit(model, batches(), batches(None), settings(), Checkpoint(tmp_path / name), **how)
        for model, name, how in (
            (one, "one", {}),
            (several, "several", {"steps_per_execution": steps}),
        )
    ]
    assert histories[0] == histories[1]
    for a, b in zip(one.get_weights(), several.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_picked_by_tensorflow_change_no_bit(tmp_path: Path) -> None:
    one, other = network(), network()
    train, validation = (ArrayBatches(FEATURES, LABELS, 16, seed) for seed in (7, None))
    expected = fit(one, batches(), batches(None), settings(), Checkpoint(tmp_path / "one"))
    checkpoint = Checkpoint(tmp_path / "other")
    assert fit(other, train, validation, settings(), checkpoint, steps_per_execution=3) == expected
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_best_epochs_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[np.ndarray]] = []
    save = Checkpoint.save

    def save_and_note(self: Checkpoint, model: keras.Model, history: History) -> None:
        seen.append(model.get_weights())
        save(self, model, history)

    monkeypatch.setattr(Checkpoint, "save", save_and_note)
    model = network()
    fast = settings(learning_rate=0.1, epochs=6)
    history = fit(model, batches(), others(), fast, Checkpoint(tmp_path / "run"))
    losses = [row["val_loss"] for row in history.rows]
    assert history.best_epoch == int(np.argmin(losses)) + 1
    assert history.best_epoch < 6, "the test needs a run whose last epoch is not its best"
    for a, b in zip(model.get_weights(), seen[history.best_epoch - 1], strict=True):
        np.testing.assert_array_equal(a, b)


def rows(*losses: float) -> History:
    return History([{"epoch": i + 1, "val_loss": loss} for i, loss in enumerate(losses)])


@pytest.mark.parametrize(
    ("losses", "patience", "over"),
    [
        ((3, 2, 1), 1, False),
        ((3, 1, 2), 1, True),
        ((3, 1, 2), 2, False),
        ((1, 1, 1), 2, True),
        ((1, 2, 3), 0, False),
        ((4, 3, 2, 1), 0, True),
    ],
)
def test_patience_by_hand(losses: tuple[float, ...], patience: int, over: bool) -> None:
    assert rows(*losses).is_over(4, patience) is over


def test_patience_ends_a_run_early(tmp_path: Path) -> None:
    impatient = settings(learning_rate=0.1, epochs=50, patience=2)
    checkpoint = Checkpoint(tmp_path / "run")
    history = fit(network(), batches(), others(), impatient, checkpoint, impatient.patience)
    assert history.epochs == history.best_epoch + 2 < 50


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    infinite = Batches(lambda which: np.full((len(which), 8), np.inf, "float32"), LABELS, 16)
    checkpoint = Checkpoint(tmp_path / "run")
    linear = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation="softmax")])
    with pytest.raises(ThawError, match=r"diverged in epoch 1.*Received: learning_rate 0.01"):
        fit(linear, infinite, batches(None), settings(), checkpoint)
    assert not checkpoint.folder.exists()


@pytest.mark.parametrize("error", [ThawError("rgb224.h5 cannot be read"), OSError("disk full")])
@pytest.mark.parametrize("part", ["train", "validation"])
def test_what_reading_a_batch_raises_reaches_the_user(
    part: str, error: Exception, tmp_path: Path
) -> None:
    """The first batch can be read."""

    def read(which: np.ndarray) -> np.ndarray:
        if 20 in which:
            raise error
        return FEATURES[which]

    damaged = Batches(read, LABELS, 16)
    train, validation = (damaged, others()) if part == "train" else (batches(), damaged)
    checkpoint = Checkpoint(tmp_path / "run")
    with pytest.raises(type(error), match=f"^{error}$"):
        fit(network(), train, validation, settings(), checkpoint)
    assert not checkpoint.folder.exists()


def test_a_model_keeps_none_of_what_it_was_fitted_on(tmp_path: Path) -> None:
    model, train, validation = network(), batches(), others()
    fit(model, train, validation, settings(), Checkpoint(tmp_path / "run"))
    alive = weakref.ref(train), weakref.ref(validation)
    del train, validation
    gc.collect()
    assert [each() for each in alive] == [None, None]


def test_fit_sees_each_epochs_own_order(tmp_path: Path) -> None:
    class Noted(Batches):
        def start_epoch(self, epoch: int) -> None:
            super().start_epoch(epoch)
            started.append((epoch, []))

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            started[-1][1].append(tuple(self.order))
            return super().__getitem__(index)

    started: list[tuple[int, list[tuple[int, ...]]]] = []
    train = Noted(FEATURES.__getitem__, LABELS, 50, seed=3)
    fit(network(), train, batches(None), settings(epochs=3), Checkpoint(tmp_path / "run"))
    trained_on = started[1:]  # the first is the constructor's
    assert [epoch for epoch, _ in trained_on] == [0, 1, 2]
    for epoch, read in trained_on:
        assert set(read) == {tuple(np.random.default_rng([3, epoch]).permutation(50))}


def test_a_head_without_dropout_is_fitted_too(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dropout(0.0), keras.layers.Dense(4, activation="softmax")]
    )
    history = fit(model, batches(), batches(None), settings(epochs=1), Checkpoint(tmp_path / "run"))
    assert history.epochs == 1


def test_a_saved_model_holds_no_optimizer_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    model = network()
    fit(model, batches(), batches(None), settings(epochs=1), Checkpoint(tmp_path / "run"))
    sizes = []
    for name in ("a", "b"):
        uncompiled(model).save_weights(tmp_path / f"{name}.weights.h5")
        sizes.append((tmp_path / f"{name}.weights.h5").read_bytes())
    model.save_weights(tmp_path / "compiled.weights.h5")
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) < (tmp_path / "compiled.weights.h5").stat().st_size


def test_set_up_overrides_the_users_keras_json_and_shell() -> None:
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(1e-3)
    keras.config.set_max_epochs(1)
    keras.config.set_max_steps_per_epoch(1)
    set_up(threads=2)
    assert keras.config.floatx() == "float32"
    assert keras.config.epsilon() == 1e-7
    assert keras.config.max_epochs() is None
    assert keras.config.max_steps_per_epoch() is None


def test_a_quiet_run_says_nothing_of_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for quiet in ("", "1"):
        monkeypatch.setenv("THAW_QUIET", quiet)
        checkpoint = Checkpoint(tmp_path / f"run{quiet}")
        fit(network(), batches(), batches(None), settings(epochs=1), checkpoint)
        assert ("val_accuracy" in capfd.readouterr().out) == (not quiet)


def test_smoothed_cross_entropy_by_hand() -> None:
    """Of smoothing 0.2 the right class' target is 0.82, every other's 0.02."""
    probabilities = np.full((1, 10), 0.05, np.float32)
    probabilities[0, 3] = 0.55
    expected = -(0.82 * np.log(0.55) + 9 * 0.02 * np.log(0.05))
    loss = cross_entropy(0.2)
    assert not isinstance(loss, str)
    assert float(loss(np.array([3]), probabilities)[0]) == pytest.approx(expected, rel=1e-5)
    assert cross_entropy(0.0) == "sparse_categorical_crossentropy"


def test_balanced_classes_weigh_the_same_by_hand() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    assert class_weights(labels, "none") is None
    weights = class_weights(labels, "balanced")
    assert weights == pytest.approx({0: 10 / 18, 1: 10 / 9, 2: 10 / 3})
    assert sum(weights[label] for label in labels) == pytest.approx(10), "10 images, as before"


def test_the_loss_is_weighted_by_class(tmp_path: Path) -> None:
    """At a rate of almost 0, the first epoch's loss is that of the initial weights."""
    model = keras.Sequential([keras.Input((FEATURES.shape[1],)), keras.layers.Dense(10, "softmax")])
    right = model.predict(FEATURES, verbose=0)[np.arange(len(LABELS)), LABELS]
    weights = {label: 1.0 + label for label in range(10)}
    expected = np.mean(-np.log(right) * (1 + LABELS))
    slow = settings(epochs=1, learning_rate=1e-12)
    kept = Checkpoint(tmp_path / "checkpoint")
    history = fit(model, batches(), batches(), slow, kept, class_weight=weights)
    assert history.rows[0]["loss"] == pytest.approx(expected, rel=1e-3)
    assert history.rows[0]["val_loss"] == pytest.approx(np.mean(-np.log(right)), rel=1e-3)


def test_the_head_warmup_is_the_same_every_time() -> None:
    """And it learns: the loss on what it saw falls."""
    ends = []
    for noise in (1, 2):
        model = network()
        keras.utils.set_random_seed(noise)
        warm_up_head(model, batches(), HeadWarmup(epochs=30, learning_rate=0.01))
        ends.append(model)
    for a, b in zip(*(model.get_weights() for model in ends), strict=True):
        np.testing.assert_array_equal(a, b)
    predicted = ends[0].predict(FEATURES, verbose=0).argmax(1)
    assert (predicted == LABELS).mean() > 0.7


def test_the_head_warmup_leaves_no_optimizer_behind(tmp_path: Path) -> None:
    """Keras writes those of nested models, too."""
    head = network()
    warm_up_head(head, batches(), HeadWarmup(epochs=1, learning_rate=0.01))
    inputs = keras.Input((8,))
    whole = keras.Model(inputs, head(inputs))
    uncompiled(whole).save_weights(tmp_path / "whole.weights.h5")
    names: list[str] = []
    with h5py.File(tmp_path / "whole.weights.h5") as file:
        file.visit(names.append)
    assert names
    assert not [name for name in names if "optimizer" in name]


def test_a_head_warmup_that_diverges_names_its_own_rate() -> None:
    infinite = Batches(lambda which: np.full((len(which), 8), np.inf, "float32"), LABELS, 16)
    linear = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation="softmax")])
    with pytest.raises(ThawError, match=r"head warm-up diverged.*head_warmup.learning_rate 0.01"):
        warm_up_head(linear, infinite, HeadWarmup(epochs=1, learning_rate=0.01))
