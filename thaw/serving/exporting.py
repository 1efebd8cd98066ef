"""Export a classifier: write it, run it as others will, and only then put it in its place."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from thaw import __version__
from thaw.data.decoding import SIDE
from thaw.network.classifier import Description, load_classifier, read_description
from thaw.report.results import MODES
from thaw.serving import checking, formats
from thaw.serving.checking import Check
from thaw.serving.formats import FORMATS, Format
from thaw.support import paths
from thaw.support.errors import ThawError
from thaw.support.files import atomic_folder, require_space
from thaw.support.places import FOLDER, check_input, check_output, kind
from thaw.support.tables import write_json

EXPORTS = Path("exports")
EXPORT_FILE = "export.json"
"""What thaw writes beside every exported model. A folder without it is not an export."""
CALIBRATION = 500
"""Training images on which the ranges of 8-bit activations are measured."""


def model_folder(model: str, root: Path = Path()) -> Path:
    """Return the folder of a classifier, given a mode or the path of such a folder.

    Raises:
        ThawError: it is neither.

    """
    folder = root / paths.MODELS / model if model in MODES else Path(model)
    if model not in MODES and kind(folder, follow=True) != FOLDER:
        raise ThawError(
            f"the model must be {', '.join(MODES)} or the folder of a classifier that thaw saved. "
            f"Received: {model}, which is {kind(folder, follow=True) or 'not there'}."
        )
    return folder


def export_folder(model: str, name: str, int8: bool) -> Path:
    """Return where an export goes by default: exports/MODE/FORMAT, or FORMAT-int8."""
    return EXPORTS / Path(model).resolve().name / (f"{name}-int8" if int8 else name)


def export(
    source: Path, target: Path, name: str, *, int8: bool = False, root: Path = Path()
) -> dict[str, Any]:
    """Export the classifier in the folder `source` to the folder `target`.

    The export runs on up to 1,000 test images before it replaces an older one in `target`. If the
    test images of the model's dataset are not in `root`, it runs on generated images.

    Args:
        source: a folder that `thaw.network.classifier.load_classifier` reads.
        target: a folder that does not exist, is empty, or holds an export in the same format.
        name: keras, saved_model, onnx, litert or openvino.
        int8: for litert: store and compute 8-bit integers.
        root: the project's folder, with data/images.

    Returns:
        The content of export.json.

    Raises:
        ThawError: the model or the images are damaged, `target` holds something else, packages are
            missing, or the export does not give what Keras gives.
        OSError: there is not enough space on disk.

    """
    _require_int8_of_litert(name, int8)
    formats.require_packages(name)
    _require_own(target)
    description = read_description(source)
    sample = checking.own_images(root, description, "test", checking.MOST)
    sample = sample or checking.generated_images(description.image_size)
    kind_ = _quantised(root, description) if int8 else FORMATS[name]
    model = load_classifier(source)
    # Keras' own class, so that a program without thaw can load it.
    model = keras.Model(model.input, model.output, name=model.name)
    expected = checking.probabilities(
        lambda images: np.asarray(model.predict_on_batch(images)), sample.images
    )
    require_space(target, 3 * 4 * model.count_params())  # the model, and what converters write
    with _without_new_parents(target), atomic_folder(target) as scratch:
        path = scratch / kind_.file
        about = _about(description)
        kind_.write(model, path, {key: _text(value) for key, value in about.items()})
        received = checking.probabilities(kind_.load(path), sample.images)
        check = checking.compare(received, expected, sample)
        if not int8:
            checking.require_rounding_only(check)
        content = {
            **about,
            "format": name,
            "int8": int8,
            "model": kind_.file,
            "bytes": sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file()),
            "check": {"runtime": f"{kind_.runtime} {version(kind_.runtime)}", **_known(check)},
        }
        write_json(scratch / EXPORT_FILE, content, digits=None)
    return content


def _known(check: Check) -> dict[str, Any]:
    return {key: value for key, value in asdict(check).items() if value is not None}


def _quantised(root: Path, description: Description) -> Format:
    images = checking.own_images(root, description, "train", CALIBRATION)
    if images is None:
        raise ThawError(
            "--int8 measures the ranges of 8-bit numbers on training images. Received: no images "
            f"of {description.dataset} in {root / paths.IMAGES}. Run `dvc repro preprocess` in the "
            "project that trained the model, and export there."
        )
    return formats.int8(images.images)


def _require_int8_of_litert(name: str, int8: bool) -> None:
    if int8 and name != "litert":
        raise ThawError(
            f"--int8 is there for --format litert alone. Received: --format {name}. (OpenVINO "
            "would need one more package for it, nncf.)"
        )


def _about(description: Description) -> dict[str, Any]:
    """Return what others need to know to use an export."""
    size = description.image_size
    gray = ", then made gray" if description.gray else ""
    return {
        "classes": list(description.classes),
        "image_size": size,
        "input": f"images (n, {size}, {size}, 3) uint8, RGB, 0 to 255",
        "output": f"probabilities (n, {len(description.classes)}) float32, in the order of classes",
        "decode": (
            "a picture upright by its EXIF tag, its centre square, resized (bilinear, "
            f"antialiased) to {SIDE} px, then to {size} px{gray}"
        ),
        "dataset": description.dataset,
        "weights": description.weights,
        "thaw_version": __version__,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _require_own(target: Path) -> None:
    """Check that an export may go to `target`.

    Raises:
        ThawError: something is there that thaw did not export.

    """
    check_output(target, FOLDER)
    if kind(target) and any(target.iterdir()) and not _is_export(target):
        raise ThawError(
            f"{target} must not exist, be empty or hold an earlier export, since an export "
            f"replaces the whole folder. Received: a folder without thaw's {EXPORT_FILE}. Name "
            "another with --to."
        )


def _is_export(folder: Path) -> bool:
    try:
        content = json.loads(check_input(folder / EXPORT_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"format", "thaw_version"} <= content.keys()


@contextmanager
def _without_new_parents(folder: Path) -> Iterator[None]:
    """Remove the parents that the block made for `folder` if it ends with an error."""
    new = [parent for parent in folder.absolute().parents if not parent.exists()]
    try:
        yield
    except BaseException:
        for parent in new:  # the innermost first
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()
        raise
