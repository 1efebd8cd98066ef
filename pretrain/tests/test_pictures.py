"""Which pictures fall on which side, and scenes that hang on their seed alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pretrain import collect, scenes
from pretrain.pictures import Library, Picture, group_of, is_held_out, write_pictures
from pretrain.scenes import plain_scene, random_scene
from thaw.support.errors import ThawError


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("emoji", "package/img/google/64/1f9d1-1f3fb.png", "package/assets/1f9d1-1f3ff.webp"),
        ("emoji", "package/img/google/64/0023-fe0f-20e3.png", "package/assets/0023-20e3.webp"),
        ("photo", "x/Altai/contents/images/1080x1920.png", "x/Altai/contents/images/5120x2880.png"),
        ("photo", "x/Kay/contents/images/1080x1920.png", "x/Kay/contents/images_dark/1x1.png"),
        ("photo", "gnome/wood-d.webp", "gnome/wood-l.webp"),
        ("photo", "a/Elephants.jpg", "a/Elephants_3840x2160.jpg"),
    ],
)
def test_versions_of_one_picture_stay_together(kind: str, one: str, other: str) -> None:
    assert group_of(kind, one) == group_of(kind, other)


def test_other_pictures_are_other_groups() -> None:
    names = ("a/Wood.jpg", "a/Garden.jpg", "b/cat.png")
    assert len({group_of("photo", name) for name in names}) == 3


def test_the_held_out_share_is_what_was_asked_for() -> None:
    held = [is_held_out(f"clipart {i}", 0.05) for i in range(20_000)]
    assert 0.045 < np.mean(held) < 0.055


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of each kind to train on, and one held out."""
    random = np.random.default_rng(0)
    pictures = []
    for kind in ("clipart", "emoji", "photo"):
        for number in range(3):
            pixels = random.integers(0, 256, (70 + number, 60, 4), dtype=np.uint8)
            pixels[..., 3] = 255 if kind == "photo" else pixels[..., 3]
            picture = Picture("p", f"{kind} {number}", kind, "CC0", number == 2, 70 + number, 60)
            pictures.append((picture, pixels))
    write_pictures(tmp_path / "pictures", pictures)
    return tmp_path / "pictures"


def test_the_sides_of_the_split_share_no_picture(folder: Path) -> None:
    sides = [Library(folder, held_out=side) for side in (False, True)]
    names = [{picture.name for picture in library.pictures} for library in sides]
    assert names[1] == {"clipart 2", "emoji 2", "photo 2"}
    assert len(names[0]) == 6
    assert not names[0] & names[1]


def test_pixels_come_back(folder: Path) -> None:
    random = np.random.default_rng(0)
    expected = [random.integers(0, 256, (70 + i % 3, 60, 4), dtype=np.uint8) for i in range(9)]
    library = Library(folder, held_out=False)
    assert library.by_kind == {"clipart": [0, 1], "emoji": [2, 3], "photo": [4, 5]}
    np.testing.assert_array_equal(library.pixels(1), expected[1])
    np.testing.assert_array_equal(library.pixels(3), expected[4])


def test_a_scene_hangs_on_its_seed_alone(folder: Path) -> None:
    library = Library(folder, held_out=False)
    one, again, other = (
        np.stack([random_scene(random, library, 48)[0] for _ in range(20)])
        for random in map(np.random.default_rng, (1, 1, 2))
    )
    assert one.shape == (20, 48, 48, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_plain_scene_is_the_picture_over_its_background() -> None:
    pixels = np.zeros((4, 8, 4), np.uint8)
    pixels[:, :4] = (200, 100, 50, 255)  # the left half; the right is transparent
    scene = plain_scene(pixels, 8, background=255)
    assert (scene[:2] == 255).all()
    assert (scene[6:] == 255).all()
    assert (scene[2:6, :4] == (200, 100, 50)).all()
    assert (scene[2:6, 4:] == 255).all()


def test_a_package_of_other_bytes_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "package.deb"
    archive.write_bytes(b"something else")
    with pytest.raises(ThawError, match=r"expected SHA-256 f07f15.* Received: [0-9a-f]{64}"):
        collect._verify(collect.PACKAGES[0], archive)


@pytest.mark.parametrize("shape", [(50, 60), (50, 60, 3), (50, 60, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_layout_that_opencv_reads_becomes_rgba(
    tmp_path: Path, shape: tuple[int, ...], dtype: type
) -> None:
    value = 200 if dtype == np.uint8 else 200 * 257
    cv2.imwrite(str(tmp_path / "a.png"), np.full(shape, value, dtype))
    pixels = collect._rgba(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED))
    assert pixels.shape == (50, 60, 4)
    assert pixels.dtype == np.uint8
    assert (pixels[..., :3] == 200).all()


def test_without_catalogue_scenes_all_others_are_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The published bank has none: a number drawn for nothing would give other scenes."""

    def composed(random: np.random.Generator, *_args: object) -> tuple[np.ndarray, str]:
        assert random.bit_generator.state == np.random.default_rng(0).bit_generator.state
        return np.zeros((8, 8, 3), np.uint8), "photo"

    monkeypatch.setattr(scenes, "CUTMIX", 0)
    monkeypatch.setattr(scenes, "_composed", composed)
    random_scene(np.random.default_rng(0), None, 8, plain_share=0.0)  # type: ignore[arg-type]


def test_catalogue_scenes_show_one_whole_gray_object_on_black(tmp_path: Path) -> None:
    pixels = np.zeros((80, 60, 4), np.uint8)
    pixels[10:70, 20:50] = (40, 90, 200, 255)  # a block amid a transparent margin
    pictures = [
        (Picture("p", kind, kind, "CC0", False, 80, 60), pixels) for kind in ("clipart", "emoji")
    ]
    write_pictures(tmp_path / "pictures", pictures)
    library = Library(tmp_path / "pictures", held_out=False)
    random = np.random.default_rng(0)
    scenes = np.stack([random_scene(random, library, 64, plain_share=1.0)[0] for _ in range(50)])
    assert (scenes == scenes[..., :1]).all()
    border = np.concatenate([scenes[:, 0], scenes[:, -1], scenes[:, :, 0], scenes[:, :, -1]], 1)
    assert (border < 8).mean() > 0.97
    levels = scenes[:, 32, 32, 0]
    assert levels.min() >= 60
    assert levels.std() > 20
    shown = (scenes[..., 0] > 30).sum((1, 2)) / 64**2
    assert shown.min() > 0.05
    assert shown.max() < 0.8
