"""What the networks say of one picture: ResNet50 before any retraining, and the modes after it."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw.config.stages import BaselineConfig
from thaw.data.decoding import SIDE, resize
from thaw.findings import imagenet
from thaw.network import inference, weights
from thaw.network.backbone import image_model
from thaw.report.results import MODES
from thaw.serving.prediction import Predictor, as_input, load_predictor
from thaw.support import paths
from thaw.support.errors import ThawError
from thaw.support.places import kind

TOP = 3
"""How many classes are shown for each network."""
_ENGINE = "keras"
"""OpenVINO computes whole batches only, which is slower for a picture alone, and loads slowly."""
BEFORE = "Before retraining"
AFTER = {
    "frozen": "Head retrained (frozen)",
    "partial": "Later layers retrained (partial)",
    "full": "Every layer retrained (full)",
}
"""The heading of each mode."""

Answer = list[tuple[str, float]]
"""Names and probabilities, likeliest first."""


@dataclass(frozen=True)
class Witness:
    """A network that can say what a picture shows.

    Attributes:
        heading: which network it is.
        note: what it knows and sees, or why it cannot answer, as Markdown.
        answer: maps a canonical picture (224, 224, 3) uint8 to the network's answer; None if there
            is no such network.

    """

    heading: str
    note: str
    answer: Callable[[NDArray[np.uint8]], Answer] | None = None


def load_witnesses(root: Path = Path()) -> list[Witness]:
    """Return ResNet50 as it was, and then the three modes, from what `dvc repro` left in `root`.

    A network that is not there says so in its note. The others have answered once, because Keras
    takes seconds for the first answer, and two threads must not ask for it at once.

    Raises:
        ThawError: no mode has a model, or what is there is damaged.

    """
    folders = {mode: root / paths.MODELS / mode for mode in MODES}
    if not any(map(kind, folders.values())):
        raise ThawError(
            f"{root / paths.MODELS} holds no trained model. Run `dvc repro`, which trains all of "
            "them, or `dvc pull` where a remote has them."
        )
    witnesses = [_before(root), *(_after(mode, folder) for mode, folder in folders.items())]
    for witness in witnesses:
        if witness.answer:
            witness.answer(np.zeros((SIDE, SIDE, 3), np.uint8))
    return witnesses


def _before(root: Path) -> Witness:
    folder = root / paths.WEIGHTS
    if not kind(folder):
        return Witness(BEFORE, f"There are no weights in {paths.WEIGHTS}. Run `dvc repro`.")
    source = weights.load_source(folder)
    if not source.top:
        return Witness(BEFORE, f"These weights ({source.name}) cannot name what they see.")
    size = BaselineConfig.load(root).side
    resnet50 = weights.resnet50(size, top=True)
    weights.load(folder, resnet50)
    network = inference.ready(image_model(resnet50, size, "0-255"), _ENGINE)

    def answer(picture: NDArray[np.uint8]) -> Answer:
        (probabilities,) = network.run(resize(picture[np.newaxis], size))
        (best,) = imagenet.top(probabilities, TOP)
        return [(name.replace("_", " "), probability) for name, probability in best]

    note = (
        f"ImageNet's {imagenet.CLASSES:,} classes, seen at {size}&nbsp;px. Weights: {source.name}."
    )
    return Witness(BEFORE, note, answer)


def _after(mode: str, folder: Path) -> Witness:
    if not kind(folder):
        return Witness(AFTER[mode], f"There is no {paths.MODELS / mode}. Run `dvc repro`.")
    predictor = load_predictor(folder, _ENGINE)
    seen = predictor.description
    note = (
        f"{len(seen.classes):,} classes of {plain(seen.dataset)}, seen at {seen.image_size}&nbsp;px"
        f"{' in gray' if seen.gray else ''}."
    )
    return Witness(AFTER[mode], note, lambda picture: _classify(predictor, picture))


def _classify(predictor: Predictor, picture: NDArray[np.uint8]) -> Answer:
    """Return a classifier's answer for a canonical picture."""
    (rows,) = predictor.network.run(as_input(picture, predictor.description)[np.newaxis])
    return list(predictor.likeliest(rows[0], TOP))


def plain(text: str) -> str:
    """Return a user's text such that Markdown shows it as it is: `my_dogs*`."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def by_name(answer: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return the probabilities by name; a name that comes again (ImageNet has two cranes) counts.

    The second becomes `crane (2)`, because a page that shows names would else show only one.
    """
    seen: Counter[str] = Counter()
    probabilities = {}
    for name, probability in answer:
        seen[name] += 1
        key = f"{name} ({seen[name]})" if seen[name] > 1 else name
        probabilities[key] = probability
    return probabilities
