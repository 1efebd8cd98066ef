"""Tiny pictures, teachers and settings for what runs on a lent machine."""

from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from pretrain.lease import carried
from pretrain.settings import Settings, Side, load_settings
from pretrain.tests.tiny import random_lite0, tiny_pictures


@pytest.fixture
def tiny() -> Settings:
    """Settings of a few seconds."""
    settings = load_settings()
    lease = replace(
        settings.lease,
        sides=(Side(32, 64, 0.8, 4, 40), Side(64, 64, 0.2, 2, 20)),
        teachers=(0,),
        scene_side=64,
        workers=2,
        chunk=4,
        first_scenes=8,
        held_out_scenes=8,
        statistics_batches=2,
        warmup_steps=2,
        show_seconds=25.0,
        reserve_seconds=4.0,
        engine_seconds=5.0,
    )
    return replace(settings, lease=lease, threads=1)


@pytest.fixture
def carried_folder(tmp_path: Path) -> Path:
    """What travels, tiny."""
    folder = tmp_path / "carried"
    folder.mkdir()
    pictures = []
    for picture, pixels in tiny_pictures():
        order = cv2.COLOR_RGBA2BGR if picture.kind == "photo" else cv2.COLOR_RGBA2BGRA
        encoded = cv2.imencode(".webp", cv2.cvtColor(pixels, order), [cv2.IMWRITE_WEBP_QUALITY, 95])
        pictures.append((picture, encoded[1]))
    carried.write_encoded(folder / carried.PICTURES, pictures)
    carried.write_teachers(folder / carried.TEACHERS, {0: random_lite0()})
    carried.write_manifest(folder)
    return folder
