"""Stage distil: a ResNet50 that answers as the teacher does.

Reads   data/bank/
Writes  data/student.npz  the weights by Keras' layer names, float32
        distil.csv        losses, and agreement on held-out scenes, by step

Beyer et al., "Knowledge distillation: a good teacher is patient and consistent" (CVPR 2022):
teacher and student see the same cut, for long. The rate stays constant until the last steps (Hu et
al., MiniCPM, 2024), so a run prolonged later is the run that had been asked for so long at once.

Checkpoints are in data/checkpoints/: stopped at any moment, the stage goes on from the last one and
ends with the same weights.
"""

import csv
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from pretrain.bank import Bank
from pretrain.layers import save_layers
from pretrain.learner import Learner, agreement, losses, new_learner, set_rate
from pretrain.settings import FOLDER, HERE, LARGE, SMALL, Distil, Settings, load_settings
from pretrain.student import ResNet50, keras_layers, preprocess
from thaw.support.errors import ThawError
from thaw.support.files import atomic_file, sha256
from thaw.support.stage import run

FEATURES = 1280
LOG = ("step", "side", "loss", "feature_loss", "divergence", "agreement_32", "agreement_64")
EVALUATED = 2000
"""Held-out scenes that a log line's agreement is measured on."""
SNAPSHOT_STEPS = 3000
"""Steps between two sets of weights that are kept, for figures against compute."""


def main() -> str:
    """Train from the last checkpoint on."""
    settings = load_settings()
    torch.set_num_threads(settings.threads)
    # The GPU's kernels add in any order; asked for the same bits it would refuse some.
    torch.use_deterministic_algorithms(settings.distil.device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a guard that costs time
    bank = Bank(FOLDER / "bank", "train", settings.bank.scenes)
    held_out = Bank(FOLDER / "bank", "held_out", settings.bank.held_out_scenes)
    learner = _new_learner(settings)
    checkpoints = Checkpoints(FOLDER / "checkpoints", settings)
    checkpoints.load(learner)
    _train(learner, bank, held_out, settings, checkpoints)
    with atomic_file(FOLDER / "student.npz") as scratch:
        save_layers(scratch, keras_layers(learner.network))
    _write_log(HERE / "distil.csv", learner.log)
    last = learner.log[-1]
    return (
        f"{learner.step:,} steps, agreement on held-out scenes {last['agreement_32']:.3f} at "
        f"32 px, {last['agreement_64']:.3f} at 64 px"
    )


def _new_learner(settings: Settings) -> Learner:
    distil = settings.distil
    return new_learner(
        settings.seed, FEATURES, distil.learning_rate, distil.weight_decay, distil.device
    )


def learning_rate(step: int, distil: Distil) -> float:
    """Return the rate of a step, from 0: up, level, and down to 0 in a straight line."""
    rising = min(1.0, (step + 1) / max(1, distil.warmup_steps))
    falling = min(1.0, (distil.steps - step) / max(1, distil.decay_steps))
    return distil.learning_rate * rising * falling


@dataclass(frozen=True)
class _Batch:
    images: Tensor
    features: Tensor
    logits: Tensor
    side: int


def _batch(step: int, bank: Bank, scale: "_Scale", settings: Settings) -> _Batch:
    """Return the scenes of a step; they hang on the seed and the step alone."""
    random = np.random.default_rng([settings.seed, step])
    large = random.random() < settings.distil.large_share
    size = settings.distil.large_batch_size if large else settings.distil.batch_size
    rows = np.sort(random.choice(len(bank), size, replace=False))
    images = bank.images[rows]
    mirrored = random.random(size) < 0.5
    images[mirrored] = images[mirrored, :, ::-1]
    side, device = LARGE if large else SMALL, settings.distil.device
    return _Batch(
        preprocess(torch.from_numpy(images).to(device), side).contiguous(
            memory_format=torch.channels_last
        ),
        scale(bank.features[side][rows]).to(device),
        torch.from_numpy(bank.logits[side][rows].astype(np.float32)).to(device),
        side,
    )


class _Scale:
    """Standardises the teacher's features, each by its own mean and deviation."""

    def __init__(self, features: NDArray[np.float16]) -> None:
        part = features[:20000].astype(np.float32)
        self.mean, self.deviation = part.mean(0), part.std(0) + 1e-3

    def __call__(self, features: NDArray[np.float16]) -> Tensor:
        return torch.from_numpy((features.astype(np.float32) - self.mean) / self.deviation)


def _train(
    learner: Learner, bank: Bank, held_out: Bank, settings: Settings, checkpoints: "Checkpoints"
) -> None:
    scale, distil = _Scale(bank.features[SMALL]), settings.distil
    learner.network.train()
    bar = tqdm(total=distil.steps, initial=learner.step, disable=None)
    while learner.step < distil.steps:
        batch = _batch(learner.step, bank, scale, settings)
        if learner.step >= distil.steps - distil.decay_steps:
            learner.network.use_stored_statistics()
        set_rate(learner.optimizer, learning_rate(learner.step, distil))
        feature_loss, divergence = losses(
            learner.network, learner.to_teacher, batch.images, batch.features, batch.logits
        )
        loss = distil.feature_weight * feature_loss + divergence
        learner.optimizer.zero_grad()
        loss.backward()
        learner.optimizer.step()
        learner.step += 1
        bar.update()
        if learner.step % distil.checkpoint_steps == 0 or learner.step == distil.steps:
            learner.log.append(
                {
                    "step": learner.step,
                    "side": batch.side,
                    "loss": loss.item(),
                    "feature_loss": feature_loss.item(),
                    "divergence": divergence.item(),
                    "agreement_32": _agreement(learner.network, held_out, SMALL, distil.device),
                    "agreement_64": _agreement(learner.network, held_out, LARGE, distil.device),
                }
            )
            print(learner.log[-1], flush=True)
            checkpoints.save(learner)


def _agreement(network: ResNet50, bank: Bank, side: int, device: str) -> float:
    """Return the agreement on the first `EVALUATED` scenes.

    Before the decay the running statistics, of two sizes at once, fit neither.
    """
    classes = bank.logits[side][:EVALUATED].argmax(1)
    return agreement(
        network,
        torch.from_numpy(bank.images[:EVALUATED]).to(device),
        torch.from_numpy(classes).to(device),
        side,
    )


class Checkpoints:
    """The state of an unfinished run, by what the run hangs on.

    Up to the decay a run is the same whatever its length: that part is kept by itself.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._distil = settings.distil
        length = {"steps", "decay_steps", "checkpoint_steps"}
        distil = {k: v for k, v in asdict(settings.distil).items() if k not in length}
        files = ("student.py", "learner.py", "distil.py", "bank.py")
        content = [
            [settings.seed, settings.threads, asdict(settings.bank), distil],
            [sha256(HERE / name) for name in files],
            (FOLDER / "bank/recipe.txt").read_text(),
        ]
        text = json.dumps(content, sort_keys=True)
        self._digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._level = folder / f"{self._digest}-level.pt"
        schedule = f"{settings.distil.steps}-{settings.distil.decay_steps}"
        self._decay = folder / f"{self._digest}-decay-{schedule}.pt"

    def save(self, learner: Learner) -> None:
        """Write the state, whole or not at all."""
        level = learner.step <= self._distil.steps - self._distil.decay_steps
        state = {
            "network": learner.network.state_dict(),
            "to_teacher": learner.to_teacher.state_dict(),
            "optimizer": learner.optimizer.state_dict(),
            "step": learner.step,
            "log": learner.log,
        }
        with atomic_file(self._level if level else self._decay) as scratch:
            torch.save(state, scratch)
        if learner.step % SNAPSHOT_STEPS == 0:
            with atomic_file(self._snapshot(learner.step)) as scratch:
                save_layers(scratch, keras_layers(learner.network))

    def _snapshot(self, step: int) -> Path:
        return self._level.with_name(f"{self._digest}-step-{step:06}.npz")

    def load(self, learner: Learner) -> None:
        """Bring the learner to the last state that belongs to this run; say where it starts.

        Raises:
            ThawError: the checkpoint is damaged, or further than this schedule stays level.

        """
        for path in (self._decay, self._level):
            if not path.is_file():
                continue
            state = self._read(path)
            learner.network.load_state_dict(state["network"])
            learner.to_teacher.load_state_dict(state["to_teacher"])
            learner.optimizer.load_state_dict(state["optimizer"])
            learner.step, learner.log = state["step"], state["log"]
            print(f"distil: going on from step {learner.step}", flush=True)
            return

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(path, map_location=self._distil.device)
        except (RuntimeError, EOFError, UnpicklingError) as error:
            raise ThawError(
                f"the checkpoint {path} is damaged: {error}. Delete it and run again: the "
                "training then starts over."
            ) from error
        level = self._distil.steps - self._distil.decay_steps
        if path == self._level and state["step"] > level:
            raise ThawError(
                f"the checkpoint {path} is at step {state['step']:,}, where the rate of this "
                f"schedule is falling already. distil.steps less distil.decay_steps must be at "
                f"least that. Received: {level:,}. Change them, or delete the checkpoint to start "
                "over."
            )
        return state


def _write_log(path: Path, log: list[dict[str, float]]) -> None:
    with atomic_file(path) as scratch, scratch.open("w", newline="") as file:
        writer = csv.DictWriter(file, LOG, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {
                key: round(value, 4) if isinstance(value, float) else value
                for key, value in line.items()
            }
            for line in log
        )


if __name__ == "__main__":
    run("distil", main)
