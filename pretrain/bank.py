"""The bank of scenes in memory."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.settings import SHARD
from thaw.errors import ThawError


class Bank:
    """Scenes with the teacher's features and logits; about 17 kB a scene at 64 px."""

    def __init__(self, folder: Path, part: str, scenes: int) -> None:
        paths = [folder / f"{part}-{number:04}.npz" for number in range(scenes // SHARD)]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise ThawError(f"{folder} lacks {missing[0]}: run `make pretrain` to make it.")
        with np.load(paths[0]) as first:
            side = first["images"].shape[1]
        self.images = np.empty((scenes, side, side, 3), np.uint8)
        self.features = np.empty((scenes, 1280), np.float16)
        self.logits = np.empty((scenes, 1000), np.float16)
        self.kinds: NDArray[np.str_] = np.empty(scenes, "U16")
        for number, path in enumerate(paths):
            rows = slice(number * SHARD, (number + 1) * SHARD)
            with np.load(path) as shard:
                for name in ("images", "features", "logits", "kinds"):
                    getattr(self, name)[rows] = shard[name]

    def __len__(self) -> int:
        return len(self.images)
