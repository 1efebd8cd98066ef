"""A stopped run goes on to the same weights; a prolonged one is the long one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pretrain import bank, distil, settings
from pretrain.distil import Checkpoints, learning_rate
from pretrain.settings import Settings, load_settings
from thaw.support.errors import ThawError

SCENES = 12


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A bank of one tiny shard, and settings of a few steps."""
    monkeypatch.setattr(distil, "FOLDER", tmp_path)
    monkeypatch.setattr(distil, "EVALUATED", SCENES)
    monkeypatch.setattr(bank, "SHARD", SCENES)
    random = np.random.default_rng(0)
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank/recipe.txt").write_text("a recipe")
    for part in ("train", "held_out"):
        np.savez(
            tmp_path / f"bank/{part}-0000.npz",
            images=random.integers(0, 256, (SCENES, 64, 64, 3), dtype=np.uint8),
            **{
                f"{name}_{side}": random.normal(size=(SCENES, count)).astype(np.float16)
                for name, count in (("features", 1280), ("logits", 1000))
                for side in settings.SIDES
            },
            kinds=["photo"] * SCENES,
        )
    torch.set_num_threads(1)  # threads that wait for each other take all of a busy CPU
    return with_steps(load_settings(), steps=4, decay_steps=2)


def with_steps(base: Settings, **steps: int) -> Settings:
    few = {"batch_size": 4, "large_batch_size": 2, "checkpoint_steps": 1, "warmup_steps": 1}
    return replace(base, distil=replace(base.distil, **few | steps))


def trained(some: Settings, stop_after: int | None = None) -> distil.Learner:
    """Train as the stage does, from the last checkpoint, and be interrupted after a step."""
    learner = distil._new_learner(some)
    checkpoints = Checkpoints(distil.FOLDER / "checkpoints", some)
    checkpoints.load(learner)
    save = checkpoints.save

    def save_and_stop(learner: distil.Learner) -> None:
        save(learner)
        if learner.step == stop_after:
            raise KeyboardInterrupt

    checkpoints.save = save_and_stop  # type: ignore[method-assign]
    train, held_out = (
        bank.Bank(distil.FOLDER / "bank", part, SCENES) for part in ("train", "held_out")
    )
    distil._train(learner, train, held_out, some, checkpoints)
    return learner


def state(learner: distil.Learner) -> dict[str, torch.Tensor]:
    return learner.network.state_dict() | learner.to_teacher.state_dict()


def equal(one: distil.Learner, other: distil.Learner) -> bool:
    pairs = zip(state(one).values(), state(other).values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.log == other.log


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_stopped_run_ends_with_the_same_weights(small: Settings, stop_after: int) -> None:
    whole = trained(small)
    for path in (distil.FOLDER / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(KeyboardInterrupt):
        trained(small, stop_after)
    assert equal(trained(small), whole)


def test_a_prolonged_run_is_the_long_one(small: Settings) -> None:
    longer = with_steps(small, steps=5, decay_steps=2)
    whole = trained(longer)
    for path in (distil.FOLDER / "checkpoints").iterdir():
        path.unlink()
    trained(small)
    assert equal(trained(longer), whole)


def test_a_shorter_schedule_does_not_overwrite_what_is_there(small: Settings) -> None:
    trained(small)
    with pytest.raises(ThawError, match=r"is at step 2, .* at least that\. Received: 1"):
        trained(with_steps(small, steps=3, decay_steps=2))


def test_a_damaged_checkpoint_is_named(small: Settings) -> None:
    trained(small)
    for path in (distil.FOLDER / "checkpoints").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ThawError, match=r"the checkpoint .*\.pt is damaged"):
        trained(small)


def test_other_settings_start_over(small: Settings) -> None:
    trained(small)
    other = replace(small, seed=1)
    learner = distil._new_learner(other)
    Checkpoints(distil.FOLDER / "checkpoints", other).load(learner)
    assert learner.step == 0


def test_training_moves_the_loss(small: Settings) -> None:
    learner = trained(with_steps(small, steps=12, decay_steps=1))
    assert learner.log[-1]["divergence"] < learner.log[0]["divergence"]


def test_the_rate_rises_stays_and_falls(small: Settings) -> None:
    some = replace(small.distil, steps=10, warmup_steps=2, decay_steps=4, learning_rate=1.0)
    rates = [learning_rate(step, some) for step in range(10)]
    assert rates == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_a_bank_that_is_not_whole_is_named(tmp_path: Path) -> None:
    with pytest.raises(ThawError, match=r"lacks train-0000.npz"):
        bank.Bank(tmp_path, "train", settings.SHARD)


def test_bad_settings_are_named(tmp_path: Path) -> None:
    text = (settings.HERE / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("  teacher: 1", "  teacher: 7\n  more: 1"))
    with pytest.raises(ThawError, match=r"(?s)bank.more: .*bank.teacher: .*Received: 7"):
        load_settings(tmp_path / "params.yaml")
