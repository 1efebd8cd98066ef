"""Stage teach: the bank of scenes, each with what the teacher makes of it.

Reads   data/pictures/
Writes  data/bank/  train-NNNN.npz and held_out-NNNN.npz, SHARD scenes each: images (n, 64, 64, 3)
        uint8, kinds (n,), and for each side of the student's pictures, 32 and 64, features_SIDE
        (n, 1280) float16 and logits_SIDE (n, 1000) float16

The teacher sees no more than the student: the scene at the student's side, enlarged. What it would
say of details that the student cannot see is noise to the student.

A shard that is there and was made by the same settings, pictures and code is kept: the stage can be
stopped at any moment.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pretrain.pictures import Library
from pretrain.scenes import Image, enlarged, random_scene, shrunk
from pretrain.settings import FOLDER, HERE, LARGE, SHARD, SIDES, Bank, Settings, load_settings
from pretrain.teacher import Teacher
from thaw.support.files import atomic_file, sha256
from thaw.support.stage import run

BATCH_SIZE = 25
Answer = NDArray[np.float16]
RECIPE = "recipe.txt"


def main() -> str:
    """Make the shards that are missing, scenes in two processes ahead of the teacher."""
    settings = load_settings()
    folder = FOLDER / "bank"
    folder.mkdir(parents=True, exist_ok=True)
    _drop_others(folder, _recipe(settings))
    missing = [shard for shard in _shards(settings) if not _path(folder, *shard).exists()]
    teacher = Teacher(
        settings.bank.teacher, settings.bank.teacher_side, BATCH_SIZE, settings.threads
    )
    for (held_out, number), (images, kinds) in _scenes(settings, missing):
        with atomic_file(_path(folder, held_out, number)) as scratch:
            said = answers(teacher, images, settings)
            np.savez(scratch, allow_pickle=False, images=images, kinds=kinds, **said)
        print(f"teach: {_path(folder, held_out, number).name}", flush=True)
    return f"{settings.bank.scenes:,} scenes, {settings.bank.held_out_scenes:,} held out"


def answers(teacher: Teacher, images: Image, settings: Settings) -> dict[str, Answer]:
    """Return the teacher's features and logits of images (n, 64, 64, 3), seen at each side."""
    result = {}
    for side in SIDES:
        seen = images if side == LARGE else shrunk(images, side)
        features, logits = teacher(enlarged(seen, settings.bank.teacher_side))
        result[f"features_{side}"] = features.astype(np.float16)
        result[f"logits_{side}"] = logits.astype(np.float16)
    return result


def _shards(settings: Settings) -> list[tuple[bool, int]]:
    return [
        (held_out, number)
        for held_out, count in (
            (True, settings.bank.held_out_scenes),
            (False, settings.bank.scenes),
        )
        for number in range(count // SHARD)
    ]


def _path(folder: Path, held_out: bool, number: int) -> Path:
    return folder / f"{'held_out' if held_out else 'train'}-{number:04}.npz"


def _recipe(settings: Settings) -> str:
    """Return what a shard's content hangs on, but for the number of shards."""
    bank = {
        key: value
        for key, value in asdict(settings.bank).items()
        if key not in ("scenes", "held_out_scenes")
    }
    code = [sha256(HERE / name) for name in ("scenes.py", "teacher.py", "pictures.py")]
    pictures = sha256(FOLDER / "pictures/pictures.csv")
    content = json.dumps([settings.seed, bank, code, pictures], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _drop_others(folder: Path, recipe: str) -> None:
    """Remove shards of another recipe."""
    note = folder / RECIPE
    if not note.is_file() or note.read_text() != recipe:
        for path in folder.glob("*.npz"):
            path.unlink()
        note.write_text(recipe)


def _scenes(
    settings: Settings, shards: list[tuple[bool, int]]
) -> Iterator[tuple[tuple[bool, int], tuple[Image, list[str]]]]:
    """Yield each shard with its scenes at the teacher's side; two are made ahead."""
    with ProcessPoolExecutor(2) as pool:
        ahead = []
        for shard in [*shards, None, None]:
            if shard is not None:
                job = pool.submit(_make, settings.seed, settings.bank, *shard)
                ahead.append((shard, job))
            if len(ahead) > 2 or (shard is None and ahead):
                done, job = ahead.pop(0)
                yield done, job.result()


def _make(seed: int, bank: Bank, held_out: bool, number: int) -> tuple[Image, list[str]]:
    cv2.setNumThreads(1)
    random = np.random.default_rng([seed, held_out, number])
    library = Library(FOLDER / "pictures", held_out)
    made = (
        random_scene(random, library, bank.teacher_side, bank.plain_share) for _ in range(SHARD)
    )
    scenes, kinds = zip(*made, strict=True)
    return shrunk(np.stack(scenes), LARGE), list(kinds)


if __name__ == "__main__":
    run("teach", main)
