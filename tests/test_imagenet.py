import numpy as np
from conftest import TEN_CLASSES

from thaw.data.dataset import Dataset
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.findings import imagenet


def test_the_table_is_ilsvrc_2012s() -> None:
    names = imagenet.class_names()
    assert len(names) == imagenet.CLASSES
    known = {
        0: "tench",
        101: "tusker",
        285: "Egyptian_cat",
        385: "Indian_elephant",
        386: "African_elephant",
        608: "jean",
        610: "jersey",
        770: "running_shoe",
        774: "sandal",
        999: "toilet_tissue",
    }
    assert {number: names[number] for number in known} == known


def test_every_mapped_class_exists_and_every_fashion_class_but_shirt_is_reached() -> None:
    assert set(imagenet.TO_FASHION) <= set(imagenet.class_names())
    assert set(imagenet.TO_FASHION.values()) == set(CLASS_NAMES) - {"Shirt"}


def test_top_names_the_likeliest_first() -> None:
    probabilities = np.zeros((1, 1000), np.float32)
    probabilities[0, [386, 101, 385]] = 0.561, 0.365, 0.074
    best = imagenet.top(probabilities)[0]
    assert [name for name, _ in best] == ["African_elephant", "tusker", "Indian_elephant"]
    np.testing.assert_allclose([p for _, p in best], [0.561, 0.365, 0.074], rtol=1e-6)


def dataset(*classes: str, fashion_mnist: bool = False) -> Dataset:
    changes = {"classes": classes, "fashion_mnist": fashion_mnist}
    return TEN_CLASSES.model_copy(update=changes)


def test_the_classes_of_fashion_mnist() -> None:
    labels = imagenet.labels_of(dataset(*CLASS_NAMES, fashion_mnist=True))
    assert labels is not None
    np.testing.assert_array_equal(labels[[610, 608, 386, 770]], [0, 1, -1, 7])


def test_classes_that_are_called_as_imagenets_correspond() -> None:
    labels = imagenet.labels_of(dataset("african elephant", "n01440764", "Crane"))
    assert labels is not None
    assert {number: labels[number] for number in np.flatnonzero(labels >= 0)} == {
        386: 0,
        0: 1,  # tench
        134: 2,  # ImageNet has two classes of this name
        517: 2,
    }


def test_classes_that_imagenet_lacks_have_no_zero_shot_accuracy() -> None:
    assert imagenet.labels_of(dataset("tench", "my cat")) is None
    assert imagenet.labels_of(dataset("fur coat", "fur_coat")) is None, "both would be one"


def test_shares_by_hand() -> None:
    shares = imagenet.shares(np.array([608, 610, 610, 0]))
    assert list(shares.items()) == [("jersey", 0.5), ("jean", 0.25), ("tench", 0.25)]
