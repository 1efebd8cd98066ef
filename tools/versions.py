"""Copy the versions that results depend on from requirements.lock: python -m tools.versions.

Reads   requirements.lock
Writes  versions.yaml  a dependency of every stage that computes
"""

from pathlib import Path

import yaml

from thaw.support.versions import DECISIVE, locked

ROOT = Path(__file__).parents[1]
HEADER = """\
# Versions that results depend on, from requirements.lock: `make lock` writes this file. It is a
# dependency of every stage that computes: with another version these run again.
"""


def versions(lock: str) -> dict[str, str]:
    """Return the versions of the packages in `DECISIVE`, given a lock file's text.

    Raises:
        KeyError: a package is not locked.

    """
    every = locked(lock)
    return {name: every[name] for name in DECISIVE}


def main() -> None:
    """Write versions.yaml."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (ROOT / "versions.yaml").write_text(HEADER + yaml.safe_dump(versions(lock)), encoding="utf-8")


if __name__ == "__main__":
    main()
