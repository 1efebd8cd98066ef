"""Stage evaluate: what the student knows, and what packing it costs.

Reads   data/student.npz  data/pictures/  distil.csv  ../thaw/network/pretrained/
        ../data/images/  ../params.yaml
Writes  metrics.json
        names.csv  what teacher and student call held-out pictures
        curve.png  how agreement grew with the scenes seen

Everything is measured in Keras, with thaw's own code, on the weights before and after packing;
Fashion-MNIST's accuracies have random weights beside them, trained by the same recipe.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pretrain.layers import Layers, load_layers
from pretrain.pictures import Library, Picture
from pretrain.scenes import KINDS, Image, enlarged, plain_scene, shrunk
from pretrain.settings import FOLDER, HERE, LARGE, SIDES, SMALL, Settings, load_settings
from pretrain.teacher import Teacher
from thaw.config.load import load_params
from thaw.config.params import Params
from thaw.config.stages import TrainFullConfig
from thaw.data.image_store import open_images
from thaw.findings import evaluation, imagenet
from thaw.findings.evaluation import Metrics
from thaw.findings.intervals import share_metrics
from thaw.network import bundled, weights
from thaw.network.backbone import feature_model, image_model
from thaw.network.inference import predict
from thaw.report import canvas, figures
from thaw.support.runtime import set_up
from thaw.support.stage import run
from thaw.support.tables import read_csv, write_csv, write_json
from thaw.training.fine_tune import fine_tune

ROOT = HERE.parent
PROBE_IMAGES = 10_000
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""scikit-learn's C of the probe; the best on validation is tested."""
SEEDS = (0, 1, 2)
PHOTO_CUTS = 8
"""Random cuts of each held-out photo, beside the whole: there are few photos."""
NAMED_CLIPART = 24


def main() -> str:
    """Measure and write."""
    settings, params = load_settings(), load_params(ROOT)
    set_up(params.threads)
    networks = {
        "float32": load_layers(FOLDER / "student.npz"),
        "bundled": bundled.read(),
        "random": _random_layers(),
    }
    held_out = HeldOut(settings)
    metrics: Metrics = {"held_out_pictures": len(held_out.kinds)}
    metrics |= {f"teacher_agreement_{side}_all_detailed": held_out.ceiling(side) for side in SIDES}
    for name, layers in networks.items():
        for side in SIDES:
            if side == SMALL or name == "bundled":
                metrics |= _prefixed(f"{name}_probe_{side}", _probe(layers, side, params))
            if name != "random":
                metrics |= _prefixed(f"{name}_agreement_{side}", held_out.agreement(layers, side))
        # One seed shows what packing costs; each takes minutes.
        seeds = SEEDS[:1] if name == "float32" else SEEDS
        metrics |= _prefixed(f"{name}_full", _fine_tuned(layers, params, seeds))
        print(f"evaluate: {name}: {metrics}", flush=True)
    write_json(HERE / "metrics.json", metrics)
    _draw_curve(HERE / "curve.png", settings)
    write_csv(HERE / "names.csv", NAME_COLUMNS, held_out.names(networks["bundled"]))
    return (
        f"full on 1,000 images {metrics['bundled_full_accuracy']:.4f} (random "
        f"{metrics['random_full_accuracy']:.4f}), probe {metrics['bundled_probe_32_accuracy']:.4f}"
    )


def _prefixed(prefix: str, metrics: Metrics) -> Metrics:
    return {f"{prefix}_{key}": value for key, value in metrics.items()}


def _random_layers() -> Layers:
    network = weights.resnet50(224, top=True)
    return {
        layer.name: [np.asarray(weight) for weight in layer.get_weights()]
        for layer in network.layers
        if layer.weights
    }


def _probe(layers: Layers, side: int, params: Params) -> Metrics:
    """Return the test accuracy of logistic regression on the pooled features at `side` pixels."""
    backbone, model = feature_model(side, "0-255")
    weights.assign(backbone, layers, FOLDER)
    parts = {}
    for part, count in (("train", PROBE_IMAGES), ("validation", 0), ("test", 0)):
        images = open_images(ROOT / "data/images", side, part).sample(count, params.seed)
        parts[part] = predict(model, images, params.engine), images.labels
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300, tol=1e-3)).fit(
            *parts["train"]
        )
        for c in PENALTIES
    ]
    best = max(models, key=lambda model: model.score(*parts["validation"]))
    right = int((best.predict(parts["test"][0]) == parts["test"][1]).sum())
    count = len(parts["test"][1])
    return {**share_metrics("accuracy", right, count)}


def _fine_tuned(layers: Layers, params: Params, seeds: Sequence[int]) -> Metrics:
    """Return train-full's test accuracy by seed; their mean, with Student's 95 % interval."""
    accuracies = []
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        root = Path(name)
        (root / "data").mkdir()
        (root / "data/images").symlink_to(ROOT / "data/images")
        network = weights.resnet50(224, top=True)
        weights.assign(network, layers, FOLDER)
        weights.save(root / "data/weights", network, weights.Source("evaluated", top=True))
        for seed in seeds:
            seeded = params.model_copy(update={"seed": seed})
            trained = fine_tune(root, TrainFullConfig.of(seeded))
            accuracies.append(evaluation.accuracy(trained.predictions["test"]))
            trained.checkpoint.clear()
    metrics: Metrics = {
        f"accuracy_seed_{seed}": value for seed, value in zip(seeds, accuracies, strict=True)
    }
    if len(seeds) == 1:
        return metrics
    mean, error = float(np.mean(accuracies)), float(stats.sem(accuracies))
    half = float(stats.t.ppf(0.975, len(seeds) - 1)) * error
    return metrics | {"accuracy": mean, "accuracy_low": mean - half, "accuracy_high": mean + half}


@canvas.defaults()
def _draw_curve(path: Path, settings: Settings) -> None:
    """Draw agreement on held-out scenes against steps, and where the rate began to fall."""
    rows = read_csv(HERE / "distil.csv")
    steps = [int(row["step"]) for row in rows]
    figure = canvas.Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for side, colour in zip(SIDES, (figures.BLUE, figures.ORANGE), strict=True):
        values = [float(row[f"agreement_{side}"]) for row in rows]
        axes.plot(steps, values, color=colour, marker="o", markersize=3, label=f"{side} px")
    decay = settings.distil.steps - settings.distil.decay_steps
    axes.axvline(decay, color=figures.GREY, linestyle=":", label="the rate begins to fall")
    axes.set(xlabel="steps", ylabel="agreement with the teacher", ylim=(0, None))
    axes.legend(frameon=False)
    canvas.save(figure, path)


NAME_COLUMNS = ("package", "picture", "teacher", "student", "student_second", "student_third")


class HeldOut:
    """Pictures that no training scene showed, and what the teacher calls them."""

    def __init__(self, settings: Settings) -> None:
        side = settings.bank.teacher_side
        library = Library(FOLDER / "pictures", held_out=True)
        made = list(_held_out_scenes(library, side, settings.seed))
        self.pictures: list[Picture] = [picture for picture, _ in made]
        self.kinds: NDArray[np.str_] = np.array([picture.kind for picture in self.pictures])
        self._scenes: Image = np.stack([scene for _, scene in made])
        teacher = Teacher(settings.bank.teacher, side, 1, settings.threads)
        self.logits = teacher(self._scenes)[1]
        self._logits_at = {
            small: teacher(enlarged(shrunk(self._scenes, small), side))[1] for small in SIDES
        }

    def agreement(self, layers: Layers, side: int) -> Metrics:
        """Return the share of pictures that student and teacher call the same.

        By kind and in all, the teacher seeing the student's pixels, enlarged; and in all, the
        teacher seeing every detail.
        """
        classes = self._student(layers, side).argmax(1)
        same = classes == self._logits_at[side].argmax(1)
        metrics: Metrics = {kind: float(same[self.kinds == kind].mean()) for kind in KINDS}
        detailed = float((classes == self.logits.argmax(1)).mean())
        return metrics | {"all": float(same.mean()), "all_detailed": detailed}

    def ceiling(self, side: int) -> float:
        """Return the share that the teacher calls the same at `side` pixels as in every detail."""
        return float((self._logits_at[side].argmax(1) == self.logits.argmax(1)).mean())

    def _student(self, layers: Layers, side: int) -> NDArray[np.float32]:
        network = weights.resnet50(side, top=True)
        weights.assign(network, layers, FOLDER)
        images = shrunk(self._scenes, side)
        model = image_model(network, side, "0-255")
        return np.asarray(model.predict(images, batch_size=64, verbose=0))

    def names(self, layers: Layers) -> Iterator[tuple[str, ...]]:
        """Yield `NAME_COLUMNS` for every whole sample photo and some clip art."""
        student = imagenet.top(self._student(layers, LARGE))
        teacher = imagenet.top(self.logits)
        first = {picture: row for row, picture in reversed(list(enumerate(self.pictures)))}
        photos = [row for picture, row in first.items() if picture.package == "skimage/data"]
        clipart = [row for picture, row in first.items() if picture.kind == "clipart"]
        for row in sorted(photos) + sorted(clipart)[:: max(1, len(clipart) // NAMED_CLIPART)]:
            picture = self.pictures[row]
            best = [name for name, _ in student[row]]
            yield (picture.package, picture.name, teacher[row][0][0], *best)


def _held_out_scenes(library: Library, side: int, seed: int) -> Iterator[tuple[Picture, Image]]:
    """Yield whole pictures on white, and of photos some random cuts as well."""
    for index, picture in enumerate(library.pictures):
        pixels = library.pixels(index)
        yield picture, plain_scene(pixels, side)
        if picture.kind == "photo":
            random = np.random.default_rng([seed, index])
            for _ in range(PHOTO_CUTS):
                yield picture, plain_scene(_cut(random, pixels), side)


def _cut(random: np.random.Generator, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a square part of a third to all of the shorter side."""
    shorter = min(pixels.shape[:2])
    part = int(random.integers(shorter // 3, shorter + 1))
    top, left = (int(random.integers(n - part + 1)) for n in pixels.shape[:2])
    return pixels[top : top + part, left : left + part]


if __name__ == "__main__":
    run("evaluate", main)
