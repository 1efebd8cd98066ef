"""Whether one instruction set gives one result: python -m tests.reliability.instructions.

Features and one epoch of train-full, with the real ResNet50 and the bundled weights, for each
`instruction_set` of params.yaml. Run it on each kind of processor and compare the digests. The
seconds say what it costs.
"""

import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.apart import processor
from tests.reliability.project import Project, create, tiny_params
from thaw.config.fields import INSTRUCTION_SETS
from thaw.support.files import sha256

OUTPUTS = {
    "features": "data/features/features.h5",
    "train-full": "data/models/full/model.weights.h5",
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


def measured(project: Project, stage: str, instruction_set: str) -> tuple[str, float]:
    """Run a stage; return the digest of its output, and its seconds."""
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text()) | {"instruction_set": instruction_set}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    begin = time.monotonic()
    project.dvc("repro", "--single-item", "--force", stage)
    return sha256(project.root / OUTPUTS[stage]), time.monotonic() - begin


def main() -> None:
    """Print a row for each stage and set of instructions."""
    print(f"{processor()}\n\n| Stage | instruction_set | SHA-256 | seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        project = prepared(Path(folder) / "project")
        for stage in OUTPUTS:
            for name in INSTRUCTION_SETS * 2:
                digest, seconds = measured(project, stage, name)
                print(f"| {stage} | {name} | `{digest[:12]}` | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
