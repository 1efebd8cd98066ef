"""Where ResNet50's weights come from: Keras' published ones, thaw's own, random ones, or a file."""

import socket
from pathlib import Path
from urllib.error import HTTPError

import keras
import tenacity
from keras.src.applications import resnet as keras_resnet
from keras.src.backend.config import keras_home

from thaw import ThawError, bundled, hdf5
from thaw.files import sha256
from thaw.params import WEIGHT_SOURCES
from thaw.weights import TOP_LAYER, Source, assign, no_weights, read_layers, resnet50

STALL_TIMEOUT = 30.0
"""Seconds without a byte after which Keras' download is given up; Keras itself sets none."""
TRIES = 3


def obtain(weights: str, root: Path) -> tuple[keras.Model, Source]:
    """Return a ResNet50 with the weights that params.yaml's `weights` names, and their source.

    `random` draws from Keras' global generator: seed it first.

    Raises:
        ThawError: the published file cannot be had, or the file is missing or of another network.

    """
    if weights == "random":
        return resnet50(224, top=True), Source("random", top=True)
    if weights == "imagenet":
        return _published(), Source("imagenet", top=True)
    if weights == "bundled":
        model = resnet50(224, top=True)
        assign(model, bundled.read(), bundled.FOLDER / bundled.WEIGHTS_FILE)
        return model, Source(f"bundled {bundled.digest()}", top=True)
    path = root / weights
    if not path.is_file():
        raise ThawError(
            f"weights: {weights} is no file. Name a .weights.h5 or .h5 file, relative to the "
            "project's folder or absolute (in a queued experiment absolute: that runs in a copy of "
            f"the project), or one of: {', '.join(WEIGHT_SOURCES)}."
        )
    if flaw := hdf5.flaw(path):
        raise no_weights(path, flaw)
    has_top = _has_top(path)
    model = resnet50(224, top=has_top)
    assign(model, read_layers(path, model), path)
    return model, Source(f"file {sha256(path)[:8]}", top=has_top)


def _has_top(path: Path) -> bool:
    """Whether the file holds a 1000-class layer."""
    return bool(read_layers(path, resnet50(224, top=True)).get(TOP_LAYER))


def published_url() -> str:
    """Return the address that Keras publishes ResNet50's ImageNet weights at, top included."""
    return f"{keras_resnet.BASE_WEIGHTS_PATH}{_published_name()}"


def _published_name() -> str:
    return "resnet50_weights_tf_dim_ordering_tf_kernels.h5"


def _published() -> keras.Model:
    """Let Keras' own loader fetch and verify its file, or find it in its cache."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_TIMEOUT)
    try:
        return _load_published()
    except Exception as error:  # Keras raises a bare Exception where its download fails
        raise ThawError(
            "ResNet50's ImageNet weights cannot be had.\n"
            f"  address: {published_url()}\n"
            f"  Received: {type(error).__name__}: {error}\n"
            f"Put the file there by hand: {Path(keras_home()) / 'models' / _published_name()}\n"
            "or choose other weights: `-S weights=bundled`, `-S weights=/a/file.weights.h5`."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _is_passing(error: BaseException) -> bool:
    """Whether trying again may help: not after the server's own no, nor after a wrong hash."""
    cause = error.__context__  # Keras wraps urllib's errors
    if isinstance(cause, HTTPError):
        return cause.code >= 500 or cause.code == 429
    return isinstance(error, OSError) or isinstance(cause, OSError)


@tenacity.retry(
    retry=tenacity.retry_if_exception(_is_passing),
    stop=tenacity.stop_after_attempt(TRIES),
    wait=tenacity.wait_exponential(multiplier=0.5, max=10),
    reraise=True,
)
def _load_published() -> keras.Model:
    return keras.applications.ResNet50(weights="imagenet", name="resnet50")
