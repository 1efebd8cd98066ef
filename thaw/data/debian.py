"""Debian's package of Fashion-MNIST, by apt-get and dpkg-deb; no tool for that needs root."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from thaw.data.transfer import MirrorError, copy

PACKAGE = "dataset-fashion-mnist"
FOLDER = Path("usr/share/datasets/fashion-mnist")
# Root's apt-get downloads as the user _apt, whom a container with root alone has not; the digests
# vouch for the content.
APT_AS_ITS_CALLER = "-oAPT::Sandbox::User="

PROCESS_TIMEOUT = 300.0
"""Seconds for one call of apt-get or dpkg-deb."""
_OF_OTHER_FILES = 1_000_000
"""Bytes, uncompressed, that Debian's package may have beside the four files; it has 60,000."""


def fetch(sizes: Mapping[str, int], to: Path) -> None:
    """Download the package and copy files out of it.

    Args:
        sizes: how many bytes each file may have at most, by its name.
        to: the folder that the files go to.

    Raises:
        MirrorError: this is no Debian system, the package cannot be had, or see `unpack_package`.

    """
    missing = [tool for tool in ("apt-get", "dpkg-deb", "prlimit") if shutil.which(tool) is None]
    if missing:
        raise MirrorError(f"{' and '.join(missing)} not found: this is not a Debian system")
    work = to / "debian"
    work.mkdir()
    try:
        _call("apt-get", APT_AS_ITS_CALLER, "download", PACKAGE, folder=work)
    except MirrorError:
        options = [APT_AS_ITS_CALLER, *_private_package_lists(work)]
        _call("apt-get", *options, "update", folder=work)
        _call("apt-get", *options, "download", PACKAGE, folder=work)
    packages = sorted(work.glob("*.deb"))
    if not packages:
        raise MirrorError("apt-get delivered no package")
    unpack_package(packages[-1], sizes, to)


def unpack_package(package: Path, sizes: Mapping[str, int], to: Path) -> None:
    """Copy files out of a package, of the sizes that `fetch` takes; nothing else is written.

    Raises:
        MirrorError: one is not there, is no regular file or is too long, or the whole package is.

    """
    content, most = package.with_suffix(".tar"), sum(sizes.values()) + _OF_OTHER_FILES
    tool = ("prlimit", f"--fsize={most}", "dpkg-deb", "--fsys-tarfile", package.name)
    _call(*tool, folder=package.parent, output=content)
    try:
        with tarfile.open(content) as archive:
            for name, size in sizes.items():
                member = archive.getmember(f"./{FOLDER}/{name}")
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None:
                    raise MirrorError(f"{name} is not a regular file")
                copy(stream, to / name, size)
    except (tarfile.TarError, LookupError, ValueError) as error:
        raise MirrorError(f"{package.name} cannot be unpacked: {error}") from error


def _private_package_lists(work: Path) -> list[str]:
    """Return apt-get's options for keeping its lists in `work`, where no root is needed."""
    for name in ("lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    return [
        f"-oDir::State::Lists={(work / 'lists').resolve()}",
        f"-oDir::Cache={(work / 'cache').resolve()}",
        "-oDebug::NoLocking=true",
    ]


def _call(*command: str, folder: Path, output: Path | None = None) -> None:
    """Run a tool quietly in `folder`; what it prints goes to `output`, where that is given."""
    with ExitStack() as files:
        # No pipe: its end would be waited for, where a tool's own children outlive a time-out.
        said = files.enter_context(tempfile.TemporaryFile())
        printed = files.enter_context(output.open("wb")) if output else said
        try:
            subprocess.run(
                command,
                cwd=folder,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                timeout=PROCESS_TIMEOUT,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise MirrorError(f"{command[0]} took over {PROCESS_TIMEOUT:.0f} s") from error
        except subprocess.CalledProcessError as error:
            said.seek(0)
            last = (said.read().decode(errors="replace").splitlines() or ["nothing"])[-1]
            raise MirrorError(
                f"`{' '.join(command[:3])}` ended with {error.returncode}: {last}"
            ) from error
