import os
import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, TEN_CLASSES

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import Images
from thaw.findings import baseline
from thaw.findings.baseline import ImageNetPredictions

JERSEY, JEAN, ELEPHANT = 610, 608, 386


def answers(*classes: int) -> np.ndarray:
    """Return a row for each class: 0.7 for it, 0.2 and 0.1 for the next two."""
    probabilities = np.zeros((len(classes), 1000), np.float32)
    for row, number in zip(probabilities, classes, strict=True):
        row[[number, number + 1, number + 2]] = 0.7, 0.2, 0.1
    return probabilities


NAMED = ImageNetPredictions(answers(JERSEY, JEAN, ELEPHANT, JEAN), answers(ELEPHANT))
LABELS = np.array([0, 1, 2, 3])
FASHION_MNIST = TEN_CLASSES.model_copy(update={"classes": CLASS_NAMES})


def test_zero_shot_accuracy_by_hand() -> None:
    metrics = baseline.naming_metrics({"0-255": NAMED}, LABELS, FASHION_MNIST, 64)
    assert (metrics["zero_shot_images"], metrics["zero_shot_image_size"]) == (4, 64)
    said = metrics["0-255"]
    assert said["zero_shot_accuracy"] == 0.5, "jersey and the first jean"
    assert said["zero_shot_accuracy_low"] < 0.5 < said["zero_shot_accuracy_high"]
    assert (said["commonest_class"], said["commonest_share"]) == ("jean", 0.5)
    assert said["train_image_6_top1_class"] == "African_elephant"
    assert said["train_image_6_top2_probability"] == pytest.approx(0.2)


def test_pictures_of_other_classes_have_names_but_no_zero_shot_accuracy() -> None:
    other = FASHION_MNIST.model_copy(update={"fashion_mnist": False, "classes": ("cat", "dog")})
    alone = ImageNetPredictions(NAMED.test, None)
    metrics = baseline.naming_metrics({"0-255": alone}, LABELS, other, 64)
    assert metrics == {"0-255": {"commonest_class": "jean", "commonest_share": 0.5}}


def test_the_linear_reference_sees_colour() -> None:
    labels = np.arange(40) % 2
    pixels = np.zeros((40, 32, 32, 3), np.uint8)
    pixels[labels == 0, ..., 1] = 200  # green or blue: the first channel is black in all
    pixels[labels == 1, ..., 2] = 200
    some = replace(images(pixels, labels), gray=False)
    assert baseline.linear_accuracy(some, some, threads=1)["linear_pixels_accuracy"] == 1.0


def test_shares_are_of_the_commonest() -> None:
    assert baseline.share_rows(NAMED, most=2) == [("jean", 0.5), ("African_elephant", 0.25)]


def images(pixels: np.ndarray, labels: np.ndarray) -> Images:
    rows = np.arange(len(labels))
    return Images(None, pixels, rows, labels, 100 + rows, pixels.shape[1], True)  # type: ignore[arg-type]


def test_every_test_image_is_listed_with_its_three_likeliest_classes() -> None:
    some = images(np.zeros((4, 32, 32, 3), np.uint8), LABELS)
    rows = list(baseline.prediction_rows("0-1", NAMED, some, CLASS_NAMES))
    assert len(rows) == 12
    assert rows[0] == ("0-1", 100, "T-shirt/top", 1, "jersey", 0.7)
    assert rows[7][:4] == ("0-1", 102, "Pullover", 2)
    assert len(rows[0]) == len(baseline.PREDICTION_COLUMNS)


def test_the_linear_reference_learns_what_is_linear() -> None:
    labels = np.arange(40) % 10
    pixels = np.zeros((40, 32, 32, 3), np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[label] = 200
    metrics = baseline.linear_accuracy(images(pixels, labels), images(pixels, labels), threads=1)
    assert metrics["linear_pixels_accuracy"] == 1.0
    assert metrics["chance_accuracy"] == 0.1


KERNELS = """
import stages.baseline
from threadpoolctl import threadpool_info
print({i["architecture"] for i in threadpool_info() if i["internal_api"] == "openblas"})
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels are those of x86")
@pytest.mark.parametrize("chosen", [{}, {"OPENBLAS_CORETYPE": "Sandybridge"}])
def test_neither_the_processor_nor_the_shell_chooses_the_kernels(chosen: dict[str, str]) -> None:
    others = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    ended = subprocess.run(
        [sys.executable, "-c", KERNELS],
        cwd=ROOT,
        env=others | chosen,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "{'Haswell'}\n"
