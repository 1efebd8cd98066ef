"""Links, folders, FIFOs and files of the user's, wherever thaw reads, writes or removes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TEN_CLASSES, tree

from thaw.config.load import load_params
from thaw.data import fashion_mnist, image_store
from thaw.data.dataset import write_dataset
from thaw.network import features, weights
from thaw.network.classifier import load_classifier
from thaw.support.errors import ThawError
from thaw.support.files import atomic_file, atomic_folder, put_back, remove_folder, sha256
from thaw.support.tables import read_csv, read_json
from thaw.training.checkpoint import HISTORY, open_checkpoint


def write_folder(folder: Path, *names: str) -> None:
    with atomic_folder(folder) as scratch:
        for name in names or ("file",):
            (scratch / name).write_text("new")


def write_file(path: Path) -> None:
    with atomic_file(path) as scratch:
        scratch.write_text("new")


def lay(kind: str, path: Path, mine: Path) -> None:
    """Put something of this kind at `path`; where it is a link, it leads to `mine`."""
    if kind == "folder":
        path.mkdir()
        (path / "file").write_text("mine")
    elif kind == "file":
        path.write_text("mine")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(mine if kind == "link" else mine / "nothing")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of the user's beside the project."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "file").write_text("mine")
    return folder


SCRATCH_FILE = f".thaw-tmp-{os.getpid()}-out"


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "folder", "fifo"])
@pytest.mark.parametrize(
    ("action", "place"),
    [
        (write_folder, "out"),
        (write_folder, ".thaw-tmp-out-old"),
        (put_back, "out"),
        (put_back, ".thaw-tmp-out-old"),
        (remove_folder, "out"),
        (write_file, "out"),
        pytest.param(write_file, SCRATCH_FILE, id="write_file-scratch"),
    ],
)
def test_an_output_that_is_something_else_is_named_and_left_alone(
    tmp_path: Path, mine: Path, action: Callable[[Path], None], place: str, kind: str
) -> None:
    if kind == ("file" if action is write_file else "folder"):
        return
    root = tmp_path / "project"
    root.mkdir()
    lay(kind, root / place, mine)
    before = tree(tmp_path)
    with pytest.raises(ThawError, match=rf"(?i){place} must be a .*Received: .*{kind.split()[-1]}"):
        action(root / "out")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "folder", "fifo"])
@pytest.mark.parametrize("action", [write_folder, remove_folder])
def test_what_thaw_did_not_write_in_its_folder_stays(
    tmp_path: Path, mine: Path, action: Callable[[Path], None], kind: str
) -> None:
    if kind == "file" and action is remove_folder:
        return  # of a folder's files it cannot know
    out = tmp_path / "out"
    write_folder(out)
    lay(kind, out / "notes", mine)
    before = tree(tmp_path)
    with pytest.raises(ThawError, match=r"out/notes is not thaw's.*Move notes elsewhere"):
        action(out)
    assert tree(tmp_path) == before


def test_a_link_in_the_place_of_a_file_in_a_folder_stays(tmp_path: Path, mine: Path) -> None:
    write_folder(tmp_path / "out")
    (tmp_path / "out/file").unlink()
    (tmp_path / "out/file").symlink_to(mine / "file")
    before = tree(tmp_path)
    with pytest.raises(ThawError, match=r"out/file is not thaw's"):
        write_folder(tmp_path / "out")
    assert tree(tmp_path) == before


def test_folders_above_an_output_may_be_links(tmp_path: Path, mine: Path) -> None:
    """Somebody keeps data/ on a larger disk: beside what is there, thaw's outputs come and go."""
    (tmp_path / "data").symlink_to(mine)
    for _ in range(2):
        write_folder(tmp_path / "data/images")
        write_file(tmp_path / "data/models/some.h5")
    remove_folder(tmp_path / "data/images")
    assert {name for name in tree(mine) if "/" not in name} == {"file", "models"}
    assert (mine / "file").read_text() == "mine"
    assert (mine / "models/some.h5").read_text() == "new"


def test_a_folder_that_dvc_takes_whole_may_be_no_link(tmp_path: Path, mine: Path) -> None:
    """Else all of the user's would be in DVC's cache, and gone with the next `dvc checkout`."""
    out = tmp_path / "out"
    out.symlink_to(mine)
    model = SimpleNamespace(output_shape=(None, 8))
    with pytest.raises(ThawError, match=r"out must be a folder\. Received: a symbolic link"):
        image_store.write_images(out / "rgb32.h5", {}, image_store.SMALL)
    with pytest.raises(ThawError, match=r"out must be a folder\. Received: a symbolic link"):
        features.write_features(out / "features.h5", model, {}, "keras")
    assert set(tree(mine)) == {"file"}


@pytest.mark.parametrize("kind", ["file", "dangling link", "fifo"])
@pytest.mark.parametrize("action", [write_folder, write_file])
def test_what_lies_where_a_folder_is_needed_is_named(
    tmp_path: Path, mine: Path, action: Callable[[Path], None], kind: str
) -> None:
    lay(kind, tmp_path / "data", mine)
    with pytest.raises(ThawError, match=r"/data must be a folder\. Received: a .*"):
        action(tmp_path / "data/sub/out")


def test_what_cannot_be_removed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "out")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path / "file"))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    write_folder(tmp_path / "out")
    assert (tmp_path / "out/file").read_text() == "new"
    assert "-old; remove it by hand: [Errno 13]" in capsys.readouterr().err


def new_checkpoint(root: Path, seed: int) -> Path:
    folder = open_checkpoint(root, "train", {"seed": seed}, []).folder
    write_folder(folder, HISTORY)
    return folder


def test_pruning_checkpoints_leaves_what_is_the_users(tmp_path: Path, mine: Path) -> None:
    oldest = new_checkpoint(tmp_path, 0)
    for age, path in ((8, oldest), (9, new_checkpoint(tmp_path, 1))):
        os.utime(path, (age, age))
    stage = oldest.parent
    shutil.copytree(oldest, stage / f"{oldest.name}-backup")
    (stage / "notes").write_text("mine")
    (stage / "0123456789abcdef").symlink_to(mine)
    before = tree(tmp_path)
    open_checkpoint(tmp_path, "train", {"seed": 2}, [])
    gone = f".thaw/checkpoints/train/{oldest.name}"
    assert before.items() - tree(tmp_path).items() == {
        (name, content) for name, content in before.items() if name in (gone, f"{gone}/{HISTORY}")
    }


@pytest.mark.parametrize("kind", ["link", "file", "fifo"])
def test_what_is_called_like_an_unfinished_checkpoint_stays(
    tmp_path: Path, mine: Path, kind: str
) -> None:
    stage = new_checkpoint(tmp_path, 0).parent
    lay(kind, stage / ".thaw-tmp-mine", mine)
    before = tree(tmp_path)
    open_checkpoint(tmp_path, "train", {"seed": 0}, [])
    assert tree(tmp_path) == before


def read_images(path: Path) -> object:
    write_dataset(path.parent, TEN_CLASSES)
    return image_store.open_images(path.parent, image_store.SMALL, "test")


def read_resnet(path: Path) -> object:
    return weights.load(path.parent, weights.resnet50(32, top=False))


READERS: dict[str, Callable[[Path], object]] = {
    "some.json": read_json,
    "some.csv": read_csv,
    "some": sha256,
    "some-idx3-ubyte": fashion_mnist.read_idx,
    "train-images-idx3-ubyte": lambda path: fashion_mnist.load(path.parent),
    "features.h5": lambda path: features.load_features(path, "test", 10),
    "rgb32.h5": read_images,
    "resnet50.weights.h5": read_resnet,
    "params.yaml": lambda path: load_params(path.parent),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["folder", "fifo", "link to a fifo"])
def test_a_file_to_read_that_is_none_is_named_and_not_waited_for(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / name
    if kind.startswith("link"):
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    else:
        lay(kind, path, tmp_path)
    expected = rf"(?i){name} must be a file\. Received: a {kind.split()[-1]}\. Move .* elsewhere"
    with pytest.raises(ThawError, match=expected):
        READERS[name](path)


def test_a_models_description_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "full/model.json").mkdir(parents=True)
    with pytest.raises(ThawError, match=r"model\.json must be a file\. Received: a folder"):
        load_classifier(tmp_path / "full")


@pytest.mark.parametrize("name", ["some.json", "some.csv", "some", "some-idx3-ubyte"])
def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)  # root may read all
    with pytest.raises(ThawError, match=rf"{name} may not be read\. Change its permissions"):
        READERS[name](tmp_path / name)


def test_a_file_may_be_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "some").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "some")
    assert read_json(tmp_path / "link") == {}
    assert sha256(tmp_path / "link") == sha256(tmp_path / "some")
