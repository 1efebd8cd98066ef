"""The bank of scenes in memory."""

from pathlib import Path

import numpy as np

from pretrain.settings import LARGE, SHARD, SIDES
from thaw.support.errors import ThawError


class Bank:
    """Scenes with the teacher's features and logits by side: 21 kB a scene."""

    def __init__(self, folder: Path, part: str, scenes: int) -> None:
        paths = [folder / f"{part}-{number:04}.npz" for number in range(scenes // SHARD)]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise ThawError(f"{folder} lacks {missing[0]}: run `make pretrain` to make it.")
        self.images = np.empty((scenes, LARGE, LARGE, 3), np.uint8)
        self.features = {side: np.empty((scenes, 1280), np.float16) for side in SIDES}
        self.logits = {side: np.empty((scenes, 1000), np.float16) for side in SIDES}
        for number, path in enumerate(paths):
            rows = slice(number * SHARD, (number + 1) * SHARD)
            with np.load(path) as shard:
                self.images[rows] = shard["images"]
                for side in SIDES:
                    self.features[side][rows] = shard[f"features_{side}"]
                    self.logits[side][rows] = shard[f"logits_{side}"]

    def __len__(self) -> int:
        return len(self.images)
