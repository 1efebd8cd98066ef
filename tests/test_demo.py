"""`make demo`: what the page says of pictures, and that it is this machine's alone.

The tests that need Gradio run with `make test-demo`: the pipeline's own environment has none.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT, gray_images, needs_browser, read_entries, small_params, watched
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from thaw.data.decoding import decode
from thaw.data.image_store import LARGE, SMALL
from thaw.data.preparing import store_gray
from thaw.network import weights
from thaw.serving import page as pages
from thaw.serving.answers import AFTER, BEFORE, by_name, load_witnesses, plain
from thaw.serving.prediction import load_predictor
from thaw.support.errors import ThawError

PIXELS = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
HOSTILE = {
    "GRADIO_SERVER_NAME": "0.0.0.0",
    "GRADIO_SERVER_PORT": "1",
    "GRADIO_SHARE": "True",
    "GRADIO_ANALYTICS_ENABLED": "True",
    "GRADIO_ROOT_PATH": "https://example.com/elsewhere",
    "GRADIO_SSR_MODE": "True",
    "GRADIO_MCP_SERVER": "True",
    "GRADIO_ALLOWED_PATHS": "/",
    "GRADIO_WATCH_DIRS": "/",
    "SYSTEM": "spaces",
    "SPACE_ID": "some/space",
    "HTTP_PROXY": "http://127.0.0.1:9",
}
"""What a shell may hold that would open the page, move it, or report its use."""
AUDITED = """
import runpy, sys

def audit(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.connect" and arguments[0].family != 1:
        print("ASKED", event, arguments[-1], arguments[0], file=sys.stderr, flush=True)

sys.addaudithook(audit)
sys.argv = ["thaw.demo", "--port", "0"]
runpy.run_module("thaw.demo", run_name="__main__")
"""
"""Runs the demo; a line on standard error for each address that it asks for."""


def save_picture(folder: Path) -> Path:
    """Write a picture that has to be turned: whoever encodes it again loses that."""
    exif = Image.Exif()
    exif[274] = 6
    path = folder / "Bild ü.jpg"
    Image.fromarray(PIXELS).save(path, exif=exif)
    return path


def test_a_mode_without_a_model_says_so(whole_classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "data/models").mkdir(parents=True)
    (tmp_path / "data/models/partial").symlink_to(whole_classifier)
    before, frozen, partial, full = load_witnesses(tmp_path)
    assert [w.heading for w in (before, frozen, partial, full)] == [BEFORE, *AFTER.values()]
    for missing in (before, frozen, full):
        assert missing.answer is None
        assert "Run `dvc repro`" in missing.note
    path = save_picture(tmp_path)
    (expected,) = load_predictor(whole_classifier, "keras").predict([path], top=3)
    assert partial.answer
    said = partial.answer(decode(path))
    assert [name for name, _ in said] == [name for name, _ in expected.classes]
    np.testing.assert_allclose([p for _, p in said], [p for _, p in expected.classes], atol=1e-6)


def test_without_models_one_message_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ThawError, match="no trained model"):
        load_witnesses(tmp_path)


def test_without_gradio_one_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(ThawError, match="Run `make demo`"):
        pages.check_installed()


def test_two_classes_of_one_name_are_both_shown() -> None:
    said = [("crane", 0.5), ("crane", 0.25), ("heron", 0.125)]
    assert by_name(said) == {"crane": 0.5, "crane (2)": 0.25, "heron": 0.125}


def test_the_datasets_name_is_not_markdown() -> None:
    assert plain("Hunde <b> *ü*") == r"Hunde \<b\> \*ü\*"


def test_a_file_that_is_no_picture_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    picture, sentence = pages.read(str(tmp_path / "a.png"))
    assert picture is None
    assert "This file is empty." in sentence
    assert pages.read(None) == (None, "")


def test_the_next_free_port_is_taken_on_this_machine_alone() -> None:
    with pages.listen(None) as first, pages.listen(None) as second:
        (host, port), (other_host, other_port) = first.getsockname(), second.getsockname()
        assert host == other_host == "127.0.0.1"
        assert other_port > port >= pages.FIRST_PORT
        with pytest.raises(ThawError, match=f"port {port} .*cannot be used"):
            pages.listen(port)


def test_no_variable_of_gradios_is_left() -> None:
    variables = HOSTILE | {"HOME": "/root"}
    pages.settle(variables)
    assert variables.pop("GRADIO_ANALYTICS_ENABLED") == "False"
    assert not [name for name in variables if name.startswith(("GRADIO_", "SPACE", "SYSTEM"))]
    assert variables["HOME"] == "/root"


@dataclass
class Demo:
    address: str
    pid: int


@pytest.fixture(scope="module")
def demo(whole_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The command in a project whose models are all untrained, in a shell that is against it."""
    pytest.importorskip("gradio", reason="Gradio is not installed: `make test-demo` installs it")
    root = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "params.yaml", root)
    (root / "data/models").mkdir(parents=True)
    for mode in AFTER:
        (root / "data/models" / mode).symlink_to(whole_classifier)
    network = weights.resnet50(64, top=True)
    weights.save(root / "data/weights", network, weights.Source("random", top=True))
    images, samples = gray_images(100), small_params(read_entries()).samples
    store_gray(images, images, root / "data/images", samples, sizes=[SMALL, LARGE])
    complaints = root / "complaints"
    environment = os.environ | HOSTILE | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", AUDITED]
    with (
        complaints.open("w") as errors,
        subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout
            assert process.stdout.readline().startswith("Loading the networks")
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found, complaints.read_text()
            yield Demo(found[0], process.pid)
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert complaints.read_text() == "", "no traceback, and no other machine was asked"


def test_only_this_machine_can_open_the_page(demo: Demo) -> None:
    listening = psutil.Process(demo.pid).net_connections("inet")
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_a_foreign_name_for_this_machine_is_refused(demo: Demo) -> None:
    port = int(demo.address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert asking.recv(100).startswith(b"HTTP/1.1 400")


@pytest.fixture
def opened(browser: Browser, demo: Demo) -> Iterator[Page]:
    """The page in a browser; it may ask for nothing from elsewhere."""
    opened, asked, said = watched(browser)
    response = opened.goto(demo.address)
    assert response
    assert response.headers["content-security-policy"].startswith("default-src 'self' ")
    yield opened
    opened.close()
    local = (f"{demo.address}/", "data:", f"blob:{demo.address}")
    assert [url for url in asked if not url.startswith(local)] == []
    # A library that Gradio loads for pictures says this four times, and nothing follows from it.
    assert [text for text in said if text != "Method not implemented."] == []


@needs_browser
def test_a_picture_that_is_dropped_gets_four_answers(
    opened: Page, tmp_path: Path, whole_classifier: Path
) -> None:
    path = save_picture(tmp_path)
    opened.set_input_files("input[type=file]", path)
    answers = opened.locator(".answer")
    expect(answers).to_have_count(4)
    (expected,) = load_predictor(whole_classifier, "keras").predict([path], top=3)
    names = [name for name, _ in expected.classes]
    for mode in range(1, 4):
        expect(answers.nth(mode).locator("dt")).to_have_text(names, timeout=30_000)
    expect(answers.nth(0).locator("dt")).to_have_count(3)
    for heading in (BEFORE, *AFTER.values()):
        expect(opened.get_by_role("heading", name=heading)).to_be_visible()


@needs_browser
def test_a_file_that_cannot_be_read_gets_the_decoders_sentence(
    opened: Page, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"hello")
    opened.set_input_files("input[type=file]", tmp_path / "a.jpg")
    expect(opened.get_by_role("alert")).to_contain_text("This file is not a picture that thaw")
    expect(opened.locator(".answer dt")).to_have_count(0)
    # And after it a test picture.
    opened.locator(".thumbnail-item").first.click()
    expect(opened.locator(".answer dt")).to_have_count(12, timeout=30_000)
    expect(opened.get_by_role("alert")).to_have_count(0)
