"""A minute that says whether a lent machine will do, and how many scenes it will get through."""

import math
import time
from dataclasses import replace
from typing import TypeVar

import torch

from pretrain.lease import carried
from pretrain.lease.classroom import Classroom
from pretrain.lease.engine import Engine
from pretrain.lease.session import Lent, device_name, opened, student
from pretrain.settings import Lease, Side
from thaw.support.tables import write_json

Figures = dict[str, float | str]
T = TypeVar("T")
ENGINES = ("graphs", "eager", "compile")
"""Measured in this order for as long as there is time: the ones that count come first."""
STEPS, TRIAL_STEPS = 10, 40
"""Steps that are timed, and steps after which the loss must be lower."""
MAKERS_SECONDS = 5.0
CHUNKS = 40
"""Answered by the teachers where their speed is measured."""


def check(lent: Lent) -> Figures:
    """Measure makers, teachers and student; write and return the figures; print what they mean."""
    with opened(lent) as classroom:
        figures: Figures = {
            "device": device_name(lent.device),
            "torch": torch.__version__,
            "opening_seconds": round(lent.elapsed(), 1),
        }
        figures |= _makers(lent, classroom) | _teachers(lent, classroom)
        print(figures, flush=True)
        figures |= _learns(lent, classroom)
        for kind in dict.fromkeys((lent.engine, *ENGINES)):
            if lent.left() > 15:
                figures |= _student(lent, classroom, kind, lent.left() / 2)
                print(figures, flush=True)
    best = max(ENGINES, key=lambda kind: _expected(lent.settings.lease, figures, kind))
    views = _expected(lent.settings.lease, figures, best)
    figures |= {"best_engine": best, "views_in_500_seconds": round(500 * views)}
    if lent.device == "cuda":
        figures["gigabytes"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
    write_json(lent.out / "check.json", figures)
    print("CHECK PASSED" if figures["loss_falls"] else "CHECK FAILED: the loss does not fall")
    return figures


def _makers(lent: Lent, classroom: Classroom) -> Figures:
    """Return scenes a second of the processes, taken as fast as they come."""
    before, start = classroom.makers.finished(), time.monotonic()
    while time.monotonic() - start < min(MAKERS_SECONDS, lent.seconds / 20):
        if classroom.makers.take() is None:
            time.sleep(0.01)
    made, seconds = classroom.makers.finished() - before, time.monotonic() - start
    return {"workers": lent.workers(), "scenes_per_second": round(made / seconds)}


def _teachers(lent: Lent, classroom: Classroom) -> Figures:
    """Return answers a second by side, and how often bfloat16 names the class of float32."""
    figures: Figures = {}
    exact = carried.load_teachers(
        lent.carried / carried.TEACHERS, lent.settings.lease.teachers, lent.device
    ).float()
    for side in lent.settings.lease.sides:
        images = classroom.reservoirs[side.side].images[: lent.settings.lease.chunk]
        _, _, logits = classroom.answer(images, side.side)  # prepares cuDNN
        classroom.watch.wait()
        before, count = classroom.watch.seconds("teach"), 1 if lent.device == "cpu" else CHUNKS
        for _ in range(count):
            classroom.answer(images, side.side)
        classroom.watch.wait()
        seconds = classroom.watch.seconds("teach") - before
        same = exact(images, side.teacher_side)[1].argmax(1) == logits.argmax(1)
        figures[f"answers_per_second_{side.side}"] = round(count * len(images) / seconds)
        figures[f"bfloat16_agrees_{side.side}"] = round(float(same.float().mean()), 4)
    return figures


def _learns(lent: Lent, classroom: Classroom) -> Figures:
    """Return the loss of the first and the last of some steps at the smallest side."""
    lease = replace(lent.settings.lease, warmup_steps=0)
    side = min(lease.sides, key=lambda side: side.side)
    learner = student(lent)
    learner.network.train()
    engine = Engine(learner, lease, "eager")
    found = [engine(classroom.draw(side)).sum() for _ in range(TRIAL_STEPS)]
    first, last = (float(torch.stack(part).mean()) for part in (found[:3], found[-3:]))
    falls = math.isfinite(last) and last < first
    return {"loss_first": round(first, 3), "loss_last": round(last, 3), "loss_falls": falls}


def _student(lent: Lent, classroom: Classroom, kind: str, seconds: float) -> Figures:
    """Return what an engine takes to prepare, and images a second, for as many sides as fit."""
    figures: Figures = {}
    learner = student(lent)
    learner.network.train()
    limit = min(lent.settings.lease.engine_seconds, seconds)
    engine = Engine(learner, replace(lent.settings.lease, engine_seconds=limit), kind)
    begin = time.monotonic()
    for side in sorted(lent.settings.lease.sides, key=lambda side: -side.share):
        if time.monotonic() - begin > seconds:
            break
        engine(classroom.draw(side))
        if engine.kind != kind:
            return {f"{kind}_failed": True}
        figures[f"{kind}_{side.side}_prepared"] = round(engine.prepared[side.side], 1)
        figures[f"{kind}_{side.side}_images"] = round(_speed(lent, classroom, engine, side))
    return figures


def _speed(lent: Lent, classroom: Classroom, engine: Engine, side: Side) -> float:
    """Return images a second, drawing batches included."""
    steps = 1 if lent.device == "cpu" else STEPS
    engine(classroom.draw(side))
    _wait(lent.device)
    start = time.perf_counter()
    for _ in range(steps):
        engine(classroom.draw(side))
    _wait(lent.device)
    return steps * side.batch_size / (time.perf_counter() - start)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _expected(lease: Lease, figures: Figures, kind: str) -> float:
    """Return views a second over all sides while the teachers take their share; 0 if unknown."""
    speeds = [(side.share, figures.get(f"{kind}_{side.side}_images")) for side in lease.sides]
    if any(speed is None for share, speed in speeds if share > 0):
        return 0.0
    each = sum(share / float(speed) for share, speed in speeds if speed is not None)
    return (1 - lease.teach_share) / each
