"""Stage teach: the bank of scenes, each with what the teacher makes of it.

Reads   data/pictures/
Writes  data/bank/  train-NNNN.npz and held_out-NNNN.npz, SHARD scenes each: images (n, side, side,
        3) uint8, features (n, 1280) float16, logits (n, 1000) float16, kinds (n,)

A shard that is there and was made by the same settings, pictures and code is kept: the stage can be
stopped at any moment.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from pretrain.pictures import Library
from pretrain.scenes import Image, random_scene
from pretrain.settings import FOLDER, HERE, SHARD, Settings, load_settings
from pretrain.teacher import Teacher
from thaw.files import atomic_file, sha256
from thaw.stage import run

BATCH_SIZE = 50
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
    for (held_out, number), (scenes, kinds) in _scenes(settings, missing):
        features, logits = teacher(scenes)
        with atomic_file(_path(folder, held_out, number)) as scratch:
            np.savez(
                scratch,
                images=_shrunk(scenes, settings.bank.side),
                features=features.astype(np.float16),
                logits=logits.astype(np.float16),
                kinds=kinds,
            )
        print(f"teach: {_path(folder, held_out, number).name}", flush=True)
    return f"{settings.bank.scenes:,} scenes, {settings.bank.held_out_scenes:,} held out"


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
    bank = settings.bank.model_dump(exclude={"scenes", "held_out_scenes"})
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
                job = pool.submit(_make, settings.seed, settings.bank.teacher_side, *shard)
                ahead.append((shard, job))
            if len(ahead) > 2 or (shard is None and ahead):
                done, job = ahead.pop(0)
                yield done, job.result()


def _make(seed: int, side: int, held_out: bool, number: int) -> tuple[Image, list[str]]:
    cv2.setNumThreads(1)
    random = np.random.default_rng([seed, held_out, number])
    library = Library(FOLDER / "pictures", held_out)
    scenes, kinds = zip(*(random_scene(random, library, side) for _ in range(SHARD)), strict=True)
    return np.stack(scenes), list(kinds)


def _shrunk(scenes: Image, side: int) -> Image:
    return np.stack(
        [cv2.resize(scene, (side, side), interpolation=cv2.INTER_AREA) for scene in scenes]
    )


if __name__ == "__main__":
    run("teach", main)
