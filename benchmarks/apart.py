"""Measuring in processes of their own, which share no memory, thread pool or compiled graph."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_apart(module: str, *arguments: str) -> dict[str, float]:
    """Run a module of benchmarks in a new process; return the JSON that it prints last.

    A failure ends this process, too, with what the other one said.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(
        command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        sys.exit(f"error: {' '.join(command[2:])} failed:\n{ended.stderr}")
    result: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return result
