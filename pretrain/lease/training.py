"""Training against the clock: the best weights so far are always on the disk."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pretrain.learner import Learner, set_rate
from pretrain.lease import parts
from pretrain.lease.average import Average, measure_statistics
from pretrain.lease.classroom import Classroom
from pretrain.lease.engine import Engine
from pretrain.lease.timing import Schedule
from pretrain.settings import Lease
from pretrain.student import ResNet50, keras_layers
from thaw.support.tables import write_csv, write_json

Row = dict[str, float]
SLOWER = 0.5
"""What the learning rate is multiplied by after it has blown up."""


@dataclass
class _Best:
    """The best student so far, and what went with it."""

    score: float
    agreed: dict[int, float]
    state: dict[str, Tensor]
    to_teacher: dict[str, Tensor]


class Training:
    """A student in a classroom."""

    def __init__(
        self,
        learner: Learner,
        classroom: Classroom,
        engine: Engine,
        lease: Lease,
        out: Path,
        about: dict[str, str | float],
    ) -> None:
        """Make ready.

        Args:
            learner: learns.
            classroom: what from.
            engine: takes the steps.
            lease: how.
            out: where the student, the log and the metrics go.
            about: what else the metrics say.

        """
        self.learner, self.classroom, self.engine = learner, classroom, engine
        self.rows: list[Row] = []
        self._lease, self._out, self._about = lease, out, about
        self._average = Average(learner.network, lease.average_decay)
        device = learner.to_teacher.weight.device
        self._shown = ResNet50().to(device).eval()
        self._losses, self._counted = torch.zeros(2, device=device), 0
        self._factor, self._best = 1.0, self._snapshot({}, learner.network)

    def run(self, schedule: Schedule) -> None:
        """Learn until the time is up, showing now and then what has been learnt."""
        self.learner.network.train()
        stored, shown = False, 0.0
        while not schedule.over():
            if self.classroom.may_teach():
                self.classroom.teach()
            if schedule.stored() and not stored:
                self._use_stored_statistics()
                stored = True
            self._step(self._factor * schedule.rate(self.learner.step))
            if schedule.elapsed() - shown >= self._lease.show_seconds:
                shown = schedule.elapsed()
                self._show(schedule)
        self._show(schedule)

    def _step(self, rate: float) -> None:
        set_rate(self.learner.optimizer, rate)
        side = self.classroom.next_side()
        with self.classroom.watch("train"):
            self._losses += self.engine(self.classroom.draw(side))
            self._average.update()
        self._counted += 1
        self.learner.step += 1

    def _use_stored_statistics(self) -> None:
        """Let one set of statistics serve all sides from now on, and learn with it."""
        with self.classroom.watch("show"):
            self._measure(self.learner.network)
        self.learner.network.use_stored_statistics()
        self.engine.prepare_anew()

    def _measure(self, network: ResNet50) -> None:
        measure_statistics(network, self.classroom.images, self._lease.statistics_batches)

    def _show(self, schedule: Schedule) -> None:
        """Write a line of the log and, where it is better than all before, the student."""
        feature_loss, divergence = (self._losses / max(1, self._counted)).tolist()
        if not math.isfinite(feature_loss + divergence):
            self._go_back()
        self._losses.zero_()
        self._counted = 0
        with self.classroom.watch("show"):
            self._average.write(self._shown)
            self._measure(self._shown)
            agreements = self.classroom.agreement(self._shown)
        self._keep_if_best(agreements, self._shown)
        self._log(schedule, feature_loss, divergence, agreements)
        self._write_metrics({})

    def _keep_if_best(self, agreed: dict[int, float], network: ResNet50) -> float:
        """Write a student that is better than all before; return its mean agreement."""
        new = self._snapshot(agreed, network)
        if new.score > self._best.score:
            self._best = new
            parts.write(self._out, keras_layers(network), self.learner.step)
        return new.score

    def _snapshot(self, agreed: dict[int, float], network: ResNet50) -> _Best:
        return _Best(
            sum(agreed.values()) / len(agreed) if agreed else -1.0,
            agreed,
            {name: value.clone() for name, value in network.state_dict().items()},
            {name: value.clone() for name, value in self.learner.to_teacher.state_dict().items()},
        )

    def _go_back(self) -> None:
        """Go on from the best weights at a lower rate: the losses are no numbers any more."""
        print("the loss is not finite: going back to the best weights", flush=True)
        self._factor *= SLOWER
        self.learner.network.load_state_dict(self._best.state)
        self.learner.to_teacher.load_state_dict(self._best.to_teacher)
        for state in self.learner.optimizer.state.values():
            state["exp_avg"].zero_()
            state["exp_avg_sq"].zero_()
            state["step"].zero_()
        self._average = Average(self.learner.network, self._lease.average_decay)

    def _log(
        self, schedule: Schedule, feature_loss: float, divergence: float, agreed: dict[int, float]
    ) -> None:
        views, watch = sum(self.classroom.views.values()), self.classroom.watch
        self.rows.append(
            {
                "seconds": round(schedule.elapsed(), 1),
                "step": self.learner.step,
                "views": views,
                "scenes": self.classroom.scenes(),
                "feature_loss": round(feature_loss, 4),
                "divergence": round(divergence, 4),
                **{f"agreement_{side}": round(share, 4) for side, share in agreed.items()},
                "images_per_second": round(views / max(1e-9, watch.seconds("train"))),
                "teaching": round(watch.seconds("teach") / max(1e-9, watch.seconds()), 3),
                "waiting": round(watch.waiting(), 3),
            }
        )
        print(self.rows[-1], flush=True)
        lines = [list(row.values()) for row in self.rows]
        write_csv(self._out / "log.csv", list(self.rows[0]), lines)

    def finish(self) -> dict[str, float]:
        """Write the best of what the last steps left, and the metrics; return agreements by side.

        Weights or their mean, with the statistics that they learnt with or with new ones.
        """
        scores = {
            name: self._keep_if_best(self.classroom.agreement(network), network)
            for name, network in self._candidates()
        }
        self._write_metrics(scores)
        return {f"agreement_{side}": share for side, share in self._best.agreed.items()}

    def _write_metrics(self, scores: dict[str, float]) -> None:
        """Write how things are, and what the best student agrees in; a loss only if it is one."""
        last = {name: value for name, value in self.rows[-1].items() if math.isfinite(value)}
        content = {
            **last,
            **{f"agreement_{side}": share for side, share in self._best.agreed.items()},
            **{f"agreement_{name}": score for name, score in scores.items()},
            **self._about,
            "engine": self.engine.kind,
        }
        write_json(self._out / "metrics.json", content)

    def _candidates(self) -> Iterator[tuple[str, ResNet50]]:
        network = self._shown
        for name in ("last", "mean"):
            network.load_state_dict(self.learner.network.state_dict())
            if name == "mean":
                self._average.write(network)
            if self._lease.stored_share > 0:
                yield f"{name}_stored", network
            self._measure(network)
            yield f"{name}_measured", network
