"""The ImageNet weights that Keras publishes: the user's copy of the file, or Keras' server.

Keras' own loader deletes a copy whose digest is another before it downloads, and where its folder
is read-only it looks in another. Here the copy is only ever read.
"""

import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import keras
import tenacity

from thaw.network.weights import resnet50
from thaw.support.environment import keras_home
from thaw.support.errors import ThawError
from thaw.support.files import SCRATCH, md5
from thaw.support.keras_private import BASE_WEIGHTS_PATH, WEIGHTS_HASHES

NAME = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
STALL_TIMEOUT = 30.0
"""Seconds without a byte after which Keras' download is given up; Keras itself sets none."""
TRIES = 3


def url() -> str:
    """Return the address that Keras publishes ResNet50's ImageNet weights at, top included."""
    return f"{BASE_WEIGHTS_PATH}{NAME}"


def copy() -> Path:
    """Return where Keras keeps the file, and a user may put it: in KERAS_HOME, or in ~/.keras."""
    return keras_home() / "models" / NAME


def load() -> keras.Model:
    """Return a ResNet50 with Keras' published weights, top included.

    A download is kept for the next time, where the place for it is free and writable.

    Raises:
        ThawError: the user's copy holds other bytes, or there is none and the server gives none.

    """
    model = resnet50(224, top=True)
    if os.path.lexists(copy()):
        _check(copy())
        model.load_weights(copy())
        return model
    with _scratch() as folder:
        fetched = _fetch(Path(folder))
        model.load_weights(fetched)
        with suppress(OSError):  # no such folder, another file system, or now there is a file
            os.link(fetched, copy())
    return model


def _check(path: Path) -> None:
    """Hold the user's copy to its digest.

    Raises:
        ThawError: it is another file or none; it stays as it is.

    """
    expected = WEIGHTS_HASHES["resnet50"][0]
    try:
        if not path.is_file():
            raise OSError("a folder, a link that leads nowhere, or the like")
        received = md5(path)
    except OSError as error:
        received = str(error)
    if received != expected:
        raise ThawError(
            f"{path} is not the file that Keras publishes now: expected MD5 {expected}. "
            f"Received: {received}. It may be cut off, or the one that Keras published until 2019. "
            "thaw leaves it as it is. Use it all the same by naming its path "
            f"(`-S weights={path}`), move it away (then thaw downloads {url()}), or choose "
            "`-S weights=bundled`."
        )


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Make a folder to download to: beside the copy's place, or elsewhere if that is read-only."""
    try:
        copy().parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=SCRATCH, dir=copy().parent)
    except OSError:
        return tempfile.TemporaryDirectory(prefix=SCRATCH)


def _fetch(folder: Path) -> Path:
    """Let Keras' own loader fetch its file to `folder` and verify it; return its path."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_TIMEOUT)
    try:
        return _download(folder)
    except Exception as error:  # Keras raises a bare Exception where its download fails
        raise ThawError(
            "ResNet50's ImageNet weights cannot be had.\n"
            f"  address: {url()}\n"
            f"  Received: {type(error).__name__}: {error}\n"
            f"Put the file there by hand: {copy()}\n"
            "or choose other weights: `-S weights=bundled`, `-S weights=/a/file.weights.h5`."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _is_passing(error: BaseException) -> bool:
    """Whether trying again may help: not after the server's own no, nor after a wrong hash."""
    cause = error.__context__  # Keras wraps urllib's errors
    if isinstance(cause, HTTPError):
        cause.close()  # Keras leaves the answer open
        return cause.code >= 500 or cause.code == 429
    return isinstance(error, OSError) or isinstance(cause, OSError)


@tenacity.retry(
    retry=tenacity.retry_if_exception(_is_passing),
    stop=tenacity.stop_after_attempt(TRIES),
    wait=tenacity.wait_exponential(multiplier=0.5, max=10),
    reraise=True,
)
def _download(folder: Path) -> Path:
    digest = WEIGHTS_HASHES["resnet50"][0]
    return Path(
        keras.utils.get_file(
            NAME, url(), cache_dir=str(folder), cache_subdir="models", file_hash=digest
        )
    )
