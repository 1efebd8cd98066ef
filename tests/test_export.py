"""Exports: run by their own runtimes, with what others need to know; no file is lost."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import openvino
import pytest
from conftest import ROOT, SMALL, read_entries, refusal, small_params, store_small, tree

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.network.backbone import image_model
from thaw.network.classifier import DESCRIPTION_FILE, describe
from thaw.serving import checking, exporting, formats
from thaw.serving.exporting import EXPORT_FILE, export
from thaw.serving.formats import FORMATS
from thaw.support.errors import ThawError
from thaw.support.files import atomic_folder


@pytest.fixture(scope="module")
def classifier() -> keras.Model:
    """A classifier of a few weights, in place of ResNet50."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((SMALL, SMALL, 3)),
            keras.layers.Conv2D(8, 3, strides=4),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    head = keras.Sequential([keras.Input((8,)), keras.layers.Dense(10, activation="softmax")])
    return image_model(network, SMALL, "0-1", head)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, classifier: keras.Model) -> Iterator[Path]:
    """A project with images, and a model's folder from which `classifier` is loaded."""
    root = tmp_path_factory.mktemp("project")
    params = small_params(read_entries())
    dataset = store_small(root / "data/images", params)
    description = describe(dataset, SMALL, "0-1", params.head, "random")
    (root / "frozen").mkdir()
    (root / "frozen" / DESCRIPTION_FILE).write_text(description.model_dump_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "load_classifier", lambda folder: classifier)
        yield root


def exported(root: Path, name: str, **options: Any) -> tuple[Path, dict[str, Any]]:
    """Return an export's folder and the content of export.json, made once for each format."""
    target = root / "exports" / "-".join([name, *options])
    if not target.exists():
        export(root / "frozen", target, name, root=root, **options)
    return target, json.loads((target / EXPORT_FILE).read_text())


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SMALL, SMALL, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(classifier: keras.Model, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(classifier.predict_on_batch(pixels))


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_gives_what_keras_gives(
    root: Path, name: str, pixels: np.ndarray, expected: np.ndarray
) -> None:
    """For any number of images, uint8 to float32."""
    for package in FORMATS[name].extra:
        pytest.importorskip(package, reason="make export-setup")
    folder, content = exported(root, name)
    run = FORMATS[name].load(folder / content["model"])
    for count in (1, 3):
        received = run(pixels[:count])
        assert received.dtype == np.float32
        np.testing.assert_allclose(received, expected[:count], atol=1e-4)
    assert content["classes"] == list(CLASS_NAMES)
    assert (content["image_size"], content["dataset"]) == (SMALL, "Fashion-MNIST")
    assert "224 px, then to 32 px, then made gray" in content["decode"]
    check = content["check"]
    assert (check["images"], check["origin"]) == (20, "test images of Fashion-MNIST")
    assert check["largest_difference"] < checking.TOLERANCE
    assert check["agreement"] == 1
    assert check["accuracy"] == check["keras_accuracy"]
    assert content["bytes"] == sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != EXPORT_FILE
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_resnet50_is_exported(whole_classifier: Path, tmp_path: Path, name: str) -> None:
    for package in FORMATS[name].extra:
        pytest.importorskip(package, reason="make export-setup")
    content = export(whole_classifier, tmp_path / "out", name, root=tmp_path)
    assert content["check"]["agreement"] == 1
    assert 90e6 < content["bytes"] < 100e6, "each weight once, in float32"


@pytest.mark.slow
def test_resnet50_in_int8_takes_a_quarter(whole_classifier: Path, tmp_path: Path) -> None:
    shutil.copytree(whole_classifier.parent / "images", tmp_path / "data/images")
    content = export(whole_classifier, tmp_path / "out", "litert", int8=True, root=tmp_path)
    assert content["bytes"] < 30e6


def in_keras(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(formats.ABOUT_FILE))


def in_openvino(path: Path) -> dict[str, str]:
    info = openvino.Core().read_model(path).rt_info["thaw"]
    return {key: info[key].value for key in ("classes", "image_size", "decode")}


def in_onnx(path: Path) -> dict[str, str]:
    onnx = pytest.importorskip("onnx", reason="make export-setup")
    return {each.key: each.value for each in onnx.load(path).metadata_props}


@pytest.mark.parametrize(
    ("name", "read"),
    [("keras", in_keras), ("litert", in_keras), ("openvino", in_openvino), ("onnx", in_onnx)],
)
def test_the_file_itself_knows_its_classes(root: Path, name: str, read: Any) -> None:
    if name == "onnx":
        pytest.importorskip("tf2onnx", reason="make export-setup")
    folder, content = exported(root, name)
    about = read(folder / content["model"])
    assert json.loads(about["classes"]) == list(CLASS_NAMES)
    assert about["image_size"] == "32"
    assert about["decode"] == content["decode"]


def test_a_keras_file_loads_without_thaw(
    root: Path, tmp_path: Path, pixels: np.ndarray, expected: np.ndarray
) -> None:
    folder, content = exported(root, "keras")
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys, keras, numpy; model = keras.models.load_model(sys.argv[1]);"
        "numpy.save('out.npy', model.predict_on_batch(numpy.load('pixels.npy')));"
        "assert 'thaw' not in sys.modules"
    )
    # -I: neither the working folder nor PYTHONPATH, where thaw might be.
    command = [sys.executable, "-I", "-c", code, str(folder / content["model"])]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


def test_int8_says_what_it_costs(root: Path, pixels: np.ndarray) -> None:
    folder, content = exported(root, "litert", int8=True)
    assert content["int8"]
    check = content["check"]
    assert check["largest_difference"] > 0
    assert {"accuracy", "keras_accuracy", "agreement"} <= check.keys()
    assert FORMATS["litert"].load(folder / content["model"])(pixels).dtype == np.float32


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"litert"}))
def test_int8_is_litert_alone(root: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ThawError, match=f"--format litert alone. Received: --format {name}"):
        export(root / "frozen", tmp_path / "out", name, int8=True, root=root)
    assert not tree(tmp_path)


def test_without_the_models_images_the_check_says_so(root: Path, tmp_path: Path) -> None:
    content = export(root / "frozen", tmp_path / "out", "keras", root=tmp_path)
    assert content["check"]["origin"] == "generated images"
    assert "accuracy" not in content["check"]
    with pytest.raises(ThawError, match="Received: no images of Fashion-MNIST"):
        export(root / "frozen", tmp_path / "int8", "litert", int8=True, root=tmp_path)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras files that lose the last layer's weights on the way."""

    def write(model: keras.Model, path: Path, about: formats.About) -> None:
        copy = keras.models.clone_model(model)
        copy.save(path)

    monkeypatch.setitem(
        FORMATS, "keras", formats.Format("model.keras", "keras", write, FORMATS["keras"].load)
    )


@pytest.mark.usefixtures("broken")
def test_a_broken_export_is_refused_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ThawError, match=r"Keras' probabilities to 0.0001. Received: a difference"):
        export(root / "frozen", tmp_path / "a/b/out", "keras", root=root)
    assert not tree(tmp_path)


@pytest.mark.usefixtures("broken")
def test_a_broken_export_leaves_the_former_one(root: Path, tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as scratch:
        (scratch / "model.keras").write_text("the former one")
        (scratch / EXPORT_FILE).write_text('{"format": "keras", "thaw_version": "0"}')
    before = tree(tmp_path)
    with pytest.raises(ThawError, match="Nothing was kept"):
        export(root / "frozen", tmp_path / "out", "keras", root=root)
    assert tree(tmp_path) == before


def test_a_former_export_is_replaced(root: Path, tmp_path: Path) -> None:
    export(root / "frozen", tmp_path / "out", "keras", root=root)
    (tmp_path / "out/model.keras").write_text("damaged")
    export(root / "frozen", tmp_path / "out", "keras", root=root)
    keras.models.load_model(tmp_path / "out/model.keras")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": "keras"}'])
def test_a_users_folder_is_not_replaced(root: Path, tmp_path: Path, content: str | None) -> None:
    """Even if the files in it have the names that thaw would write."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/model.keras").write_text("the user's")
    if content is not None:
        (tmp_path / "out" / EXPORT_FILE).write_text(content)
    before = tree(tmp_path)
    with pytest.raises(ThawError, match=r"out must not exist, be empty or hold an earlier export"):
        export(root / "frozen", tmp_path / "out", "keras", root=root)
    assert tree(tmp_path) == before


def test_a_file_of_the_users_in_an_export_is_kept(root: Path, tmp_path: Path) -> None:
    shutil.copytree(exported(root, "keras")[0], tmp_path / "out")
    (tmp_path / "out/notes.txt").write_text("the user's")
    with pytest.raises(ThawError, match=r"notes\.txt is not thaw's"):
        export(root / "frozen", tmp_path / "out", "keras", root=root)
    assert (tmp_path / "out/notes.txt").read_text() == "the user's"


def test_a_missing_package_is_told(root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "tf2onnx" else name)
    with pytest.raises(ThawError, match=r"Received: no tf2onnx\. .* `make export-setup`"):
        export(root / "frozen", tmp_path / "out", "onnx", root=root)
    assert not tree(tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((20, 10), np.nan, np.float32), "0% of them finite"),
        (np.zeros((20, 9), np.float32), r"Received: \(20, 9\)"),
    ],
)
def test_an_export_without_probabilities_is_refused(values: np.ndarray, said: str) -> None:
    with pytest.raises(ThawError, match=said):
        checking.compare(
            values, np.zeros((20, 10), np.float32), checking.generated_images(SMALL, 20)
        )


def test_a_mode_is_a_folder_of_the_projects() -> None:
    assert exporting.model_folder("full") == Path("data/models/full")
    assert exporting.export_folder("full", "litert", int8=True) == Path("exports/full/litert-int8")
    assert exporting.export_folder("some/net", "onnx", int8=False) == Path("exports/net/onnx")
    with pytest.raises(ThawError, match="Received: fulll, which is not there"):
        exporting.model_folder("fulll")


def test_a_mistake_is_one_message(tmp_path: Path) -> None:
    said = refusal("thaw.export", str(tmp_path), "--format", "keras", "--to", str(tmp_path / "out"))
    assert said.startswith("error: ")
    assert "must hold a classifier that thaw saved" in said
    assert not tree(tmp_path)


def test_what_exports_write_is_ignored_by_git_and_dvc() -> None:
    ignored = subprocess.run(["git", "check-ignore", "exports/full"], cwd=ROOT, check=False)
    assert ignored.returncode == 0
    assert "/exports" in (ROOT / ".dvcignore").read_text().splitlines()
