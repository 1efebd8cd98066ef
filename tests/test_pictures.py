import os
import tarfile
import unicodedata
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from picture_files import bomb, saved
from PIL import Image

from thaw.data import picture_files
from thaw.data.decoding import FORMATS, decode
from thaw.data.pictures import Pictures, read_pictures
from thaw.data.problems import MOST_NAMED, shown
from thaw.support.errors import ThawError

ROOT = os.geteuid() == 0


def picture(number: int, *, gray: bool = False) -> bytes:
    """A PNG of noise, which is another one for each number."""
    shape = (6, 6) if gray else (6, 6, 3)
    noise = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    return saved(Image.fromarray(noise))


def write(folder: Path, **files: bytes | int) -> Path:
    """Write files; `__` in a name stands for a slash, and a number for that picture."""
    for name, content in files.items():
        put(folder / name.replace("__", "/"), content)
    return folder


def put(path: Path, content: bytes | int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(content) if isinstance(content, int) else content)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of three pictures."""
    folder = tmp_path / "my pets"
    for number in range(6):
        put(folder / ("cats", "dogs")[number % 2] / f"{number}.png", number)
    return folder


def refusal(folder: Path) -> str:
    """What `read_pictures` says; it must ask nobody to keep anything of a folder that is wrong."""
    before = contents(folder.parent)
    with pytest.raises(ThawError) as caught:
        read_pictures(folder)
    assert contents(folder.parent) == before
    return str(caught.value)


def contents(folder: Path) -> list[str]:
    return sorted(str(p) for p in folder.rglob("*"))


def tar(path: Path, members: dict[str, bytes | int | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            data = picture(content) if isinstance(content, int) else content
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, BytesIO(data))
    return path


def test_classes_are_folders(pets: Path) -> None:
    found = read_pictures(pets)
    assert found.classes == ("cats", "dogs")
    assert found.files.names == tuple(f"{c}/{n}.png" for c, ns in PETS.items() for n in ns)
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.labels.dtype == found.groups.dtype == np.int64
    assert found.groups.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.parts is None
    assert (found.gray, found.left_out, found.duplicates, found.moved) == (False, 0, 0, 0)
    assert len(found) == 6


PETS = {"cats": (0, 2, 4), "dogs": (1, 3, 5)}


def parts(folder: Path, *names: str, start: int = 0) -> Path:
    number = start
    for part in names:
        for name in ("cats", "dogs"):
            for _ in range(3):
                put(folder / part / name / f"{number}.png", number)
                number += 1
    return folder


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_parts_are_folders_above(tmp_path: Path, validation: str) -> None:
    found = read_pictures(parts(tmp_path, "train", validation, "TEST"))
    assert found.classes == ("cats", "dogs")
    assert found.parts is not None
    names = {
        name.split("/")[0]: part for name, part in zip(found.files.names, found.parts, strict=True)
    }
    assert names == {"train": "train", validation: "validation", "TEST": "test"}


def test_some_parts_may_be_missing(tmp_path: Path) -> None:
    found = read_pictures(parts(tmp_path, "train", "test"))
    assert found.parts is not None
    assert set(found.parts.tolist()) == {"train", "test"}


def test_pictures_below_a_class_are_its(pets: Path) -> None:
    put(pets / "cats/wild/lions/10.png", 10)
    found = read_pictures(pets)
    assert found.files.names[3] == "cats/wild/lions/10.png"
    assert found.labels[3] == 0


def test_links_are_followed(pets: Path, tmp_path: Path) -> None:
    put(tmp_path / "elsewhere/9.png", 9)
    put(tmp_path / "more/11.png", 11)
    (pets / "cats/9.png").symlink_to(tmp_path / "elsewhere/9.png")
    (pets / "dogs/more").symlink_to(tmp_path / "more")
    (tmp_path / "link").symlink_to(pets)
    found = read_pictures(tmp_path / "link")
    assert "cats/9.png" in found.files.names
    assert "dogs/more/11.png" in found.files.names


def test_any_name_works(tmp_path: Path) -> None:
    names = [b"a b.png", b"line\nbreak.png", "猫 é.png".encode(), b"latin\xe9.png", b"-rf.png"]
    for i, name in enumerate(names):
        for j, kind in enumerate(("été", "кошки")):
            put(tmp_path / kind / os.fsdecode(name), 2 * i + j)
    found = read_pictures(tmp_path)
    assert len(found) == 10
    assert "été/latin\\udce9.png" in found.files.names
    "".join(found.files.names).encode()
    assert found.files.decode(np.arange(10)).shape == (10, 224, 224, 3)


def test_left_out_files_are_counted(pets: Path) -> None:
    for name in (".DS_Store", "cats/Thumbs.db", "dogs/desktop.ini", "cats/._0.png"):
        put(pets / name, b"x")
    put(pets / ".git/config", b"x")
    put(pets / "__MACOSX/cats/0.png", b"x")
    assert read_pictures(pets).left_out == 6


def test_the_same_picture_is_one_group(pets: Path) -> None:
    (pets / "cats/a copy.png").write_bytes((pets / "cats/2.png").read_bytes())
    with Image.open(pets / "cats/2.png") as image:
        image.save(pets / "cats/other bytes.bmp")
    found = read_pictures(pets)
    assert found.files.names[:5] == (
        "cats/0.png",
        "cats/2.png",
        "cats/4.png",
        "cats/a copy.png",
        "cats/other bytes.bmp",
    )
    assert found.groups.tolist() == [0, 1, 2, 1, 1, 3, 4, 5]
    assert found.duplicates == 2
    assert found.moved == 0


def test_copies_in_two_parts_are_moved(tmp_path: Path) -> None:
    folder = parts(tmp_path, "train", "val", "test")  # cats: 0-2, 6-8, 12-14
    put(folder / "train/cats/copy of 6.png", 6)
    put(folder / "train/cats/copy of 12.png", 12)
    put(folder / "val/cats/copy of 12.png", 12)
    found = read_pictures(folder)
    assert found.parts is not None
    of = dict(zip(found.files.names, found.parts, strict=True))
    assert of["train/cats/copy of 6.png"] == "validation"
    assert of["train/cats/copy of 12.png"] == of["val/cats/copy of 12.png"] == "test"
    assert (found.duplicates, found.moved) == (3, 3)


def test_a_part_that_lost_all_of_a_class_by_moving(tmp_path: Path) -> None:
    folder = parts(tmp_path, "train", "val", "test")
    for i in (6, 7, 8):
        put(folder / f"test/cats/{i}.png", i)
    said = refusal(folder)
    assert "cats has no picture in validation; every part needs one of each class" in said


def test_gray(tmp_path: Path) -> None:
    for number in range(6):
        put(tmp_path / "ab"[number % 2] / f"{number}.png", picture(number, gray=True))
    assert read_pictures(tmp_path).gray
    put(tmp_path / "a/colour.png", 7)
    assert not read_pictures(tmp_path).gray


def test_pixels_come_in_order_and_again(pets: Path) -> None:
    kept: dict[int, NDArray[np.uint8]] = {}
    found = read_pictures(pets, kept.__setitem__)
    assert list(kept) == [0, 1, 2, 3, 4, 5]
    for position, pixels in kept.items():
        np.testing.assert_array_equal(pixels, decode(pets / found.files.names[position]))
    again = found.files.decode([4, 1])
    np.testing.assert_array_equal(again, np.stack([kept[4], kept[1]]))
    assert found.files.decode([]).shape == (0, 224, 224, 3)


def test_a_file_that_changes_between_the_passes(pets: Path) -> None:
    found = read_pictures(pets)
    put(pets / "cats/0.png", 99)
    (pets / "cats/2.png").unlink()
    with pytest.raises(ThawError, match=r"cats/0.png in .* has changed .* Received: other pixels"):
        found.files.decode([0])
    with pytest.raises(ThawError, match=r"cats/2.png .* Received: it does not exist"):
        found.files.decode([1])


def test_nothing_is_kept_after_the_first_problem(pets: Path) -> None:
    put(pets / "cats/3.png", b"")
    kept: list[int] = []
    with pytest.raises(ThawError):
        read_pictures(pets, lambda position, _: kept.append(position))
    assert kept == [0, 1]


def test_a_slow_reader_is_waited_for(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the pixels of all pictures would pile up in memory."""
    done: list[int] = []
    monkeypatch.setattr(picture_files.joblib, "cpu_count", lambda: 2)
    results = picture_files._in_order(lambda item: done.append(item) or item, range(1_000))
    assert next(results) == 0
    assert len(done) <= 2 * picture_files._AHEAD + 1
    assert list(results) == list(range(1, 1_000))


# What is refused.


def test_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ThawError, match=r"a folder of pictures\. Received: nothing is there"):
        read_pictures(tmp_path / "none")
    put(tmp_path / "file", b"x")
    with pytest.raises(ThawError, match=r"must be a folder of pictures\. Received: a file"):
        read_pictures(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "there are no pictures" in refusal(tmp_path / "empty")
    (tmp_path / "hidden").mkdir()
    put(tmp_path / "hidden/.a", b"x")
    assert "there are no pictures" in refusal(tmp_path / "hidden")


def loop(pets: Path) -> None:
    (pets / "cats/loop").symlink_to(pets)


def twice(pets: Path) -> None:
    (pets / "kittens").symlink_to(pets / "cats")


def pipe(pets: Path) -> None:
    os.mkfifo(pets / "cats/pipe.png")


def collide(pets: Path) -> None:
    for number in range(3):
        put(pets / "Cats" / f"{number}.png", 20 + number)


def compose(pets: Path) -> None:
    for i, form in enumerate(("NFC", "NFD")):
        for number in range(3):
            put(pets / unicodedata.normalize(form, "é") / f"{number}.png", 20 + 3 * i + number)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda f: put(f / "cats/x.jpg", b""), "cats/x.jpg is empty"),
    "text": (lambda f: put(f / "cats/x.jpg", b"hello"), "cats/x.jpg is not a picture that thaw"),
    "cut": (lambda f: put(f / "cats/x.png", picture(0)[:60]), "cats/x.png is cut off or damaged: "),
    "bomb": (lambda f: put(f / "cats/x", bomb("PNG")), "cats/x has 2,147,483,648 pixels; at most"),
    "top": (lambda f: put(f / "x.png", 9), "x.png lies in no folder of a class"),
    "newline": (lambda f: put(f / "cats/a\nb.png", b""), r"'cats/a\nb.png' is empty"),
    "loop": (loop, "cats/loop leads to the folder itself; each folder"),
    "above": (
        lambda f: (f / "cats/above").symlink_to(f.parent.parent),
        "cats/above leads to a folder above; each folder",
    ),
    "twice": (twice, "kittens leads to cats; each folder is read once"),
    "link": (lambda f: (f / "cats/l").symlink_to("l"), "cats/l is a symbolic link that leads to"),
    "nothing": (lambda f: (f / "cats/m").symlink_to("no"), "cats/m is a symbolic link to nothing"),
    "pipe": (pipe, "cats/pipe.png is a FIFO, not a file"),
    "few": (lambda f: put(f / "owls/9.png", 9), "owls has 1 different picture; at least 3 are"),
    "copies": (
        lambda f: [put(f / f"owls/{i}.png", 8 + i // 2) for i in range(4)],
        "owls has 2 different pictures; at least 3 are needed, one for each part that is drawn",
    ),
    "none": (lambda f: (f / "owls").mkdir(), "owls has no picture; at least 3 are needed"),
    "conflict": (lambda f: put(f / "dogs/x.png", 0), "cats/0.png and dogs/x.png"),
    "mixture": (lambda f: parts(f, "train", start=20), "train and cats, dogs lie side by side"),
    "capitals": (collide, "'Cats' and 'cats' differ only in capitals, spaces or in how Unicode"),
    "unicode": (compose, r"'e\u0301' and '\xe9' differ only in capitals"),
    "space": (
        lambda f: [put(f / " " / f"{i}.png", 20 + i) for i in range(3)],
        "' ' is an empty name",
    ),
    "control": (
        lambda f: [put(f / "a\tb" / f"{i}.png", 20 + i) for i in range(3)],
        r"'a\tb' has control characters, or is no Unicode",
    ),
    "shard in a class": (lambda f: tar(f / "cats/x.tar", {}), "cats/x.tar is not a picture that"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said(pets: Path, what: str) -> None:
    spoil, expected = WRONG[what]
    spoil(pets)
    assert f"\n  {expected}" in refusal(pets)


def test_all_that_is_wrong_is_in_one_report(pets: Path) -> None:
    for what in WRONG:
        if what not in ("mixture", "copies", "text", "none"):  # the last three: another's names
            WRONG[what][0](pets)
    said = refusal(pets)
    for what, (_, expected) in WRONG.items():
        if what not in ("mixture", "copies", "text", "none"):
            assert expected in said, what
    assert said.startswith(f"{pets} cannot be used as a dataset. Received: ")
    assert said.endswith("Nothing was written.")


def test_one_class_only(pets: Path) -> None:
    for number in PETS["dogs"]:
        (pets / f"dogs/{number}.png").unlink()
    (pets / "dogs").rmdir()
    assert "cats is the only class; at least 2 are needed" in refusal(pets)


def test_parts_that_are_wrong(tmp_path: Path) -> None:
    assert "no part to train on" in refusal(parts(tmp_path / "a", "val", "test"))
    said = refusal(parts(tmp_path / "b", "train", "val", "valid", "test"))
    assert "val and valid are the same part, validation: join them" in said
    lacking = parts(tmp_path / "c", "train", "test")
    put(lacking / "train/owls/1.png", 90)
    said = refusal(lacking)
    assert "owls has 1 different picture in train; at least 2 are needed" in said
    assert "owls has no picture in test; every part needs one of each class" in said
    (lacking / "valid").mkdir()
    assert "cats has no picture in validation" in refusal(lacking)


def test_hundreds_of_problems_are_counted(pets: Path) -> None:
    for number in range(300):
        put(pets / f"cats/x{number:03}.png", b"")
    said = refusal(pets)
    assert "Received: 300 problems." in said
    assert said.count(" is empty") == MOST_NAMED
    assert f"  .. and {300 - MOST_NAMED} more" in said


# Shards.


def labelled(numbers: range, names: dict[int, str]) -> dict[str, Any]:
    """Members `key.png` and `key.cls`."""
    members: dict[str, Any] = {}
    for n in numbers:
        members |= {f"{n:04}.png": n, f"{n:04}.cls": names[n % 2], f"{n:04}.json": "{}"}
    return members


def same(found: Pictures, folder: Pictures) -> None:
    assert found.classes == folder.classes
    assert sorted(zip(found.files.digests, found.labels, strict=True)) == sorted(
        zip(folder.files.digests, folder.labels, strict=True)
    )


def test_shards_equal_the_folder(pets: Path, tmp_path: Path) -> None:
    folder = read_pictures(pets)
    for way, names in (("name", {0: "cats", 1: "dogs\n"}), ("index", {0: "0", 1: "1"})):
        shards = tmp_path / way
        tar(shards / "0.tar", labelled(range(4), names))
        tar(shards / "1.tar", labelled(range(4, 6), names))
        put(shards / "README.md", b"mine")
        if way == "index":
            put(shards / "classnames.txt", b"cats\ndogs\n")
        found = read_pictures(shards)
        same(found, folder)
        assert found.files.names[0] == "0.tar/0000.png"
        assert found.left_out == 6 + 1
        np.testing.assert_array_equal(
            found.files.decode([5]), folder.files.decode([folder.files.names.index("dogs/5.png")])
        )
    members = {f"./{name}": (pets / name).read_bytes() for name in folder.files.names}
    tar(tmp_path / "folders/all.tar", {**members, "./cats/._0.png": b"x"})
    found = read_pictures(tmp_path / "folders")
    same(found, folder)
    assert found.left_out == 1
    assert found.parts is None


def test_class_names_keep_the_order_of_their_file(tmp_path: Path) -> None:
    tar(tmp_path / "x.tar", labelled(range(6), {0: "0", 1: "1"}))
    put(tmp_path / "classnames.txt", b"Zebra\nApe\nnever\n")
    found = read_pictures(tmp_path)
    assert found.classes == ("Zebra", "Ape")
    assert found.labels.tolist() == [0, 1] * 3


def test_parts_of_shards(tmp_path: Path) -> None:
    names = {0: "cats", 1: "dogs"}
    for way, where in enumerate(("{}-0000.tar", "{}/0000.tar", "{}.tar")):
        folder = tmp_path / str(way)
        for i, part in enumerate(("train", "val", "test")):
            tar(folder / where.format(part), labelled(range(9 * i, 9 * i + 6), names))
        found = read_pictures(folder)
        assert found.parts is not None
        assert found.classes == ("cats", "dogs")
        assert sorted(set(found.parts.tolist())) == ["test", "train", "validation"]


def test_parts_within_a_tar_file(pets: Path, tmp_path: Path) -> None:
    folder = parts(tmp_path / "f", "train", "test")
    members = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.png")}
    tar(tmp_path / "s/all.tar", members)
    found = read_pictures(tmp_path / "s")
    assert found.parts is not None
    assert set(found.parts.tolist()) == {"train", "test"}


def test_shards_that_are_wrong(tmp_path: Path) -> None:
    good = labelled(range(6), {0: "cats", 1: "dogs"})
    path = tar(tmp_path / "a.tar", good)
    whole = path.read_bytes()
    put(tmp_path / "cut.tar", whole[:2_000])
    put(tmp_path / "no end.tar", whole[: whole.rindex(b"ustar") + 2_000].rstrip(b"\0") + b"\0" * 9)
    put(tmp_path / "text.tar", b"hello" * 200)
    put(tmp_path / "stray.png", 0)
    tar(
        tmp_path / "b.tar",
        {"1.jpg": 1, "2.jpg": 2, "2.cls": "cats", "3.cls": "dogs", "a/4.cls": ""},
    )
    tar(tmp_path / "c.tar", {"5.jpg": b"", "5.cls": b"\xff", "6.jpg": b"", "6.cls": "dogs"})
    with tarfile.open(tmp_path / "d.tar", "w") as file:
        info = tarfile.TarInfo("cats/link.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(info)
    said = refusal(tmp_path)
    for expected in (
        "cut.tar is no tar file, or cut off or damaged",
        "no end.tar is",
        "text.tar is no tar file, or cut off or damaged",
        "stray.png lies beside tar files, and is none",
        "b.tar/1.jpg has no class: the member of this name and .cls is missing",
        "b.tar/3.cls has no picture beside it",
        "b.tar/a/4.cls has no picture beside it",
        "c.tar/5.cls must hold an index or a name, but holds nothing readable",
        "c.tar/6.jpg is empty",
        "d.tar/cats/link.png is a link or the like, not a file",
    ):
        assert f"\n  {expected}" in said
    put(tmp_path / "classnames.txt", b"mice\n")
    assert "a.tar/0000.cls must hold an index or a name of classnames.txt, but" in refusal(tmp_path)
    put(tmp_path / "classnames.txt", b"\xff\n")
    assert "classnames.txt is not UTF-8" in refusal(tmp_path)


# 300 bad folders.

DAMAGE: dict[str, Callable[[Path, int], Any]] = {
    "zero bytes": lambda path, _: put(path, b""),
    "cut off": lambda path, n: put(path, picture(n)[: 30 + n % 60]),
    "text": lambda path, n: put(path, b"not a picture %d" % n),
    "bomb": lambda path, n: put(path, bomb(FORMATS[n % len(FORMATS)])),
    "link loop": lambda path, _: path.symlink_to(path.name),
    "folder loop": lambda path, _: path.symlink_to(path.parent),
    "link to nothing": lambda path, _: path.symlink_to("nowhere"),
    "pipe": lambda path, _: os.mkfifo(path),
}
if not ROOT:  # who may read everything
    DAMAGE["unreadable"] = lambda path, n: (put(path, n), path.chmod(0))
STEMS = st.sampled_from(
    ["a", "new\nline", "tab\t", "sp ace", "猫", "\udcff", "-", "'quote", "e\u0301"]
)
BAD = st.lists(
    st.tuples(
        st.sampled_from(sorted(DAMAGE)), STEMS, st.sampled_from([".png", ".jpg", "", ".txt"])
    ),
    min_size=1,
    max_size=5,
)


SOUND = {f"{('cats', 'dogs')[n % 2]}/{n}.png": picture(n) for n in range(6)}


def check_bad_folder(folder: Path, bad: list[tuple[str, str, str]]) -> None:
    for name, content in SOUND.items():
        put(folder / name, content)
    names = []
    for i, (damage, stem, end) in enumerate(bad):
        names.append(f"{('cats', 'dogs')[i % 2]}/{stem}{i}{end}")
        DAMAGE[damage](folder / names[-1], i)
    said = refusal(folder)
    for name in names:
        assert f"\n  {shown(name)} " in said
    assert f"Received: {len(bad)} problem" in said
    assert all(line.isprintable() for line in said.split("\n"))


@settings(max_examples=40, deadline=None)
@given(bad=BAD)
def test_every_bad_file_is_named(
    tmp_path_factory: pytest.TempPathFactory, bad: list[tuple[str, str, str]]
) -> None:
    check_bad_folder(tmp_path_factory.mktemp("some") / "bad", bad)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(bad=BAD)
def test_every_bad_file_of_300_folders_is_named(
    tmp_path_factory: pytest.TempPathFactory, bad: list[tuple[str, str, str]]
) -> None:
    check_bad_folder(tmp_path_factory.mktemp("some") / "bad", bad)
