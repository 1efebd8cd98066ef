"""The teacher is the one with real ImageNet weights."""

import cv2
import pytest
import skimage

from pretrain.scenes import plain_scene
from pretrain.teacher import Teacher
from thaw.findings import imagenet


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # OpenVINO's own call
def test_it_knows_a_cat_and_a_cup_of_coffee() -> None:
    pictures = [
        cv2.cvtColor(getattr(skimage.data, name)(), cv2.COLOR_RGB2RGBA)
        for name in ("chelsea", "coffee")
    ]
    teacher = Teacher(1, 192, 1, threads=2)
    for picture, expected in zip(pictures, ("Egyptian_cat", "espresso"), strict=True):
        _, logits = teacher(plain_scene(picture, 192)[None])
        assert imagenet.top(logits)[0][0][0] == expected
