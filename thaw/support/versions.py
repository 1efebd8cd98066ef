"""Check that the locked versions run, because dvc.lock and the report name them.

Other versions run if PYTHONPATH names a folder with another copy, or if the virtual environment is
older than the lock.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from thaw.support import paths
from thaw.support.errors import ThawError
from thaw.support.places import check_input

ROOT = Path(__file__).parents[2]
DECISIVE = (
    *("h5py", "hdf5plugin", "keras", "numpy", "openvino", "pillow", "scikit-image"),
    *("scikit-learn", "scipy", "tensorflow", "zstandard"),
)
"""Packages that compute or write results."""
DRAWING = ("jinja2", "kiwisolver", "markupsafe", "matplotlib")
"""Further packages that the bytes of plots/ and report/ depend on."""
_MODULES = {"pillow": "PIL", "scikit-image": "skimage", "scikit-learn": "sklearn"}


def locked(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock file's text."""
    return dict(re.findall(r"^([\w-]+)==(\S+)", lock, re.MULTILINE))


def read_lock(root: Path) -> str:
    """Return the text of `root`'s lock.

    Raises:
        ThawError: it cannot be read.

    """
    try:
        return check_input(root / paths.LOCK).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ThawError(
            f"{root / paths.LOCK} cannot be read: {error}. Restore it with git."
        ) from error


def check(stage: str) -> None:
    """Check that a stage would import the locked versions.

    Raises:
        ThawError: another version, or another copy, would run.

    """
    if stage == "download":
        return  # fixed digests already check its files
    packages = (*DECISIVE, *DRAWING) if stage == "report" else DECISIVE
    expected = locked(read_lock(ROOT))
    if others := list(_others({name: expected[name] for name in packages})):
        path = os.environ.get("PYTHONPATH")
        shell = f"`unset PYTHONPATH`, which is {path} in this shell, and " if path else ""
        raise ThawError(
            "dvc.lock and the report would name versions that did not run:\n  "
            + "\n  ".join(others)
            + f"\nRun {shell}`make setup`, which installs the locked versions into .venv."
        )


def _others(expected: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each package whose version is not the locked one."""
    for name, version in expected.items():
        received, where = _received(name)
        if received != version:
            yield f"{name}: {version} is locked. Received: {received}{where}"


def _received(name: str) -> tuple[str, str]:
    """Return the version of the package that an import would load, and its folder."""
    module = _MODULES.get(name, name)
    # find_spec locates a module without importing it, which would take seconds.
    spec = find_spec(module)
    if not (spec and spec.origin):
        return "none", ""
    folder = Path(spec.origin).parent
    try:
        # The metadata may describe another copy than the one that an import would load.
        installed = metadata.distribution(name)
        if folder.resolve() == Path(str(installed.locate_file(module))).resolve():
            return installed.version, f", in {folder}"
    except metadata.PackageNotFoundError:
        pass
    version = getattr(sys.modules.get(module), "__version__", "no known version")
    return f"a copy of {version}", f", in {folder}"
