"""What several tests share: a local mirror that misbehaves on demand, small images, good params."""

# First, before any library reads what is removed.
import clean_environment  # noqa: F401

import thaw  # noqa: F401

# isort: split
import gc
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright

from tests.reliability.project import Project, create
from thaw.config.params import Params
from thaw.data.dataset import Dataset
from thaw.data.fashion_mnist import GrayImages
from thaw.data.image_store import SMALL
from thaw.data.mirrors import FOLDER_VARIABLE
from thaw.data.preparing import store_gray
from thaw.network.backbone import image_model
from thaw.network.classifier import describe, save_classifier
from thaw.network.heads import build_head
from thaw.network.weights import resnet50
from thaw.support.runtime import seed_everything, set_up
from thaw.support.yaml_file import read_yaml

ROOT = Path(__file__).parents[1]
# As every stage does first; TensorFlow takes its thread pools from the first that asks.
set_up(threads=2)


@dataclass
class Mirror:
    """A local HTTP server: what it serves, how it behaves, what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    behaviour: str = "serve"  # serve | cut | stall | missing | flaky: fails once, then serves
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(autouse=True)
def no_folder_with_images(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow tests need the images; others are about the mirrors that this variable goes before."""
    if not request.node.get_closest_marker("slow"):
        monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@pytest.fixture(scope="module", autouse=True)
def forget_networks() -> Iterator[None]:
    """Start each module from one seed, and free the networks of its tests after it.

    TensorFlow's deterministic ops refuse to draw without a seed, and clearing a session forgets it.
    Keras keeps all graphs until it is told to clear them.
    """
    seed_everything(0)
    yield
    keras.backend.clear_session()
    gc.collect()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    state = Mirror()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[-1]
            state.asked.append(name)
            if state.behaviour == "missing" or name not in state.files:
                self.send_error(404)
                return
            if state.behaviour == "flaky" and state.asked.count(name) == 1:
                self.send_error(503)
                return
            content = state.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            half = content[: len(content) // 2]
            self.wfile.write(content if state.behaviour in ("serve", "flaky") else half)
            if state.behaviour == "stall":
                self.wfile.flush()
                state.released.wait(30)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield state
    state.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("THAW_BROWSER") != "required",
    reason="there is no chromium: `make browser` installs Debian's",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, headless. With THAW_BROWSER=required, as .ci/run sets it, its absence fails.

    Playwright keeps an asyncio loop running in this thread until it is closed. Other modules'
    tests run loops of their own here, so it is closed after each module.
    """
    assert CHROMIUM, "chromium is required here: `make browser` installs Debian's"
    with sync_playwright() as playwright:
        # Without its sandbox, which root cannot have: the pages are our own.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def watched(browser: Browser) -> tuple[Page, list[str], list[str]]:
    """Return a new page, the addresses that it asks for, and what it complains of."""
    page = browser.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    return page, asked, said


def check_first_columns(page: Page) -> None:
    """Check that the first two columns of every table are seen without scrolling sideways."""
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    script = """cells => cells.map(cell => {
        const box = cell.getBoundingClientRect();
        const around = cell.closest(".scroll").getBoundingClientRect();
        return [cell.innerText, box.left - around.left, around.right - box.right, box.width];
    })"""
    # nth-child counts both th and td.
    cells = page.eval_on_selector_all("tr > :nth-child(-n + 2)", script)
    assert page.locator("table").count() == page.locator(".scroll > table").count()
    assert cells
    for text, left, right, width in cells:
        assert left >= 0, text
        assert right >= 0, text
        assert width > 0, text
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def refusal(*arguments: str) -> str:
    """Run a module that must refuse its arguments; return what it says, which is no traceback."""
    command = [sys.executable, "-m", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode
    assert "Traceback" not in ended.stderr
    return ended.stderr


def tree(folder: Path) -> dict[str, str]:
    """Return what every path below `folder` is: a file's bytes, a link's target, or its kind."""
    return {
        path.relative_to(folder).as_posix(): f"link to {path.readlink()}"
        if path.is_symlink()
        else repr(path.read_bytes())
        if path.is_file()
        else f"{path.stat().st_mode:o}"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def entries() -> dict[str, Any]:
    """The repository's params.yaml, to be changed at will."""
    return read_entries()


def read_entries() -> dict[str, Any]:
    entries: dict[str, Any] = read_yaml(ROOT / "params.yaml")
    return entries


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (tmp_path / "params.yaml").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def params(entries: dict[str, Any]) -> Params:
    return small_params(entries)


def small_params(entries: dict[str, Any]) -> Params:
    """Return valid params of a size that tests can afford."""
    small = {"samples": {"seed": 0, "train": 60, "validation": 20, "test": 20}}
    small |= {"baseline": {"image_size": 64, "images": 10, "linear_images": 40}}
    for name in ("train_frozen", "train_full", "train_partial"):
        small[name] = entries[name] | {"images": 0, "epochs": 2, "batch_size": 16}
    small["diagnose"] = entries["diagnose"] | {"images": 20, "validation_images": 20}
    return Params.model_validate(entries | small)


def gray_images(count: int, seed: int = 0) -> GrayImages:
    """Return images whose class shows: a bright square at a place that depends on the label."""
    labels = np.arange(count) % 10
    images = np.random.default_rng(seed).integers(0, 60, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 5 * (label // 5) + 4, 5 * (label % 5) + 1
        image[row : row + 5, column : column + 5] = 250
    return GrayImages(images, labels.astype(np.int64))


TEN_CLASSES = Dataset(
    name="ten",
    folder="ten",
    fashion_mnist=True,
    gray=True,
    classes=tuple("abcdefghij"),
    counts={},
    examples=("image",),
)
"""A dataset of ten classes, to be changed at will."""


def store_small(folder: Path, params: Params) -> Dataset:
    """Write 100 training and 100 test images of 32 px to `folder`, as the stage preprocess does."""
    train, test = gray_images(100), gray_images(100, seed=1)
    return store_gray(train, test, folder, params.samples, sizes=[SMALL])


@pytest.fixture(scope="module")
def whole_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds an untrained classifier for images like Fashion-MNIST's."""
    folder = tmp_path_factory.mktemp("whole")
    params = small_params(read_entries())
    dataset = store_small(folder / "images", params)
    head = build_head(params.head, len(dataset.classes), seed=0)
    model = image_model(resnet50(SMALL, top=False), SMALL, "0-255", head)
    description = describe(dataset, SMALL, "0-255", params.head, "random")
    save_classifier(folder / "frozen", model, description)
    return folder / "frozen"


@pytest.fixture
def gray() -> Callable[..., GrayImages]:
    return gray_images


SECRET = "known-to-the-shell-alone"
"""What a variable of the shell holds in which the first run is started."""


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The tiny project after its first `dvc repro`, committed, and what that printed."""
    project = create(tmp_path_factory.mktemp("tiny") / "project")
    with pytest.MonkeyPatch.context() as shell:
        shell.setenv("API_TOKEN", SECRET)
        return project, project.reproduce()


@pytest.fixture
def project(first: tuple[Project, str]) -> Iterator[Project]:
    """The tiny project; what a test leaves in it is undone."""
    yield first[0]
    first[0].reset()
