import gzip
import hashlib
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Mirror as Server
from conftest import tree
from dvc_objects.fs.utils import tmp_fname

from tests.reliability.answers import ANSWERS, HEALTHY, serve
from tests.reliability.mirrors import FILES, FOLDERS, PACKAGES, from_package, write_package
from thaw.data import debian, mirrors, transfer
from thaw.data.fashion_mnist import RawFile
from thaw.data.mirrors import Mirror, download, fetch_url
from thaw.support.errors import ThawError

CONTENT = {f"file-{i}": bytes([i]) * (1000 + i) for i in range(4)}


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four small files in place of the real ones; the code that checks them is the real one."""
    files = tuple(
        RawFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in CONTENT.items()
    )
    monkeypatch.setattr(mirrors, "FILES", files)
    monkeypatch.setattr(transfer, "READ_TIMEOUT", 1.0)
    monkeypatch.setattr(transfer._fetch_file.retry, "wait", lambda state: 0.0)


def packed() -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content) for name, content in CONTENT.items()}


def sources(*servers: Server) -> list[Mirror]:
    return [
        Mirror(f"server {i}", lambda to, s=s: fetch_url(s.url, to)) for i, s in enumerate(servers)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_download_leaves_the_four_files_decompressed(mirror: Server, tmp_path: Path) -> None:
    mirror.files = packed()
    assert download(tmp_path / "raw", sources(mirror)) == "server 0"
    assert contents(tmp_path / "raw") == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_files_that_are_there_are_not_fetched_again(mirror: Server, tmp_path: Path) -> None:
    mirror.files = packed()
    download(tmp_path / "raw", sources(mirror))
    mirror.asked.clear()
    assert download(tmp_path / "raw", sources(mirror)) == "already there"
    assert mirror.asked == []


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("kind", ["a file", "a folder", "a symbolic link"])
def test_what_else_is_there_is_the_users_and_stays(
    mirror: Server, tmp_path: Path, kind: str, complete: bool
) -> None:
    mirror.files = packed()
    raw, other = tmp_path / "raw", tmp_path / "raw/notes"
    download(raw, sources(mirror))
    if not complete:
        (raw / "file-0").unlink()
    if kind == "a folder":
        other.mkdir()
    elif kind == "a file":
        other.write_text("mine")
    else:
        other.symlink_to(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(ThawError, match=rf"raw/notes is not thaw's.*Received: {kind}\. Move"):
        download(raw, sources(mirror))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("complete", [True, False])
def test_a_link_to_a_folder_of_the_users_is_left_alone(
    mirror: Server, tmp_path: Path, complete: bool
) -> None:
    mirror.files = packed()
    mine = tmp_path / "mine"
    download(mine, sources(mirror))
    (mine / "thesis").write_text("mine")
    if not complete:
        (mine / "file-0").unlink()
    (tmp_path / "raw").symlink_to(mine)
    before = tree(tmp_path)
    with pytest.raises(
        ThawError, match=r"raw must be a folder\. Received: a symbolic link to .*min"
    ):
        download(tmp_path / "raw", sources(mirror))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["a symbolic link", "a file"])
def test_what_is_called_like_a_folder_put_aside_is_left_alone(
    mirror: Server, tmp_path: Path, kind: str
) -> None:
    mirror.files = packed()
    aside = tmp_path / ".thaw-tmp-raw-old"
    if kind == "a file":
        aside.write_text("mine")
    else:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/thesis").write_text("mine")
        aside.symlink_to(tmp_path / "mine")
    before = tree(tmp_path)
    with pytest.raises(ThawError, match=rf"raw-old must be a folder\. Received: {kind}"):
        download(tmp_path / "raw", sources(mirror))
    assert tree(tmp_path) == before


def test_what_a_killed_dvc_left_goes(mirror: Server, tmp_path: Path) -> None:
    mirror.files = packed()
    raw = tmp_path / "raw"
    for _ in range(2):
        download(raw, sources(mirror))
        (raw / tmp_fname()).write_bytes(b"half")
    (raw / "file-0").write_bytes(b"damaged")
    download(raw, sources(mirror))
    assert contents(raw) == CONTENT


def test_links_into_dvcs_cache_are_read_and_left(mirror: Server, tmp_path: Path) -> None:
    """With DVC's cache.type symlink; with anything else beside them, or damaged, they stop it."""
    mirror.files = packed()
    raw, cache = tmp_path / "raw", tmp_path / "cache"
    download(cache, sources(mirror))
    raw.mkdir()
    for name in CONTENT:
        (raw / name).symlink_to(cache / name)
    assert download(raw, sources(mirror)) == "already there"
    assert all((raw / name).is_symlink() for name in CONTENT)
    (raw / "mine").touch()
    with pytest.raises(ThawError, match="is not thaw's"):
        download(raw, sources(mirror))
    (raw / "mine").unlink()
    (cache / "file-0").write_bytes(b"damaged")
    with pytest.raises(ThawError, match="is not thaw's"):
        download(raw, sources(mirror))
    assert (cache / "file-0").read_bytes() == b"damaged"


def test_a_passing_fault_is_tried_again(mirror: Server, tmp_path: Path) -> None:
    mirror.files, mirror.behaviour = packed(), "flaky"
    assert download(tmp_path / "raw", sources(mirror)) == "server 0"
    assert mirror.asked.count("file-0.gz") == 2


@pytest.mark.parametrize(
    ("behaviour", "reason", "tries"),
    [
        ("missing", "404", 1),
        ("cut", "Not enough data", transfer.TRIES),
        ("stall", "no answer within", transfer.TRIES),
    ],
)
def test_a_failing_mirror_is_named_and_what_was_there_stays(
    mirror: Server, tmp_path: Path, behaviour: str, reason: str, tries: int
) -> None:
    mirror.files, mirror.behaviour = packed(), behaviour
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "file-0").write_bytes(b"kept")
    with pytest.raises(ThawError) as caught:
        download(raw, sources(mirror))
    message = str(caught.value)
    assert "server 0: file-0.gz: " in message
    assert reason in message
    assert mirrors.FOLDER_VARIABLE in message
    assert mirror.asked.count("file-0.gz") == tries
    assert contents(raw) == {"file-0": b"kept"}
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_other_bytes_are_named_and_the_next_mirror_is_tried(
    mirror: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.files = packed() | {"file-2.gz": gzip.compress(b"something else")}
    good = Mirror("good", lambda to: [(to / n).write_bytes(c) for n, c in CONTENT.items()] and None)
    assert download(tmp_path / "raw", [*sources(mirror), good]) == "good"
    said = capsys.readouterr().out
    assert "passed over server 0: file-2 holds other bytes: expected 1,002 bytes" in said
    assert "Received: 14 bytes" in said
    assert contents(tmp_path / "raw") == CONTENT


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"x" * 5000, mtime=0)[:-9]])
def test_what_is_no_whole_gzip_file_is_passed_over(
    mirror: Server, tmp_path: Path, content: bytes
) -> None:
    mirror.files = packed() | {"file-0.gz": content}
    with pytest.raises(ThawError, match=r"server 0: file-0"):
        download(tmp_path / "raw", sources(mirror))


def test_a_gzip_bomb_is_read_no_further_than_the_file_should_be(
    mirror: Server, tmp_path: Path
) -> None:
    mirror.files = packed() | {"file-0.gz": gzip.compress(bytes(1_500_000))}
    with pytest.raises(ThawError, match=r"Received: 1,001 bytes"):
        download(tmp_path / "raw", sources(mirror))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_folder_that_the_user_names_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    monkeypatch.setenv(mirrors.FOLDER_VARIABLE, str(folder))
    assert download(tmp_path / "raw", mirrors.mirrors()) == f"folder {folder}"
    assert contents(tmp_path / "raw") == CONTENT


def test_the_mirrors_in_their_order() -> None:
    names = [mirror.name.split()[0] for mirror in mirrors.mirrors()]
    assert names == ["Keras", "Zalando", "Debian"]


def test_amazons_site_is_asked_over_http() -> None:
    assert mirrors.ZALANDO_URL.startswith("http://"), "it has no https"


def test_a_folder_that_cannot_be_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    for name, content in CONTENT.items():
        (tmp_path / "mine" / name).write_bytes(content)
    monkeypatch.setenv(mirrors.FOLDER_VARIABLE, str(tmp_path / "mine"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ThawError, match=r"folder .*mine: holds neither file-0 nor file-0.gz that"):
        download(tmp_path / "raw", mirrors.mirrors()[:1])


def test_where_there_is_no_apt_debian_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(ThawError, match=r"dpkg-deb and prlimit not found: this is not a Debian"):
        download(tmp_path / "raw", mirrors.mirrors()[-1:])


def link(name: str, target: Path) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, str(target)
    return member


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is Debian's")
@pytest.mark.parametrize("way", ["none", "parents", "absolute", "link"])
def test_no_package_writes_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = f"./{debian.FOLDER}"
    members = [(tarfile.TarInfo(f"{tree}/{name}"), content) for name, content in packed().items()]
    members += {
        "none": [],
        "parents": [(tarfile.TarInfo(f"./{'../' * 4}outside/escaped"), b"evil")],
        "absolute": [(tarfile.TarInfo(f"{outside}/escaped"), b"evil")],
        "link": [(link("./out", outside), b""), (tarfile.TarInfo("./out/escaped"), b"evil")],
    }[way]
    call = debian.call

    def deliver(*command: str, folder: Path, output: Path | None = None) -> None:
        if command[0] == "apt-get":
            write_package(folder / "some.deb", members)
        else:
            call(*command, folder=folder, output=output)

    monkeypatch.setattr(debian, "call", deliver)
    try:
        download(tmp_path / "raw", mirrors.mirrors()[-1:])
    except ThawError:
        assert way != "none"
    else:
        assert contents(tmp_path / "raw") == CONTENT
    assert not list(outside.iterdir())
    assert not list(tmp_path.rglob("escaped"))


def passed_over(raw: Path, fetch: Callable[[Path], None]) -> str:
    """Download from one mirror that must not deliver; return what is said of it."""
    with pytest.raises(ThawError) as caught:
        download(raw, [Mirror("it", fetch)])
    assert not raw.exists()
    return str(caught.value).splitlines()[1]


@pytest.fixture
def equal_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four files of one content, as tests.reliability.mirrors serves them."""
    monkeypatch.setattr(mirrors, "FILES", FILES)


@pytest.mark.usefixtures("equal_files")
@pytest.mark.parametrize("name", sorted(ANSWERS.keys() - HEALTHY.keys()))
def test_whatever_a_server_answers_it_is_passed_over_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(transfer, "READ_TIMEOUT", 0.1)
    monkeypatch.setattr(transfer, "WHOLE_TIMEOUT", 0.3)
    with serve(ANSWERS[name]) as url:
        said = passed_over(tmp_path / "raw", lambda to: fetch_url(url, to))
    assert said.startswith("  it: ")
    assert said.isprintable()
    assert len(said) < 500


@pytest.mark.usefixtures("equal_files")
@pytest.mark.parametrize("name", HEALTHY)
def test_what_a_healthy_server_may_answer_is_taken(tmp_path: Path, name: str) -> None:
    with serve(HEALTHY[name]) as url:
        download(tmp_path / "raw", [Mirror("it", lambda to: fetch_url(url, to))])


def test_a_file_is_left_at_the_first_byte_too_many(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with transfer.receive(path, 10) as write:
        write(b"x" * 10)
        with pytest.raises(transfer.MirrorError, match=r"more than the allowed 10 bytes"):
            write(b"x")
    assert path.stat().st_size == 10


def test_what_gzip_cannot_compress_is_no_longer_than_it_may_be() -> None:
    for size in (0, 1, 60_008, 2_000_000):
        content = np.random.default_rng(0).bytes(size)
        for level in (0, 1, 9):
            longest = mirrors.most_packed(RawFile("x", size, ""))
            assert len(gzip.compress(content, level)) <= longest


@pytest.mark.usefixtures("equal_files")
@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_no_file_in_the_users_folder_is_passed_over(tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    FOLDERS[name](mine / FILES[0].name)
    assert passed_over(tmp_path / "raw", lambda to: mirrors.from_folder(mine, to))


@pytest.mark.usefixtures("equal_files")
@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is Debian's")
@pytest.mark.parametrize("name", sorted(PACKAGES.keys() - {"it"}))
def test_what_is_no_file_in_debians_package_is_passed_over(tmp_path: Path, name: str) -> None:
    write_package(tmp_path / "some.deb", PACKAGES[name])
    passed_over(tmp_path / "raw", lambda to: from_package(tmp_path / "some.deb", to))


def test_a_tool_that_leaves_a_child_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "PROCESS_TIMEOUT", 0.2)
    begin = time.monotonic()
    with pytest.raises(transfer.MirrorError, match="sh took over"):
        debian.call("sh", "-c", "sleep 5 & sleep 5", folder=tmp_path)
    assert time.monotonic() - begin < 4
