"""Whether one instruction set gives one result: python -m tests.reliability.instructions.

Features and one epoch of train-full, with the real ResNet50 and the bundled weights: once with the
instructions that the libraries choose by the processor, and once held to AVX2, which nearly every
x86 processor has. Run it on each kind of processor and compare the digests. The seconds say what
it costs.
"""

import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.apart import processor
from tests.reliability.project import Project, create, tiny_params
from thaw.support.files import sha256

HELD = {"ONEDNN_MAX_CPU_ISA": "AVX2", "OV_CPU_MAX_ISA": "AVX2"}
"""TensorFlow and OpenVINO have a oneDNN each, which reads one of these at its first computation."""
OUTPUTS = {
    "features": "data/features/features.h5",
    "train_full": "data/models/full/model.weights.h5",
}


def prepared(folder: Path) -> Project:
    """Return a project with 4,000 images, of which the stages up to preprocess have run."""
    project = create(folder)
    params = tiny_params() | {"weights": "bundled"}
    params["samples"] |= {"train": 3000, "validation": 500, "test": 500}
    params["train_full"] |= {"images": 960, "epochs": 1, "batch_size": 32}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    project.dvc("repro", "weights", "preprocess")
    return project


def compute(stage: str) -> None:
    """Run a stage in this process and print its seconds; thaw is loaded and lets no variable in."""
    main = importlib.import_module(f"stages.{stage}").main
    os.environ.update(HELD if sys.argv[2:] == ["held"] else {})
    start = time.monotonic()
    main()
    print(f"{time.monotonic() - start:.1f}")


def measured(project: Project, stage: str, *held: str) -> tuple[str, float]:
    """Return the digest of a stage's output and its seconds, in a new process."""
    command = (sys.executable, "-m", "tests.reliability.instructions", stage, *held)
    said = project.run(*command).splitlines()[-1]
    return sha256(project.root / OUTPUTS[stage]), float(said)


def main() -> None:
    """Print a row for each stage and set of instructions."""
    print(f"{processor()}\n\n| Stage | Instructions | SHA-256 | seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        project = prepared(Path(folder) / "project")
        for stage in OUTPUTS:
            for held in ((), ("held",)) * 2:
                digest, seconds = measured(project, stage, *held)
                name = "AVX2" if held else "the processor's"
                print(f"| {stage} | {name} | `{digest[:12]}` | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        compute(sys.argv[1])
    else:
        main()
