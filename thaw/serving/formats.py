"""The formats of exports: how a classifier is written in each, and run by the format's own runtime.

What others need to know about a classifier goes into its file too, as strings by name. Only a
SavedModel has no place for it.
"""

import functools
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thaw.data.image_store import Images
from thaw.serving import litert
from thaw.support.errors import ThawError

About = Mapping[str, str]
"""What others need to know about a classifier: class names as a JSON list, its size and so on."""
Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Maps images (n, side, side, 3) uint8 to probabilities (n, classes) float32."""
ABOUT_FILE = "thaw.json"
"""The file that is added to formats that are zip archives, or that may end in one."""


@dataclass(frozen=True)
class Format:
    """A format of exports."""

    file: str
    """The name of the model: a file, or the folder of a SavedModel."""
    runtime: str
    """The package that runs it."""
    write: Callable[[keras.Model, Path, About], None]
    load: Callable[[Path], Run]
    extra: tuple[str, ...] = ()
    """Packages that requirements.lock does not install."""


def require_packages(name: str) -> None:
    """Check that the packages of a format are installed.

    Raises:
        ThawError: one is missing; the message says how to install it.

    """
    missing = [package for package in FORMATS[name].extra if find_spec(package) is None]
    if missing:
        raise ThawError(
            f"--format {name} needs packages that thaw itself does not: "
            f"{', '.join(FORMATS[name].extra)}. Received: no {', '.join(missing)}. Install them "
            "with `make export-setup`."
        )


def int8(images: Images) -> Format:
    """Return LiteRT's format with 8-bit integers, whose ranges are measured on `images`."""
    return replace(FORMATS["litert"], write=functools.partial(_write_litert, calibration=images))


def _write_keras(model: keras.Model, path: Path, about: About) -> None:
    model.save(path)
    _add_to_zip(path, about)


def _load_keras(path: Path) -> Run:
    model = keras.models.load_model(path, compile=False)
    return lambda images: np.asarray(model.predict_on_batch(images))


def _write_saved_model(model: keras.Model, path: Path, about: About) -> None:
    # Not Keras' exporter, which stores every weight twice.
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    module.serve = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec(model.input_shape, tf.uint8, name="images")],
    )
    signatures = dict.fromkeys(("serve", "serving_default"), module.serve)
    tf.saved_model.save(module, str(path), signatures)


def _load_saved_model(path: Path) -> Run:
    model = tf.saved_model.load(str(path))
    # A function that held only `model.serve` would lose the model's variables.
    return lambda images: np.asarray(model.serve(images))


def _write_onnx(model: keras.Model, path: Path, about: About) -> None:
    import onnx  # of the extra

    # Without a signature Keras wants a model that has been called.
    images = keras.InputSpec(shape=model.input_shape, dtype="uint8", name="images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras mends tf2onnx for NumPy 2
        # str: the exporter takes no other path.
        model.export(str(path), format="onnx", verbose=False, input_signature=[images])
    written = onnx.load(path)
    onnx.helper.set_model_props(written, dict(about))
    onnx.save(written, path)


def _load_onnx(path: Path) -> Run:
    from onnxruntime import InferenceSession  # of the extra

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _write_openvino(model: keras.Model, path: Path, about: About) -> None:
    import openvino  # the import takes a fifth of a second

    with tempfile.TemporaryDirectory() as folder:
        # Not `openvino.convert_model`, which Keras' exporter calls: it would ask for consent to
        # telemetry.
        model.export(folder, format="tf_saved_model", verbose=False)
        network = openvino.Core().read_model(folder)
        for key, value in about.items():
            network.set_rt_info(value, ["thaw", key])
        openvino.save_model(network, path, compress_to_fp16=False)


def _load_openvino(path: Path) -> Run:
    import openvino

    # The default is bfloat16 on processors that have it.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda images: compiled(images)[0]


def _write_litert(
    model: keras.Model, path: Path, about: About, calibration: Images | None = None
) -> None:
    litert.write(model, path, calibration)
    _add_to_zip(path, about)


def _add_to_zip(path: Path, about: About) -> None:
    """Add a file to a zip archive, or an archive to a file whose readers ignore what follows."""
    with zipfile.ZipFile(path, "a") as archive:
        # ZipInfo's default date, so that the time changes no byte.
        archive.writestr(zipfile.ZipInfo(ABOUT_FILE), json.dumps(dict(about), indent=2))


FORMATS = {
    "keras": Format("model.keras", "keras", _write_keras, _load_keras),
    "saved_model": Format("model", "tensorflow", _write_saved_model, _load_saved_model),
    "onnx": Format(
        "model.onnx", "onnxruntime", _write_onnx, _load_onnx, ("onnx", "tf2onnx", "onnxruntime")
    ),
    "litert": Format("model.tflite", "tensorflow", _write_litert, litert.load),
    "openvino": Format("model.xml", "openvino", _write_openvino, _load_openvino),
}
"""The formats, by the name that --format takes."""
