"""The versions that run, held to the locked ones: dvc.lock and the report name those.

A folder on PYTHONPATH goes before the virtual environment, which itself may be older than the lock.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from thaw.support.errors import ThawError
from thaw.support.places import check_input

LOCK = Path("requirements.lock")
ROOT = Path(__file__).parents[2]
DECISIVE = (
    *("h5py", "hdf5plugin", "keras", "numpy", "openvino", "scikit-image", "scikit-learn"),
    *("scipy", "tensorflow", "zstandard"),
)
"""What computes results or writes them."""
DRAWING = ("jinja2", "kiwisolver", "markupsafe", "matplotlib", "pillow")
"""What the bytes of plots/ and report/ hang on besides."""
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
        return check_input(root / LOCK).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ThawError(f"{root / LOCK} cannot be read: {error}. Restore it with git.") from error


def check(stage: str) -> None:
    """Hold what a stage would import to the versions that are locked.

    Raises:
        ThawError: another version, or another copy, would run.

    """
    if stage == "download":
        return  # its files are held to fixed digests
    packages = (*DECISIVE, *DRAWING) if stage == "report" else DECISIVE
    expected = locked(read_lock(ROOT))
    if others := list(_others({name: expected[name] for name in packages})):
        path = os.environ.get("PYTHONPATH")
        shell = f"`unset PYTHONPATH`, which is {path} in this shell, and " if path else ""
        raise ThawError(
            "dvc.lock and the report would name versions that did not run:\n  "
            + "\n  ".join(others)
            + f"\nSay {shell}`make setup`, which installs what is locked into .venv."
        )


def _others(expected: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with each package, if anything is."""
    for name, version in expected.items():
        received, where = _received(name)
        if received != version:
            yield f"{name}: {version} is locked. Received: {received}{where}"


def _received(name: str) -> tuple[str, str]:
    """Return the version of a package that an import gives, and where that is."""
    module = _MODULES.get(name, name)
    spec = find_spec(module)
    if not (spec and spec.origin):
        return "none", ""
    folder = Path(spec.origin).parent
    try:
        installed = metadata.distribution(name)
        if folder.resolve() == Path(str(installed.locate_file(module))).resolve():
            return installed.version, f", in {folder}"
    except metadata.PackageNotFoundError:
        pass
    version = getattr(sys.modules.get(module), "__version__", "no known version")
    return f"a copy of {version}", f", in {folder}"
