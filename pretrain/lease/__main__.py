"""Distil on a machine that is lent for so many seconds: GPU.md.

python -m pretrain.lease --check --seconds 100 --out OUT
python -m pretrain.lease --seconds 540 --out OUT
"""

import argparse
import json
import sys
from pathlib import Path

from pretrain.lease import BEGUN, check, session
from pretrain.lease.carried import CARRIED
from pretrain.settings import HERE, load_settings
from thaw.support.errors import ThawError


def main() -> str:
    """Check the machine, or train on it."""
    parser = argparse.ArgumentParser(prog="python -m pretrain.lease", description=__doc__)
    parser.add_argument("--seconds", type=float, required=True, help="in all, start to end")
    parser.add_argument("--out", type=Path, required=True, help="folder for what comes back")
    parser.add_argument("--check", action="store_true", help="measure the machine, do not train")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="instead of distil.device")
    parser.add_argument("--engine", choices=("eager", "graphs", "compile"))
    parser.add_argument("--carried", type=Path, default=CARRIED, help="folder of what travelled")
    parser.add_argument("--params", type=Path, default=HERE / "params.yaml")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    settings = load_settings(asked.params)
    lent = session.Lent(
        settings,
        asked.device or settings.distil.device,
        asked.engine or settings.lease.engine,
        asked.carried,
        asked.out,
        asked.seconds,
        BEGUN,
    )
    figures = check.check(lent) if asked.check else session.train(lent)
    return json.dumps(figures)


if __name__ == "__main__":
    # Not thaw.stage.run, which holds versions to a lock that the machine does not have.
    try:
        print(f"lease: {main()}", flush=True)
    except (ThawError, OSError) as error:
        sys.exit(f"error in lease: {error}")
