"""Make a folder of pictures, CLASS/picture, from packages: python -m tools.own_pictures SET FOLDER.

The sets are examples of what people bring, for docs/own-pictures.md and its tests:

two         animals against food, mostly cut-out photographs
many        25 classes of emoji, named by Unicode's subgroups
imbalanced  a mammal or anything else, 15 to 1,500
colour      the same kinds of pictures as they are, or with red and blue exchanged; five formats
shape       black silhouettes of animals, letters and vehicles; for `image_size: 128`
few         five classes of ten, all but one photographs

The bundled weights have seen none of these pictures. They saw other drawings of the same emoji,
and clip art of animals, food and vehicles, without the names of their classes.
"""

import argparse
import hashlib
import json
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from thaw.support.errors import ThawError
from thaw.support.files import atomic_folder
from tools.packages import Package, unpack

STAMPS = Package(
    "apt",
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    "GPL-2",
    "usr/share/tuxpaint/stamps",
)
EMOJI = Package(
    "npm",
    "emojione",
    "2.2.7",
    "5fe002738e6e276f49ac37783799d2feab99a6131fdedccfa56569d745449ae5",
    "CC-BY-4.0",
    "package/assets/png_128x128",
)
EMOJI_GROUPS = Package(
    "npm",
    "emoji.json",
    "16.0.0",
    "71cc1f9ab370fd3749fdde3c8ab2db13cf6f64c59ee918a4735b6a08e5e09c56",
    "MIT",
    "package",
)

SEED = 0
SMALLEST = 40
"""Shorter pictures are icons, pixels."""
CHROMA = 30
"""Mean difference of red and blue from which their exchange is seen, of 255."""
FORMATS = (".png", ".jpg", ".webp", ".bmp", ".tiff")
SILHOUETTE_SIDE = 256
"""Pixels; a sixth of it is margin."""
VARIANT = re.compile(r"_mirror$|_flip$|1f3f[b-f]")
"""In the names of pictures that repeat another: mirrored, or in another skin tone."""
NO_VEHICLES = "1f4ba|1f68f|1f6a5|1f6a6|1f6a7|1f6a8|1f6d1|1f6e2|1f6e3|1f6e4|1f689|26fd|2693"
"""Emoji of Unicode's transport groups, as traffic lights and fuel pumps."""

Classes = dict[str, dict[str, Path]]
"""Of each class, its pictures by their names."""


@dataclass(frozen=True)
class Set:
    """Which pictures make which class, and how they are written."""

    classes: Mapping[str, str]
    """Of each class, a regular expression that its pictures' names match, see `stamps`, `emoji`."""
    most: int | Mapping[str, int]
    """Pictures of a class."""
    variants: bool = False
    """Whether pictures that repeat another may be in it."""


_MANY = {
    "air and water transport": "travel-places/transport-(air|water)",
    "arrow": "symbols/arrow",
    "book and paper": "objects/book-paper",
    "building": "travel-places/place-building",
    "button": "symbols/av-symbol",
    "clock": "travel-places/time",
    "clothing": "objects/clothing",
    "event": "activities/event",
    "flag": "flags/country-flag",
    "fruit": "food-drink/food-fruit",
    "game": "activities/game",
    "geometric": "symbols/geometric",
    "ground transport": "travel-places/transport-ground",
    "heart": "smileys-emotion/heart",
    "letters and digits": "symbols/alphanum",
    "light and video": "objects/light-video",
    "mammal": "animals-nature/animal-mammal",
    "office": "objects/office",
    "place": "travel-places/place-other",
    "plant": "animals-nature/plant-(flower|other)",
    "prepared food": "food-drink/food-prepared",
    "sport": "activities/sport",
    "tool": "objects/tool",
    "weather": "travel-places/sky-weather",
    "worried face": "smileys-emotion/face-concerned",
}
SETS = {
    "two": Set({"animal": "stamps/animals/", "food": "stamps/food/"}, 200),
    "many": Set({name: f"emoji/{group}/" for name, group in _MANY.items()}, 40),
    "imbalanced": Set(
        {
            "mammal": "emoji/animals-nature/animal-mammal/",
            # Faces of cats and apes, and other animals, would be errors of the names alone.
            "other": "emoji/(?!animals-nature/animal-|smileys-emotion/(cat|monkey)-face)",
        },
        {"mammal": 15, "other": 1500},
        variants=True,
    ),
    "colour": Set({"any": "(stamps|emoji)/"}, 1200),
    "shape": Set(
        {
            "animal": "stamps/animals/|emoji/animals-nature/animal-(?!mammal/1f43e)",
            "letter": "stamps/symbols/alphabets/(?!asl)",
            "vehicle": "stamps/(vehicles|military/vehicles)/(?!.*(7spoke|wheel|Sign))"
            f"|emoji/travel-places/transport-(air|ground|water)/(?!{NO_VEHICLES})",
        },
        120,
    ),
    "few": Set(
        {
            "bird": "stamps/animals/birds/(?!cartoon)",
            "flower": "stamps/plants/flowers/",
            "fruit": "stamps/food/fruit/(?!cartoon)",
            "mammal": "stamps/animals/mammals/(?!.*cartoon)",
            "vegetable": "stamps/food/vegetables/",
        },
        10,
    ),
}


def stamps(folder: Path) -> dict[str, Path]:
    """Return the stamps by their names, stamps/PATH."""
    return {f"stamps/{p.relative_to(folder).as_posix()}": p for p in folder.rglob("*.png")}


def emoji(folder: Path, groups: Path) -> dict[str, Path]:
    """Return the emoji by their names, emoji/GROUP/SUBGROUP/CODES.png.

    Args:
        folder: pictures that are named by their code points in hexadecimal.
        groups: JSON, a list of emoji with their codes, group and subgroup.

    """
    found = {}
    for one in json.loads(groups.read_text(encoding="utf-8")):
        group, subgroup = (re.sub(r"\W+", "-", one[key].lower()) for key in ("group", "subgroup"))
        # The file names leave out the joiner and the variation selector.
        codes = "-".join(c for c in one["codes"].lower().split() if c not in ("fe0f", "200d"))
        if (path := folder / f"{codes}.png").exists():
            found[f"emoji/{group}/{subgroup}/{codes}.png"] = path
    return found


def arrange(wanted: Set, found: Mapping[str, Path]) -> Classes:
    """Return each class's pictures in the order of their names, no two with the same pixels."""
    classes: Classes = {name: {} for name in wanted.classes}
    seen = set()
    for name, path in sorted(found.items()):
        kind = next((k for k, pattern in wanted.classes.items() if re.match(pattern, name)), None)
        if kind is None or (VARIANT.search(path.stem) and not wanted.variants):
            continue
        pixels = _rgba(path)
        digest = hashlib.sha256(f"{pixels.size}".encode() + pixels.tobytes()).digest()
        if min(pixels.size) >= SMALLEST and digest not in seen:
            seen.add(digest)
            classes[kind][name] = path
    return classes


def draw(classes: Classes, most: int | Mapping[str, int]) -> Classes:
    """Return at most so many pictures of each class, drawn by a fixed seed, in the same order."""
    limits = dict.fromkeys(classes, most) if isinstance(most, int) else most
    drawn = {}
    for kind, pictures in classes.items():
        names = random.Random(SEED).sample(list(pictures), min(limits[kind], len(pictures)))
        drawn[kind] = {name: pictures[name] for name in sorted(names)}
    return drawn


def copy(wanted: Set, found: Mapping[str, Path], to: Path) -> None:
    """Copy the pictures as they are in their packages."""
    for kind, pictures in draw(arrange(wanted, found), wanted.most).items():
        for name, path in pictures.items():
            shutil.copyfile(path, _place(to, kind, name))


def exchange_colours(wanted: Set, found: Mapping[str, Path], to: Path) -> None:
    """Write every picture once, on white: as it is, or with its red and blue channels exchanged.

    A picture of the one class has no twin in the other, and the formats are the same in both.
    """
    (pictures,) = arrange(wanted, found).values()
    coloured = {n: p for n, p in pictures.items() if _chroma(p) >= CHROMA}
    drawn = draw({"any": coloured}, wanted.most)["any"]
    names = random.Random(SEED).sample(sorted(drawn), len(drawn))
    for index, name in enumerate(names):
        image = _on_white(drawn[name])
        image.thumbnail((512, 512))
        kind = ("as it is", "red and blue exchanged")[index % 2]
        if index % 2:
            red, green, blue = image.split()
            image = Image.merge("RGB", (blue, green, red))
        suffix = FORMATS[index // 2 % len(FORMATS)]
        image.save(_place(to, kind, str(Path(name).with_suffix(suffix))))


def draw_silhouettes(wanted: Set, found: Mapping[str, Path], to: Path) -> None:
    """Write what is not transparent, black on a white square, in the picture's middle."""
    classes = arrange(wanted, found)
    cut = {k: {n: p for n, p in all_.items() if _is_cut_out(p)} for k, all_ in classes.items()}
    for kind, pictures in draw(cut, wanted.most).items():
        for name, path in pictures.items():
            # All of one size, which would tell letters otherwise.
            shape = ImageOps.contain(_shape(path), (SILHOUETTE_SIDE * 5 // 6,) * 2)
            square = Image.new("L", (SILHOUETTE_SIDE,) * 2, 255)
            corner = [(SILHOUETTE_SIDE - length) // 2 for length in shape.size]
            square.paste(0, (corner[0], corner[1]), shape)
            square.save(_place(to, kind, name))


WRITERS = {"colour": exchange_colours, "shape": draw_silhouettes}


def _place(to: Path, kind: str, name: str) -> Path:
    (to / kind).mkdir(exist_ok=True)
    return to / kind / name.replace("/", "-")


def _rgba(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGBA")


def _on_white(path: Path) -> Image.Image:
    image = _rgba(path)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _chroma(path: Path) -> float:
    """Return how much red and blue differ on average where the picture is not transparent."""
    pixels = np.asarray(_rgba(path)).astype(np.int16)
    opaque = pixels[..., 3] > 127
    return float(np.abs(pixels[..., 0] - pixels[..., 2])[opaque].mean()) if opaque.any() else 0.0


def _shape(path: Path) -> Image.Image:
    """Return what is not transparent, as a mask without an empty rim."""
    alpha = _rgba(path).getchannel("A").point(lambda value: 255 * (value > 127))
    return alpha.crop(alpha.getbbox())


def _is_cut_out(path: Path) -> bool:
    """Whether a picture's outline is its object's, and not a frame."""
    return 0.05 < np.asarray(_shape(path)).mean() / 255 < 0.95


def make(name: str, folder: Path) -> str:
    """Fetch the packages, write a set's folder whole or not at all, and describe it.

    Raises:
        ThawError: the folder exists, or a package cannot be had.

    """
    if folder.exists() or folder.is_symlink():
        raise ThawError(f"{folder} exists. Name a folder that does not: this tool makes it.")
    wanted = SETS[name]
    ways = " ".join(wanted.classes.values())
    with tempfile.TemporaryDirectory(prefix="thaw-packages-") as content:
        found: dict[str, Path] = {}
        used = []
        if "stamps" in ways:
            found |= stamps(unpack(STAMPS, Path(content)))
            used.append(STAMPS)
        if "emoji" in ways:
            found |= emoji(
                unpack(EMOJI, Path(content)), unpack(EMOJI_GROUPS, Path(content)) / "emoji.json"
            )
            used += [EMOJI, EMOJI_GROUPS]
        with atomic_folder(folder) as scratch:
            WRITERS.get(name, copy)(wanted, found, scratch)
            counts = [len(list(part.iterdir())) for part in scratch.iterdir()]
    sources = ", ".join(f"{one.name} {one.version} ({one.licence})" for one in used)
    return f"{folder}: {sum(counts):,} pictures, {len(counts)} classes, from {sources}"


def main() -> None:
    """Make the set that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.own_pictures", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("set", choices=SETS)
    parser.add_argument("folder", type=Path, help="is made; must not exist")
    asked = parser.parse_args()
    try:
        print(make(asked.set, asked.folder))
    except (ThawError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
