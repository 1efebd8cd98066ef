"""Runs each measurement in a new process, and describes the machine.

Separate processes share no memory, thread pool or compiled graph.
"""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_apart(module: str, *arguments: str) -> dict[str, float]:
    """Run a module of benchmarks in a new process, and return the JSON on its last line.

    If it fails, this process exits too, with the error output of the other one.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"error: {' '.join(command[2:])} failed:\n{ended.stderr}")
    result: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return result


def machine() -> str:
    """Describe the machine and the versions that were measured."""
    return (
        f"{os.cpu_count()} cores, {processor()}, Python {platform.python_version()}, TensorFlow "
        f"{version('tensorflow')}, Keras {version('keras')}, OpenVINO {version('openvino')}."
    )


def processor() -> str:
    """Return the name of the processor, or its architecture where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine()
    )
