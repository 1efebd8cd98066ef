"""Sets of pictures from packages: how they are arranged, and what is left after an error."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from thaw.support.errors import ThawError
from tools import own_pictures
from tools.own_pictures import (
    FORMATS,
    SETS,
    SILHOUETTE_SIDE,
    Set,
    arrange,
    copy,
    draw,
    draw_silhouettes,
    emoji,
    exchange_colours,
    make,
    stamps,
)
from tools.packages import Package, unpack

RED, GRAY = (200, 40, 20), (90, 90, 90)


def picture(path: Path, colour: tuple[int, int, int] = RED, *, size: int = 64) -> None:
    """Write a disc of a colour with a transparent background; no two colours have the same file."""
    across = np.arange(size) - size / 2
    pixels = np.zeros((size, size, 4), np.uint8)
    pixels[..., :3] = colour
    pixels[..., 3] = 255 * (across[:, None] ** 2 + across**2 < size**2 / 9)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Path]:
    """Twenty animals and as many foods, every one in another red."""
    for index in range(20):
        picture(tmp_path / "in" / "animals" / f"{index}.png", (200, index, 20))
        picture(tmp_path / "in" / "food" / f"{index}.png", (220, index, 20))
    return stamps(tmp_path / "in")


def names(folder: Path) -> dict[str, list[str]]:
    return {part.name: sorted(p.name for p in part.iterdir()) for part in folder.iterdir()}


def test_classes_are_by_the_first_pattern_without_repeats_variants_and_icons(
    tmp_path: Path,
) -> None:
    for name in ("animals/a", "animals/a_mirror", "animals/z", "food/b"):
        picture(tmp_path / f"{name}.png", (200, sum(map(ord, name)) % 256, 0))
    picture(tmp_path / "animals/icon.png", size=16)
    picture(tmp_path / "elsewhere/c.png")
    (tmp_path / "food/again.png").write_bytes((tmp_path / "animals/z.png").read_bytes())
    wanted = Set({"animal": "stamps/animals/", "food": "stamps/(animals|food)/"}, 10)
    assert {k: list(v) for k, v in arrange(wanted, stamps(tmp_path)).items()} == {
        "animal": ["stamps/animals/a.png", "stamps/animals/z.png"],
        "food": ["stamps/food/b.png"],
    }


def test_the_same_pictures_are_drawn_each_time_and_a_bytes_copy_written(
    tmp_path: Path, found: dict[str, Path]
) -> None:
    wanted = Set({"animal": "stamps/animals/", "food": "stamps/food/"}, {"animal": 3, "food": 99})
    drawn = draw(arrange(wanted, found), wanted.most)
    assert [len(pictures) for pictures in drawn.values()] == [3, 20]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        copy(wanted, dict(reversed(found.items())), tmp_path / name)
    assert names(tmp_path / "one") == names(tmp_path / "two")
    first = next(iter(drawn["animal"]))
    written = tmp_path / "one" / "animal" / first.replace("/", "-")
    assert written.read_bytes() == found[first].read_bytes()


def test_emoji_are_found_by_their_code_points(tmp_path: Path) -> None:
    for stem in ("2764", "1f468-1f373"):
        picture(tmp_path / f"{stem}.png")
    groups = [("2764 FE0F", "heart"), ("1F468 200D 1F373", "person"), ("1F600", "face (none)")]
    table = tmp_path / "emoji.json"
    table.write_text(
        json.dumps([{"codes": c, "group": "Smileys & Emotion", "subgroup": s} for c, s in groups])
    )
    assert sorted(emoji(tmp_path, table)) == [
        "emoji/smileys-emotion/heart/2764.png",
        "emoji/smileys-emotion/person/1f468-1f373.png",
    ]


def test_colour_alone_decides(tmp_path: Path, found: dict[str, Path]) -> None:
    """Each picture is in one class; formats and sizes are the same in both; gray is left out."""
    picture(tmp_path / "in" / "animals" / "gray.png", GRAY)
    out = tmp_path / "out"
    out.mkdir()
    exchange_colours(Set({"any": "stamps/"}, 99), stamps(tmp_path / "in"), out)
    parts = names(out)
    stems = [Path(name).stem for part in parts.values() for name in part]
    assert sorted(stems) == sorted(Path(n.replace("/", "-")).stem for n in found)
    for kind, channel in (("as it is", 0), ("red and blue exchanged", 2)):
        suffixes = [Path(name).suffix for name in parts[kind]]
        assert all(suffixes.count(suffix) == 4 for suffix in FORMATS)
        for path in (out / kind).iterdir():
            with Image.open(path) as image:
                assert image.mode == "RGB"
                assert np.argmax(image.getpixel((32, 32))) == channel
                assert min(image.getpixel((0, 0))) > 240


def test_shape_alone_decides(tmp_path: Path, found: dict[str, Path]) -> None:
    Image.new("RGB", (64, 64), RED).save(tmp_path / "in" / "food" / "a frame.png")
    out = tmp_path / "out"
    out.mkdir()
    wanted = Set({"animal": "stamps/animals/", "food": "stamps/food/"}, 99)
    draw_silhouettes(wanted, stamps(tmp_path / "in"), out)
    assert [len(part) for part in names(out).values()] == [20, 20]
    for path in out.rglob("*.png"):
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (SILHOUETTE_SIDE, SILHOUETTE_SIDE))
            pixels = np.asarray(image)
        assert (pixels[0, 0], pixels[SILHOUETTE_SIDE // 2, SILHOUETTE_SIDE // 2]) == (255, 0)


@pytest.mark.parametrize("place", [Path.mkdir, Path.touch, lambda p: p.symlink_to("nowhere")])
def test_what_exists_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(own_pictures, "unpack", pytest.fail)
    place(tmp_path / "mine")
    with pytest.raises(ThawError, match="mine exists"):
        make("few", tmp_path / "mine")


@pytest.mark.parametrize(
    ("tool", "said"),
    [("apt-get", "E: Unable to locate package"), ("npm", "npm error network"), (None, "not found")],
)
def test_a_failed_tool_is_one_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str | None, said: str
) -> None:
    """The tools are scripts that fail as these do without a network."""
    commands, scratch = tmp_path / "bin", tmp_path / "tmp"
    for folder in (commands, scratch):
        folder.mkdir()
    if tool:
        (commands / tool).write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        (commands / tool).chmod(0o755)
    ended = subprocess.run(
        (sys.executable, "-m", "tools.own_pictures", "many" if tool == "npm" else "few", "out"),
        cwd=tmp_path,
        env={"PATH": str(commands), "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin", "tmp"]
    assert not list(scratch.iterdir())


def test_other_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "npm").write_text("#!/bin/sh\necho other > a-1.tgz\n")
    (commands / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(commands))
    with pytest.raises(ThawError, match=r"holds other bytes: expected SHA-256 abc. Received: "):
        unpack(Package("npm", "a", "1", "abc", "MIT", "package"), tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_few_is_made_from_debians_package(tmp_path: Path) -> None:
    said = make("few", tmp_path / "few")
    assert said.endswith(
        "50 pictures, 5 classes, from tuxpaint-stamps-default 2022.06.04-1 (GPL-2)"
    )
    parts = names(tmp_path / "few")
    assert sorted(parts) == sorted(SETS["few"].classes)
    assert {len(part) for part in parts.values()} == {10}
    assert not [p for p in tmp_path.iterdir() if p.name != "few"]
