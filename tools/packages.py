"""Fetch a Debian or npm package of fixed content and unpack it, without root or installing it."""

import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from thaw.data.debian import APT_AS_ITS_CALLER, call
from thaw.data.transfer import MirrorError
from thaw.support.errors import ThawError
from thaw.support.files import sha256

TIMEOUT = 600.0
"""Seconds for one call of a package tool; the largest package has 161 MB."""
NPM = (
    "--loglevel=error",
    "--logs-max=0",
    "--fetch-retries=1",
    "--fetch-timeout=60000",
    "--no-update-notifier",
)
"""By its defaults npm waits for minutes for a registry that does not answer."""

_ADVICE = (
    "Check that the network can be reached; for a Debian package run `apt-get update`, on Debian "
    "12, whose versions these are."
)


@dataclass(frozen=True)
class Package:
    """A package with pictures, or with what they are called."""

    tool: str
    """apt or npm."""
    name: str
    version: str
    sha256: str
    """Of the package file."""
    licence: str
    folder: str
    """In the package, where its pictures are."""


def unpack(package: Package, to: Path) -> Path:
    """Return the folder of a package's pictures, unpacked below the existing folder `to`.

    Raises:
        ThawError: a tool is missing or failed, or the package has other bytes than expected.

    """
    work = Path(tempfile.mkdtemp(dir=to))
    content = work / "content"
    content.mkdir()
    if package.tool == "apt":
        named = f"{package.name}={package.version}"
        _call("apt-get", APT_AS_ITS_CALLER, "download", named, folder=work)
        _call("dpkg-deb", "-x", _verified(package, work, "*.deb").name, "content", folder=work)
    else:
        # In npm's own cache, the package would stay after the run.
        options = (*NPM, f"--cache={work.resolve() / 'cache'}")
        _call("npm", "pack", *options, f"{package.name}@{package.version}", folder=work)
        with tarfile.open(_verified(package, work, "*.tgz")) as archive:
            archive.extractall(content, filter="data")
    return content / package.folder


def _verified(package: Package, folder: Path, pattern: str) -> Path:
    archives = sorted(folder.glob(pattern))
    if len(archives) != 1:
        raise ThawError(f"{package.tool} delivered no file of {package.name} {package.version}")
    if (received := sha256(archives[0])) != package.sha256:
        raise ThawError(
            f"{package.name} {package.version} holds other bytes: expected SHA-256 "
            f"{package.sha256}. Received: {received}"
        )
    return archives[0]


def _call(*command: str, folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise ThawError(f"{command[0]} was not found. Install it: it fetches or unpacks a package.")
    try:
        call(*command, folder=folder, timeout=TIMEOUT)
    except MirrorError as error:
        raise ThawError(f"{command[-1]} cannot be had: {error}. {_ADVICE}") from error
