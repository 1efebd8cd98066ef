"""Fetch Fashion-MNIST from its Debian package, with apt-get and dpkg-deb, without root."""

import os
import re
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
# As root, apt-get downloads as the user _apt, which a container may not have. This option keeps the
# user. That is safe, because digests check the content.
APT_AS_ITS_CALLER = "-oAPT::Sandbox::User="

PROCESS_TIMEOUT = 300.0
"""Seconds for one call of a package tool."""
REASON = re.compile("^E: |Error: |No matching|Not Found")
"""Of the lines that apt-get and npm print, the one that says what went wrong."""
_OF_OTHER_FILES = 1_000_000
"""Bytes allowed for the package's other files, uncompressed; at present they have 60,000."""


def fetch(sizes: Mapping[str, int], to: Path) -> None:
    """Download the package and copy files out of it.

    Args:
        sizes: the names of the files, with the most bytes that each may have.
        to: the folder for the files.

    Raises:
        MirrorError: this is not a Debian system, apt-get cannot fetch the package, or it cannot be
            unpacked (see `unpack_package`).

    """
    missing = [tool for tool in ("apt-get", "dpkg-deb", "prlimit") if shutil.which(tool) is None]
    if missing:
        raise MirrorError(f"{' and '.join(missing)} not found: this is not a Debian system")
    work = to / "debian"
    work.mkdir()
    try:
        call("apt-get", APT_AS_ITS_CALLER, "download", PACKAGE, folder=work)
    except MirrorError:  # most often because the system's package lists are missing or old
        options = [APT_AS_ITS_CALLER, *_private_package_lists(work)]
        call("apt-get", *options, "update", folder=work)
        call("apt-get", *options, "download", PACKAGE, folder=work)
    packages = sorted(work.glob("*.deb"))
    if not packages:
        raise MirrorError("apt-get delivered no package")
    unpack_package(packages[-1], sizes, to)


def unpack_package(package: Path, sizes: Mapping[str, int], to: Path) -> None:
    """Copy files out of a package and write nothing else.

    Args:
        package: the .deb file.
        sizes: the names of the files, with the most bytes that each may have.
        to: the folder for the files.

    Raises:
        MirrorError: a file is missing, not a regular file or too long, or the package is too long.

    """
    # prlimit stops dpkg-deb before a small package can unpack to more than the disk holds.
    content, most = package.with_suffix(".tar"), sum(sizes.values()) + _OF_OTHER_FILES
    tool = ("prlimit", f"--fsize={most}", "dpkg-deb", "--fsys-tarfile", package.name)
    call(*tool, folder=package.parent, output=content)
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
    """Return options that make apt-get keep its package lists in `work`, which needs no root."""
    for name in ("lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    return [
        f"-oDir::State::Lists={(work / 'lists').resolve()}",
        f"-oDir::Cache={(work / 'cache').resolve()}",
        "-oDebug::NoLocking=true",
    ]


def call(
    *command: str, folder: Path, output: Path | None = None, timeout: float | None = None
) -> None:
    """Run a tool in `folder`, without its output on the terminal.

    Standard output goes to the file `output` if that is given. `timeout` is in
    seconds, by default `PROCESS_TIMEOUT`.

    Raises:
        MirrorError: the tool failed or took too long; the message has its own line that says why.

    """
    timeout = timeout or PROCESS_TIMEOUT
    with ExitStack() as files:
        # A file, not a pipe: after a time-out the tool's children may keep a pipe open, and `run`
        # would wait for its end.
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
                timeout=timeout,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise MirrorError(f"{command[0]} took over {timeout:.0f} s") from error
        except subprocess.CalledProcessError as error:
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            lines = [line.strip() for line in lines if line.strip()] or ["nothing"]
            reason = next((line for line in lines if REASON.search(line)), lines[-1])
            raise MirrorError(
                f"`{' '.join(command[:3])}` ended with {error.returncode}: {reason}"
            ) from error
