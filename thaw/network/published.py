"""The ImageNet weights that Keras publishes, from the user's copy of the file or Keras' server.

Keras' own loader deletes a copy with an unexpected digest and downloads the file again. If its
folder is read-only, it looks in a different one. This module never changes the user's copy.
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
"""Seconds without data after which a download fails. Keras sets no time-out of its own."""
TRIES = 3


def url() -> str:
    """Return the address of the ImageNet weights that Keras publishes, top included."""
    return f"{BASE_WEIGHTS_PATH}{NAME}"


def copy() -> Path:
    """Return where Keras keeps the file: in KERAS_HOME or ~/.keras. Users may put it there."""
    return keras_home() / "models" / NAME


def load() -> keras.Model:
    """Return a ResNet50 with Keras' published weights, top included.

    A downloaded file is kept for the next time if its folder is writable.

    Raises:
        ThawError: the user's copy is a different file, or there is no copy and the download fails.

    """
    model = resnet50(224, top=True)
    if os.path.lexists(copy()):
        _check(copy())
        model.load_weights(copy())
        return model
    with _scratch() as folder:
        fetched = _fetch(Path(folder))
        model.load_weights(fetched)
        # A hard link never overwrites: another process may have put a file there by now. It fails,
        # which is no harm, where there is no folder or the folder is on another file system.
        with suppress(OSError):
            os.link(fetched, copy())
    return model


def _check(path: Path) -> None:
    """Check the digest of the user's copy, and leave the copy as it is.

    Raises:
        ThawError: it is a different file, or not a file.

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
    """Make a temporary folder for the download.

    It is next to the copy, so that the file can be linked there. If that place is read-only, it is
    in the system's folder for temporary files.
    """
    try:
        copy().parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=SCRATCH, dir=copy().parent)
    except OSError:
        return tempfile.TemporaryDirectory(prefix=SCRATCH)


def _fetch(folder: Path) -> Path:
    """Download the file to `folder` with Keras' own loader, which verifies it; return its path.

    Raises:
        ThawError: the download fails.

    """
    before = socket.getdefaulttimeout()  # get_file takes no time-out, so the default must do
    socket.setdefaulttimeout(STALL_TIMEOUT)
    try:
        return _download(folder)
    except Exception as error:  # Keras raises a plain Exception when its download fails
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
    """Whether a retry may help. It does not if the server refuses or the hash is wrong."""
    cause = error.__context__  # the error of urllib, which Keras wraps
    if isinstance(cause, HTTPError):
        cause.close()  # Keras leaves the response open
        return cause.code >= 500 or cause.code == 429  # 429: too many requests, for now
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
