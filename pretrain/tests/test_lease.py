"""Training against the clock: schedule, bank, engines, means of weights, and going back."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pretrain.layers import Layers
from pretrain.learner import Learner
from pretrain.lease import parts, session
from pretrain.lease.average import Average, measure_statistics, norms
from pretrain.lease.engine import Engine, time_limit
from pretrain.lease.makers import Makers, make, pool
from pretrain.lease.reservoir import Batch, Reservoir, Scale
from pretrain.lease.timing import Schedule, Stopwatch
from pretrain.lease.training import Training
from pretrain.pictures import write_pictures
from pretrain.settings import HERE, Settings
from pretrain.tests.tiny import tiny_pictures
from thaw.support.errors import ThawError
from thaw.support.tables import read_csv, read_json


class Clock:
    """Says what it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_rises_by_steps_and_falls_by_time(tiny: Settings) -> None:
    lease = replace(tiny.lease, learning_rate=1.0, warmup_steps=4, decay_share=0.4)
    clock = Clock()
    schedule = Schedule(lease, 100, clock)
    for now, step, expected in ((0, 0, 0.25), (1, 1, 0.5), (50, 9, 1.0), (60, 9, 1.0)):
        clock.now = now
        assert schedule.rate(step) == pytest.approx(expected)
    clock.now = 70
    assert schedule.rate(9) == pytest.approx(0.5)  # a quarter of the decay has passed
    clock.now = 100
    assert schedule.rate(9) == pytest.approx(0.0)
    assert schedule.over()


def test_stored_statistics_come_at_their_time(tiny: Settings) -> None:
    clock = Clock()
    schedule = Schedule(replace(tiny.lease, stored_share=0.25), 100, clock)
    states = []
    for now in (0, 74, 76, 99):
        clock.now = now
        states.append(schedule.stored())
    assert states == [False, False, True, True]


def test_a_stopwatch_counts_what_was_asked_for() -> None:
    watch = Stopwatch("cpu")
    with watch("teach"):
        time.sleep(0.05)
    time.sleep(0.05)
    assert 0.05 <= watch.seconds("teach") == watch.seconds()
    assert watch.seconds("train") == 0
    assert 0.2 < watch.waiting() < 0.8


def numbered(count: int, first: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scenes whose pixels, features and logits all are their number."""
    numbers = torch.arange(first, first + count)
    images = numbers[:, None, None, None].expand(-1, 32, 32, 3).to(torch.uint8)
    return images, numbers[:, None].expand(-1, 5).half(), numbers[:, None].expand(-1, 1000).half()


def test_new_scenes_take_the_place_of_the_oldest() -> None:
    bank = Reservoir(6, 32, 5, "cpu")
    bank.add(*numbered(4))
    assert len(bank) == 4
    bank.add(*numbered(4, first=4))
    assert len(bank) == 6
    assert sorted(bank.images[:, 0, 0, 0].tolist()) == [2, 3, 4, 5, 6, 7]
    assert torch.equal(bank.images[:, 0, 0, 0].half(), bank.logits[:, 0])


def test_a_scene_keeps_its_answers_and_half_are_mirrored() -> None:
    bank = Reservoir(8, 32, 5, "cpu")
    images, features, logits = numbered(8)
    images = images.clone()
    images[:, :, 0] = 255
    bank.add(images, features, logits)
    scale = Scale(torch.zeros(5), torch.ones(5))
    batch = bank.draw(400, torch.Generator().manual_seed(0), scale)
    assert torch.equal(batch.features[:, 0], batch.logits[:, 0].float())
    shown = batch.images[:, 0, 16, 16] + 103.939
    torch.testing.assert_close(shown, batch.features[:, 0], atol=1e-3, rtol=0)
    assert 0.4 < (batch.images[:, 0, 16, -1] > 100).float().mean() < 0.6


def test_features_are_standardised() -> None:
    features = torch.randn(4000, 3) * torch.tensor([1.0, 5.0, 0.2]) + 7
    scaled = Scale.of(features.half())(features.half())
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=0.01, rtol=0)
    torch.testing.assert_close(scaled.std(0), torch.ones(3), atol=0.02, rtol=0)


def test_a_feature_that_hardly_varied_at_first_does_not_outweigh_the_others() -> None:
    features = torch.randn(200, 40)
    features[:, 0] = 0.0
    scale = Scale.of(features.half())
    assert scale(torch.ones(1, 40)).abs().max() < 25


class SmallNetwork(nn.Module):
    """Takes and gives what ResNet50 does."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.top = nn.Linear(3, 2048), nn.Linear(2048, 1000)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(images.mean((2, 3)) / 128)
        return features, self.top(features)


def small_learner() -> Learner:
    torch.manual_seed(0)
    network, to_teacher = SmallNetwork(), nn.Linear(2048, 5)
    parameters = [*network.parameters(), *to_teacher.parameters()]
    return Learner(network, to_teacher, torch.optim.AdamW(parameters, lr=1e-3))  # type: ignore[arg-type]


def some_batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    return Batch(
        torch.randn(8, 3, 32, 32, generator=random) * 50,
        torch.randn(8, 5, generator=random),
        torch.randn(8, 1000, generator=random).half(),
    )


def test_where_no_graph_can_be_recorded_steps_are_eager(
    tiny: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    eager, graphs = (Engine(small_learner(), tiny.lease, kind) for kind in ("eager", "graphs"))
    for _ in range(3):
        assert torch.equal(eager(some_batch()), graphs(some_batch()))
    assert graphs.kind == "eager"
    assert "engine graphs fails, going on eagerly" in capsys.readouterr().out


def test_what_takes_too_long_to_compile_is_given_up(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_args, **_more: time.sleep(60))
    engine = Engine(small_learner(), replace(tiny.lease, engine_seconds=0.2), "compile")
    start = time.monotonic()
    assert engine(some_batch()).isfinite().all()
    assert time.monotonic() - start < 30
    assert "it took more than 0.2 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error", [subprocess.CalledProcessError(1, "gcc"), TypeError("no"), MemoryError()]
)
def test_however_a_compiler_fails_training_goes_on(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(torch, "compile", fail)
    engine = Engine(small_learner(), tiny.lease, "compile")
    assert engine(some_batch()).isfinite().all()
    assert engine.kind == "eager"


class Noting(SmallNetwork):
    """Notes what it is given, and whether cuDNN is asked to search for kernels."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen, self.searched = images, torch.backends.cudnn.benchmark
        return super().forward(images)


def test_only_steps_search_for_the_fastest_kernels(tiny: Settings) -> None:
    learner, network = small_learner(), Noting()
    learner.network = network  # type: ignore[assignment]
    Engine(learner, tiny.lease, "eager")(some_batch())
    assert network.searched
    assert not torch.backends.cudnn.benchmark


def test_a_recorded_step_sees_each_new_batch(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what PyTorch has of CUDA graphs replaced: recording runs the step, replaying nothing."""
    replays: list[int] = []
    graph = SimpleNamespace(replay=lambda: replays.append(1))
    stream = SimpleNamespace(wait_stream=lambda _other: None)
    for name, result in (
        ("Stream", stream),
        ("current_stream", stream),
        ("stream", nullcontext()),
        ("CUDAGraph", graph),
        ("graph", nullcontext()),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda *_args, result=result: result)
    learner, network = small_learner(), Noting()
    learner.network = network  # type: ignore[assignment]
    engine = Engine(learner, tiny.lease, "graphs")
    first = some_batch()
    second = Batch(first.images + 1, first.features + 1, first.logits)
    before = engine(first)
    recorded = network.seen
    assert torch.equal(recorded, first.images)
    assert engine(second) is not before
    assert network.seen is recorded
    assert torch.equal(recorded, second.images)
    assert (engine.kind, len(replays)) == ("graphs", 2)


def test_the_time_runs_from_the_programs_beginning(tiny: Settings) -> None:
    lent = session.Lent(tiny, "cpu", "eager", HERE, HERE, 100.0, time.monotonic() - 70)
    assert 29 < lent.left() <= 30
    early = "import sys, pretrain.lease as lease; assert lease.BEGUN and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", early], cwd=HERE.parent, check=True)


def test_a_time_limit_ends_with_its_block() -> None:
    with pytest.raises(TimeoutError, match=r"more than 0\.05 s"), time_limit(0.05):
        time.sleep(5)
    with time_limit(0.05):
        pass
    time.sleep(0.1)


def test_steps_lower_the_loss_and_long_gradients_are_cut(tiny: Settings) -> None:
    learner = small_learner()
    engine = Engine(learner, tiny.lease, "eager")
    first = engine(some_batch()).sum()
    norm = sum(float(p.grad.square().sum()) for p in learner.parameters()) ** 0.5
    assert norm <= tiny.lease.gradient_norm * 1.001
    for _ in range(30):
        last = engine(some_batch()).sum()
    assert last < first


def test_the_mean_of_the_weights_follows_them() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, decay=0.5)  # type: ignore[arg-type]
    target = nn.Linear(1, 1, bias=False)
    expected = float(network.weight.detach())
    for step in range(1, 30):
        with torch.no_grad():
            network.weight.fill_(step)
        average.update()
        kept = min(0.5, step / (10 + step))
        expected = kept * expected + (1 - kept) * step
    average.write(target)  # type: ignore[arg-type]
    assert float(target.weight.detach()) == pytest.approx(expected, rel=1e-5)


class Normed(nn.Module):
    """One layer of batch normalisation, found as ResNet50's are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"bn": nn.BatchNorm2d(3, momentum=0.01)})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers["bn"](images)


def test_statistics_are_the_mean_of_all_sides() -> None:
    network = Normed().eval()
    batches = [torch.randn(4, 3, side, side) * scale for side, scale in ((8, 1.0), (16, 3.0))]
    measure_statistics(network, lambda number: batches[number % 2], 4)  # type: ignore[arg-type]
    (layer,) = norms(network)  # type: ignore[arg-type]
    expected = sum(batch.var((0, 2, 3)) for batch in batches) / 2
    torch.testing.assert_close(layer.running_var, expected)
    assert layer.momentum == 0.01
    assert not layer.training


def some_layers() -> Layers:
    random = np.random.default_rng(0)
    shapes = {"a": ((3, 3, 8, 16), (16,)), "b": ((16, 8), (8,)), "c_bn": ((16,),) * 4}
    return {
        name: [random.normal(size=shape).astype(np.float32) * 1e5 for shape in some]
        if name == "c_bn"
        else [random.normal(size=shape).astype(np.float32) for shape in some]
        for name, some in shapes.items()
    }


def test_parts_hold_kernels_in_float16_and_vectors_as_they_are(tmp_path: Path) -> None:
    layers = some_layers()
    parts.write(tmp_path, layers, step=7)
    received, step = parts.read(tmp_path, list(layers))
    assert step == 7
    assert list(received) == list(layers)
    for name, arrays in layers.items():
        for sent, array in zip(arrays, received[name], strict=True):
            expected = sent.astype(np.float16).astype(np.float32) if sent.ndim > 1 else sent
            np.testing.assert_array_equal(array, expected)


def test_parts_of_two_steps_are_no_student(tmp_path: Path) -> None:
    parts.write(tmp_path, some_layers(), step=7)
    old = (tmp_path / "student-2.npz").read_bytes()
    parts.write(tmp_path, some_layers(), step=8)
    (tmp_path / "student-2.npz").write_bytes(old)
    with pytest.raises(ThawError, match=r"must be of one step. Received: \[7, 8\]"):
        parts.read(tmp_path, list(some_layers()))
    (tmp_path / "student-3.npz").unlink()
    with pytest.raises(ThawError, match=r"student-3.npz cannot be read"):
        parts.read(tmp_path, list(some_layers()))


def test_scenes_hang_on_their_seed_and_sides_keep_their_shares(
    tiny: Settings, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "pictures", tiny_pictures())
    with pool(2) as processes:
        makers = Makers(processes, 2, tmp_path / "pictures", tiny.lease, seed=0)
        taken = [makers.take(wait=True) for _ in range(20)]
        assert makers.held_out(32).shape == (8, 32, 32, 3)
    counts = [sum(len(images) for at, images in taken if at == side) for side in (32, 64)]
    assert counts == [64, 16]
    assert {images.shape[1:] for _, images in taken} == {(32, 32, 3), (64, 64, 3)}
    again = make(tmp_path / "pictures", tiny.lease, taken[0][0], (0, 1), False, 4)
    np.testing.assert_array_equal(taken[0][1], again)


def test_processes_start_where_opencv_has_threads() -> None:
    code = """
import cv2, numpy
from pretrain.lease.makers import pool

def threads(_):
    return cv2.getNumThreads()

cv2.setNumThreads(4)
cv2.GaussianBlur(numpy.zeros((2000, 2000, 3), numpy.uint8), (9, 9), 0)
with pool(2) as processes:
    assert set(processes.map(threads, range(4))) == {1}
"""
    subprocess.run([sys.executable, "-c", code], cwd=HERE.parent, check=True, timeout=60)


def test_scenes_that_cannot_be_made_do_not_end_the_training(
    tiny: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pool(2) as processes:
        makers = Makers(processes, 2, tmp_path / "no pictures", tiny.lease, seed=0)
        with pytest.raises(FileNotFoundError):
            makers.take(wait=True)
        while not (said := capsys.readouterr().out):
            assert makers.take() is None
        assert "scenes could not be made: FileNotFoundError" in said
        for process in processes._processes.values():
            process.kill()
        deadline = time.monotonic() + 30
        while makers._jobs and time.monotonic() < deadline:
            assert makers.take() is None
        assert not makers._jobs
        assert "BrokenProcessPool" in capsys.readouterr().out


@pytest.fixture
def training(tiny: Settings, carried_folder: Path, tmp_path: Path) -> Iterator[Training]:
    lent = session.Lent(tiny, "cpu", "eager", carried_folder, tmp_path, 1.0)
    with session.opened(lent) as classroom:
        learner = session.student(lent)
        engine = Engine(learner, tiny.lease, "eager")
        yield Training(learner, classroom, engine, tiny.lease, tmp_path, {"device": "cpu"})


def test_the_best_student_is_written_and_what_blew_up_is_put_back(
    training: Training, tiny: Settings, tmp_path: Path
) -> None:
    calls = itertools.count()
    schedule = Schedule(tiny.lease, 60, clock=lambda: next(calls))
    training.run(schedule)  # some steps: each asks for the time now and then
    network = training.learner.network
    assert training.learner.step >= 5
    assert not any(layer.training for layer in norms(network))
    # A kill from now on leaves all that joining needs.
    assert read_json(tmp_path / "metrics.json")["step"] == training.learner.step
    parts.read(tmp_path, list(network.layers))
    figures = training.finish()
    assert set(figures) == {"agreement_32", "agreement_64"}
    rows = read_csv(tmp_path / "log.csv")
    assert int(rows[-1]["step"]) == training.learner.step
    assert int(rows[-1]["views"]) >= 2 * training.learner.step
    assert read_json(tmp_path / "metrics.json")["device"] == "cpu"
    layers, _ = parts.read(tmp_path, list(network.layers))
    assert len(layers) == len(network.layers)
    assert max(path.stat().st_size for path in tmp_path.glob("student-*")) < 16 * 2**20

    with torch.no_grad():
        network.layers["conv1_conv"].weight.fill_(float("nan"))
    training._losses += float("nan")
    training._show(schedule)
    assert all(parameter.isfinite().all() for parameter in training.learner.parameters())
    assert training._factor == 0.5
    assert "feature_loss" not in read_json(tmp_path / "metrics.json")  # which has no NaN
