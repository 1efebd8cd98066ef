"""thaw.predict: what it prints for files, folders, names on standard input, and bad pictures."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, refusal
from PIL import Image

from thaw.data.decoding import decode
from thaw.network.classifier import load_classifier
from thaw.serving.prediction import find_files, load_predictor
from thaw.support.errors import ThawError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures, one of them in a subfolder, one that is cut off, and hidden files."""
    folder = tmp_path_factory.mktemp("pictures") / "meine Bilder"
    (folder / "more").mkdir(parents=True)
    names = ["a.png", "b.jpg", "line\nbreak.png", "ü.webp", "more/e.png"]
    for name, pixels in zip(names, PIXELS, strict=True):
        Image.fromarray(pixels).save(folder / name)
    content = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"")
    return folder


def predict(*arguments: str, names: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "thaw.predict", "--engine", "keras", *arguments]
    return subprocess.run(
        command, cwd=ROOT, input=names, capture_output=True, text=True, check=False
    )


def test_a_folders_files_are_found_in_order(pictures: Path) -> None:
    (pictures / "more/loop").symlink_to(pictures)
    try:
        found = [path.relative_to(pictures).as_posix() for path in find_files([str(pictures)])]
    finally:
        (pictures / "more/loop").unlink()
    assert found == ["a.png", "b.jpg", "cut.png", "line\nbreak.png", "ü.webp", "more/e.png"]
    assert list(find_files(["nowhere.png"])) == [Path("nowhere.png")], "a line will say so"


def test_predictions_are_the_classifiers(whole_classifier: Path, pictures: Path) -> None:
    """On the picture as `decode` gives it, made gray and 32 px: it learned on Fashion-MNIST."""
    predictor = load_predictor(whole_classifier, "keras")
    cut, good = predictor.predict([pictures / "cut.png", pictures / "a.png"], top=3)
    assert cut.error.startswith("is cut off")
    assert cut.classes == ()
    gray = Image.fromarray(decode(pictures / "a.png")).resize((32, 32), Image.Resampling.BILINEAR)
    pixels = np.repeat(np.asarray(gray.convert("L"))[np.newaxis, ..., np.newaxis], 3, axis=-1)
    expected = load_classifier(whole_classifier).predict(pixels, verbose=0)[0]
    order = np.argsort(-expected)[:3]
    assert [name for name, _ in good.classes] == [predictor.description.classes[i] for i in order]
    np.testing.assert_allclose([p for _, p in good.classes], expected[order], atol=1e-5)


def test_one_bad_picture_is_a_line_and_not_the_end(whole_classifier: Path, pictures: Path) -> None:
    ended = predict("--model", str(whole_classifier), "--json", "--top", "2", str(pictures))
    assert ended.returncode == 1
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(lines) == 6
    (bad,) = (line for line in lines if "error" in line)
    assert bad["file"].endswith("cut.png")
    for line in lines:
        if line is not bad:
            assert [set(each) for each in line["classes"]] == [{"class", "probability"}] * 2
    assert "Traceback" not in ended.stderr


def test_names_come_from_standard_input(whole_classifier: Path, pictures: Path) -> None:
    names = [str(pictures / name) for name in ("a.png", "ü.webp")]
    ended = predict("--model", str(whole_classifier), "--csv", "-", names="\n".join(names))
    assert ended.returncode == 0, ended.stderr
    rows = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert [row["file"] for row in rows] == names
    assert {row["error"] for row in rows} == {""}
    assert all(float(row["probability_1"]) >= float(row["probability_3"]) for row in rows)


def test_what_is_wrong_with_the_model_or_the_arguments_is_said() -> None:
    assert "nowhere must hold a classifier that thaw saved" in refusal(
        "thaw.predict", "--model", "nowhere", "x.png"
    )
    assert "must be 1 or more. Received: '0'" in refusal("thaw.predict", "--top", "0", "x.png")


@pytest.fixture(scope="module")
def classifier(whole_classifier: Path) -> keras.Model:
    return load_classifier(whole_classifier)


@pytest.mark.parametrize(
    ("images", "received"),
    [
        (np.zeros((28, 28)), r"\(28, 28\) float64"),
        (np.zeros((32, 32, 3), np.uint8), r"\(32, 32, 3\) uint8"),
        (np.zeros((5, 28, 28, 1), np.uint8), r"\(5, 28, 28, 1\) uint8"),
        (np.zeros((5, 224, 224, 3), np.uint8), r"\(5, 224, 224, 3\) uint8"),
        (np.zeros((5, 32, 32, 3), np.float32), r"\(5, 32, 32, 3\) float32"),
        (np.zeros((5, 32, 32, 3), np.int64), r"\(5, 32, 32, 3\) int64"),
        ([[0]], "list"),
        ("picture.png", "str"),
    ],
    ids=str,
)
def test_a_classifier_says_which_images_it_takes(
    classifier: keras.Model, images: object, received: str
) -> None:
    expected = r"takes images \(n, 32, 32, 3\) uint8, RGB, 0 to 255.* Received: "
    for call in (classifier, classifier.predict, classifier.predict_on_batch):
        with pytest.raises(ThawError, match=f"{expected}{received}\\. "):
            call(images)


def test_a_classifier_takes_arrays_tensors_and_datasets(classifier: keras.Model) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    expected = classifier.predict(pixels, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices(pixels).batch(2)
    for answers in (
        classifier(pixels),
        classifier(tf.constant(pixels)),
        classifier.predict(batches, verbose=0),
        classifier.predict_on_batch(pixels),
    ):
        np.testing.assert_allclose(answers, expected, atol=1e-5)
