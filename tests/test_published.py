"""Keras' published file: fetched once, never lost, whatever lies in its place."""

import hashlib
from pathlib import Path

import keras
import pytest
from conftest import Mirror as Server
from saved_weights import equal, write_legacy

from thaw.network import published, sources, weights
from thaw.support.environment import USERS_KERAS_HOME
from thaw.support.errors import ThawError


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return weights.resnet50(32, top=True)


@pytest.fixture(scope="module")
def content(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_legacy(tmp_path_factory.mktemp("published") / published.NAME, network).read_bytes()


@pytest.fixture
def keras_mirror(
    mirror: Server, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Server:
    """Keras' own loader, pointed at the local server, with an empty folder and short waits."""
    mirror.files = {published.NAME: content}
    monkeypatch.setattr(published, "BASE_WEIGHTS_PATH", mirror.url)
    digests = {"resnet50": (hashlib.md5(content).hexdigest(), "")}
    monkeypatch.setattr(published, "WEIGHTS_HASHES", digests)
    monkeypatch.setenv(USERS_KERAS_HOME, str(tmp_path / "keras"))
    monkeypatch.setattr(published, "STALL_TIMEOUT", 3.0)
    monkeypatch.setattr(published._download.retry, "wait", lambda state: 0.0)
    return mirror


def test_imagenet_is_fetched_once_and_then_found_offline(
    keras_mirror: Server, network: keras.Model
) -> None:
    model, source = sources.obtain("imagenet", Path(), seed=0)
    assert source == weights.Source("imagenet", top=True)
    assert equal(model, network)
    assert len(keras_mirror.asked) == 1
    assert [path.name for path in published.copy().parent.iterdir()] == [published.NAME]
    keras_mirror.behaviour = "missing"
    assert equal(published.load(), network)
    assert len(keras_mirror.asked) == 1


def test_a_passing_fault_is_tried_again(keras_mirror: Server, network: keras.Model) -> None:
    keras_mirror.behaviour = "flaky"
    assert equal(published.load(), network)
    assert len(keras_mirror.asked) == 2


def test_it_is_fetched_where_it_cannot_be_kept(
    keras_mirror: Server, network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras").write_text("no folder, as good as one that is read-only")
    assert equal(published.load(), network)
    assert (tmp_path / "keras").is_file()


@pytest.mark.parametrize(
    ("behaviour", "reason", "tries"),
    [
        ("missing", "404", 1),
        ("cut", "retrieval incomplete", published.TRIES),
        ("stall", "timed out", published.TRIES),
        ("wrong", "does not match", 1),
    ],
)
def test_imagenet_that_cannot_be_had_ends_with_what_to_do(
    keras_mirror: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
    reason: str,
    tries: int,
) -> None:
    monkeypatch.setattr(published, "resnet50", lambda size, top: None)
    keras_mirror.behaviour = "serve" if behaviour == "wrong" else behaviour
    if behaviour == "wrong":
        keras_mirror.files = {published.NAME: b"something else"}
    with pytest.raises(ThawError) as caught:
        published.load()
    message = str(caught.value)
    assert reason in message
    assert len(keras_mirror.asked) == tries
    assert keras_mirror.url + published.NAME in message
    assert str(tmp_path / "keras" / "models" / published.NAME) in message
    assert "weights=bundled" in message
    assert not list(published.copy().parent.iterdir())


@pytest.mark.parametrize("kind", ["another file", "a folder", "a link to nothing"])
def test_what_lies_in_its_place_is_left_there(
    keras_mirror: Server, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(published, "resnet50", lambda size, top: None)
    place = published.copy()
    place.parent.mkdir(parents=True)
    if kind == "another file":
        place.write_bytes(b"the one of 2017")
    elif kind == "a folder":
        place.mkdir()
    else:
        place.symlink_to("away.h5")
    before = place.lstat()
    with pytest.raises(ThawError) as caught:
        published.load()
    assert place.lstat() == before
    assert [path.name for path in place.parent.iterdir()] == [published.NAME]
    assert not keras_mirror.asked
    received = hashlib.md5(b"the one of 2017").hexdigest()
    expected = published.WEIGHTS_HASHES["resnet50"][0]
    assert f"expected MD5 {expected}" in str(caught.value)
    reason = received if kind == "another file" else "a folder, a link that leads nowhere"
    assert f"Received: {reason}" in str(caught.value)
    assert f"-S weights={place}" in str(caught.value)


def test_a_link_to_the_file_is_followed(
    keras_mirror: Server, network: keras.Model, content: bytes, tmp_path: Path
) -> None:
    published.copy().parent.mkdir(parents=True)
    (tmp_path / "store.h5").write_bytes(content)
    published.copy().symlink_to(tmp_path / "store.h5")
    assert equal(published.load(), network)
    assert not keras_mirror.asked
