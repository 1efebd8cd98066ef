"""Measure the memory that each stage takes at 224 px: python -m benchmarks.memory.

Writes  benchmarks/memory.md

preprocess runs on all images, and train-frozen on all features, which it keeps in memory. The other
stages would take hours, so they run on some of the images. Their memory hardly depends on how many
there are, since they read images and write features batch by batch. Each stage runs in a new
process, in a temporary folder.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.apart import ROOT, machine
from thaw.support.yaml_file import read_yaml

SOME = {"train": 600, "validation": 100, "test": 200}
"""Images of each split, for the stages that would take hours on all of them."""
BEFORE = ("preprocess", "baseline", "features", "train_full", "train_partial", "diagnose")
"""The stages that run on some images, in the order of the pipeline."""


def few_images(params: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the params for 224 px, with few images and one epoch."""
    trained = {"images": 64, "epochs": 1}
    return params | {
        "image_size": 224,
        "samples": {"seed": 0, **SOME},
        "baseline": {"image_size": 224, "images": 100, "linear_images": 500},
        "train_full": params["train_full"] | trained,
        "train_partial": params["train_partial"] | trained,
        "diagnose": params["diagnose"] | {"images": 64, "validation_images": 64, "epochs": 1},
    }


def peak(stage: str, folder: Path, params: dict[str, Any]) -> float:
    """Run a stage in `folder`, and return its peak resident memory, 10^9 bytes."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    program = (
        f"import resource, stages.{stage} as stage; stage.main(); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, check=True, stdout=-1, text=True
    )
    return int(ended.stdout.splitlines()[-1]) * 1024 / 1e9  # Linux reports KiB


def main() -> None:
    """Measure every stage, and write the table."""
    everything = read_yaml(ROOT / "params.yaml")
    few = few_images(everything)
    lines = ["| stage, at 224 px | images | batch | peak memory |", "|---|---|---|---|"]

    def add(stage: str, images: str, params: dict[str, Any]) -> None:
        memory = peak(stage, folder, params)
        batch = params.get(stage, {}).get("batch_size", "")
        lines.append(f"| {stage.replace('_', '-')} | {images} | {batch} | {memory:.2f} GB |")
        print(lines[-1], flush=True)

    with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for part in ("raw", "weights"):
            (folder / "data" / part).symlink_to(ROOT / "data" / part)
        add("preprocess", "all", everything)
        some = str(sum(SOME.values()))
        for stage in BEFORE:
            add(stage, some, few)
        # The project's own features of all images: their width is the same for every image size.
        extracted = folder / "data/features/features.h5"
        extracted.unlink()
        extracted.symlink_to(ROOT / "data/features/features.h5")
        one_epoch = everything["train_frozen"] | {"epochs": 1}
        add("train_frozen", "all", everything | {"train_frozen": one_epoch})
    (ROOT / "benchmarks/memory.md").write_text("\n".join([*lines, "", machine(), ""]))


if __name__ == "__main__":
    main()
