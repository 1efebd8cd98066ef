"""The real pipeline, by the real DVC, on the real images, a few of them. Minutes."""

import csv
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from conftest import ROOT, SECRET, Mirror, needs_browser
from PIL import Image
from playwright.sync_api import Browser
from skimage import data

from tests.reliability import disks, faults
from tests.reliability.project import Project, environment
from tests.reliability.queued import queued, stop
from thaw.data.fashion_mnist import FILES
from thaw.data.mirrors import FOLDER_VARIABLE
from thaw.network import weights
from thaw.report.results import MODES, STAGES
from thaw.support.files import sha256
from thaw.support.nested import flat
from tools.commands import DVC

pytestmark = pytest.mark.slow
METRICS = [f"metrics/{mode}.json" for mode in MODES]
SUMMARIES = {name: f"data/results/{name}/summary.json" for name in STAGES}
SHOWN = ("exp", "show", "--only-changed", "--drop", "data/|Created")
"""What shows experiments on a screen: without the times and the digests of data, 39 wide each."""
WIDEST = 160
MODEL = "data/models/partial/model.weights.h5"
LIVE = "data/live/plots/partial/metrics/val_loss.tsv"
NEEDS_NAMESPACE = pytest.mark.skipif(
    not disks.usable(), reason="no process may have a mount namespace of its own"
)


def summary(project: Project, name: str) -> dict[str, Any]:
    """Return all that a stage measured, by its name in data/results."""
    content: dict[str, Any] = json.loads((project.root / SUMMARIES[name]).read_text())
    return content


def width(table: str) -> int:
    return max(map(len, table.splitlines()))


def ran(output: str) -> list[str]:
    """Return the stages that DVC says it ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_the_first_run_runs_every_stage_and_writes_every_output(
    first: tuple[Project, str],
) -> None:
    project, output = first
    assert sorted(ran(output)) == sorted(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    for name in (*METRICS, *SUMMARIES.values()):
        metrics = json.loads((project.root / name).read_text())
        assert list(metrics) == sorted(metrics)
        assert all(isinstance(value, int | float | str) for _, value in flat(metrics))
    report = (project.root / "report/report.md").read_text()
    assert report.startswith("**Weights: random. No pretrained weights were used")
    assert (project.root / "report/report.html").stat().st_size > 100_000
    full = summary(project, "full")
    assert full["parameters"] == 23_851_274
    assert full["parameters_trainable"] == 23_798_154
    assert full["images_seen"] == 40 * 2, "by default the head has no start of its own"


def test_no_output_knows_the_shell_or_the_folder(project: Project) -> None:
    folders = (project.root / name for name in ("data", "metrics", "plots", "report"))
    outputs = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(outputs) > 30
    unwanted = [
        str(text).encode() for text in (SECRET, project.root.parent, ROOT, Path.home().resolve())
    ]
    for path in [*outputs, project.root / "dvc.lock"]:
        content = path.read_bytes()
        assert not [text for text in unwanted if text in content], path


def test_a_second_run_does_nothing(project: Project) -> None:
    output = project.dvc("repro")
    assert ran(output) == []
    assert "up to date" in output
    assert project.run("git", "status", "--porcelain") == ""


@pytest.mark.long
def test_running_all_again_gives_the_same_bytes(project: Project) -> None:
    assert len(ran(project.dvc("repro", "--force"))) == 11
    assert project.run("git", "status", "--porcelain") == ""


def test_freeze_reruns_train_partial_and_report_only(project: Project) -> None:
    output = project.dvc("exp", "run", "--set-param", "freeze=20")
    assert ran(output) == ["check", "train-partial", "report"]
    assert summary(project, "partial")["layers_frozen"] == 20
    # Of few test images, an accuracy may stay the same, and --only-changed would leave it out.
    table = project.dvc(*SHOWN, "--keep", r"partial\.(?!weights)")
    assert {"freeze", "partial.acc", "partial.recall", "partial.trainable"} <= set(table.split())
    assert width(table) <= WIDEST
    back = project.dvc("exp", "run", "--set-param", "freeze=10")
    assert ran(back) == ["report"], "which takes a second, and is not cached"
    assert "'train-partial' is cached - skipping run" in back
    assert project.run("git", "status", "--porcelain") == ""


@pytest.mark.long
def test_the_head_reruns_no_feature_extraction(project: Project) -> None:
    project.dvc("exp", "remove", "--all-commits")
    output = project.dvc("exp", "run", "--set-param", "head.dropout=0.5")
    assert set(ran(output)) == {"check", "train-frozen", "train-full", "train-partial", "report"}
    keep = r"(frozen|full|partial)\.(?!trainable|weights)"
    table = project.dvc(*SHOWN[:-1], f"{SHOWN[-1]}|head", "--keep", keep)
    assert {"frozen.ci95", "full.ci95", "partial.recall"} <= set(table.split())
    assert width(table) + len("   seed") <= WIDEST, "where another seed changes all modes"


@pytest.mark.long
def test_another_seed_repeats_no_extraction(project: Project) -> None:
    """Of pretrained weights, that is: random ones are drawn anew."""
    project.dvc("exp", "run", "features", "--set-param", "weights=bundled")
    output = project.dvc("exp", "run", "features", "--set-param", "seed=1")
    assert ran(output) == ["check", "weights"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve crops of each of three photographs, in a folder of a name that needs quotes."""
    folder = tmp_path_factory.mktemp("pictures") / "meine Bilder (ü)"
    random = np.random.default_rng(0)
    photographs = {"Katze": data.chelsea(), "咖啡": data.coffee(), "low": data.astronaut()}
    for name, photograph in photographs.items():
        (folder / name).mkdir(parents=True)
        for i in range(12):
            top, left = random.integers(0, 90, 2)
            crop = photograph[top : top + 200, left : left + 300]
            Image.fromarray(crop).save(folder / name / f"{i:02}.{'jpg' if i % 2 else 'png'}")
    return folder


def test_a_folder_of_pictures_runs_all_that_applies(project: Project, pictures: Path) -> None:
    """With the counts of Fashion-MNIST in params.yaml, and the colours that the pictures have."""
    chosen = ("--set-param", f"dataset='{pictures}'")
    output = project.dvc("exp", "run", *chosen)
    assert {"download", "preprocess", "features", "train-frozen", "report"} <= set(ran(output))
    assert "100 images are asked for, and 24 are there: all are taken" in output
    assert summary(project, "diagnose") == {}
    frozen = summary(project, "frozen")
    assert frozen["test_images"] == 7
    assert frozen["test_accuracy_low"] >= 0, "a class is called low, too"
    report = (project.root / "report/report.md").read_text()
    assert "meine Bilder (ü)" in report
    assert "咖啡" in report
    assert ran(project.dvc("exp", "run", *chosen)) == []
    project.dvc("plots", "show")
    removed = next(pictures.glob("low/*"))
    content = removed.read_bytes()
    removed.unlink()
    try:
        assert "preprocess" in ran(project.dvc("exp", "run", "preprocess", *chosen))
    finally:
        removed.write_bytes(content)


@pytest.mark.long
def test_a_folder_of_pictures_can_be_queued(project: Project, pictures: Path) -> None:
    chosen = ("--set-param", f"dataset='{pictures}'", "--set-param", "samples.seed=1")
    try:
        project.dvc("exp", "run", "--queue", "--name", "queued", *chosen, "preprocess")
        project.dvc("queue", "start")
        project.dvc("queue", "logs", "queued", "--follow")
        assert "Success" in project.dvc("queue", "status")
    finally:
        stop(project)


def test_a_bad_folder_is_named_and_nothing_is_lost(project: Project, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/empty.png").touch()
    output = project.dvc("exp", "run", "--set-param", f"dataset={tmp_path}", code=None)
    assert "cat/empty.png is empty" in output
    assert "Traceback" not in output
    project.reset()
    assert project.changed() == ""


@pytest.mark.long
def test_a_queue_with_two_workers_succeeds(project: Project) -> None:
    try:
        assert queued(project, range(20, 23)) == 3
    finally:
        stop(project)
    table = project.dvc("exp", "show", "--csv")
    assert "partial.acc" in table
    assert "freeze-21" in table


@pytest.mark.long
@pytest.mark.parametrize(
    ("stage", "share", "name"), [("features", 0.5, "SIGINT"), ("train-full", 0.8, "SIGKILL")]
)
def test_a_stage_that_is_cut_short_is_made_up_for(
    project: Project, stage: str, share: float, name: str
) -> None:
    """`make reliability` does it to every stage, many times, and fills the disk besides."""
    after = share * faults.seconds(project, stage)
    assert faults.disturb(project, stage, faults.SIGNALS[name], after)
    assert faults.recovers(project, stage) == ""


def test_a_download_that_the_network_cuts_is_made_up_for(project: Project, mirror: Mirror) -> None:
    """Zalando's server, which is asked over http, is a proxy; the way to the others ends there."""
    raw = project.root / "data/fashion-mnist"
    plain = {file.name: (raw / file.name).read_bytes() for file in FILES}
    mirror.files = {f"{name}.gz": gzip.compress(content, 1) for name, content in plain.items()}
    network = {"http_proxy": mirror.url, "https_proxy": mirror.url, "no_proxy": ""}
    without_apt = {"PATH": str(Path(sys.executable).parent), FOLDER_VARIABLE: ""}
    download = (*DVC, "repro", "--force", "--single-item", "download")
    shutil.rmtree(raw)
    mirror.behaviour = "cut"
    said = project.run(*download, changes=network | without_apt, code=255)
    assert mirror.asked, "the proxy was passed by"
    assert "error in stage download: Fashion-MNIST cannot be had from any mirror" in said
    assert "Traceback" not in said
    assert not raw.exists(), "half a file is none"
    mirror.behaviour = "serve"
    assert "Zalando" in project.run(*download, changes=network | without_apt)
    assert project.changed() == ""


@pytest.mark.parametrize("end", ["\n      md5", "\n    - path:"])
def test_a_lock_that_a_killed_dvc_did_not_finish_comes_back_from_git(
    project: Project, end: str
) -> None:
    lock = project.root / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: whole.rindex(end) + len(end)])
    assert faults.mend(project, faults.recovers(project, "report"))
    assert faults.recovers(project, "report") == ""


def test_dvcs_own_list_of_paths_in_use_can_be_removed_where_a_kill_cut_it_off(
    project: Project,
) -> None:
    (project.root / faults.RWLOCK).write_text('{"a": ')
    assert faults.mend(project, faults.recovers(project, "report"))
    assert faults.recovers(project, "report") == ""


@pytest.mark.long
def test_a_damaged_object_of_dvcs_cache_is_named_and_replaced(project: Project) -> None:
    """DVC itself copies it to the workspace, and keeps it when its stage runs again."""
    copy = project.root / "data/features/features.h5"
    digest = hashlib.md5(copy.read_bytes()).hexdigest()
    cached = project.root / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"
    cached.chmod(0o644)
    os.truncate(cached, cached.stat().st_size // 2)
    cached.chmod(0o444)
    copy.unlink()
    project.dvc("checkout", "data/features")
    assert "up to date" in project.dvc("status", "features")
    said = project.dvc("repro", "--force", "--single-item", "train-frozen", code=255)
    assert "error in stage train-frozen: " in said
    assert "python -m tools.verify_cache" in said
    assert "Traceback" not in said
    advice = project.run(sys.executable, "-m", "tools.verify_cache", code=1)
    assert f"{cached.relative_to(project.root)} (data/features/features.h5)" in advice
    removals = [line for line in advice.splitlines() if line.startswith("  rm -f ")]
    project.run("sh", "-c", "\n".join(removals))
    project.dvc("repro")
    assert "objects of DVC's cache are intact" in project.run(
        sys.executable, "-m", "tools.verify_cache"
    )
    assert project.changed() == ""


@pytest.mark.long
def test_two_runs_at_once_do_not_disturb_each_other(project: Project) -> None:
    both = [faults.start(project, "train-full") for _ in range(2)]
    said = {running.communicate()[0].decode(): running.returncode for running in both}
    assert 0 in said.values()
    for of_one, code in said.items():
        assert code == 0 or re.search("is busy|Unable to acquire lock", of_one)
        assert "Traceback" not in of_one
    assert project.changed() == ""
    assert faults.recovers(project, "train-full") == ""


def test_a_fresh_clone_is_up_to_date(project: Project, tmp_path: Path) -> None:
    project.run("git", "clone", "--quiet", str(project.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    output = clone.dvc("repro", "--dry", "--allow-missing")
    assert ran(output) == []
    assert "up to date" in output
    shown = ("metrics show", "metrics diff HEAD", "exp show", "plots show", "plots diff HEAD")
    for command in shown:
        said = clone.dvc(*command.split())
        assert not re.search("failed|warning", said, re.IGNORECASE), "data/live is missing there"


def test_a_bad_param_ends_with_one_message_and_removes_nothing(project: Project) -> None:
    places = ("data/models/partial", "data/results/partial", "metrics")
    files = [path for name in places for path in (project.root / name).iterdir()]
    before = [sha256(path) for path in files]
    bad = {
        "freeze=bogus": "freeze: must be an integer from 0 to 175",
        "dataset=nowhere": "dataset must be data/fashion-mnist or a folder",
        "weights=no.weights.h5": "weights: 'no.weights.h5' is no file",
    }
    for change, expected in bad.items():
        for command in (("exp", "run", "--set-param", change), ("repro",)):  # with what -S wrote
            output = project.dvc(*command, code=255)
            assert output.count("error in stage") == output.count("error in stage check: ") == 1
            assert expected in output
            assert "Traceback" not in output
            assert ran(output) == ["check"]
            assert [sha256(path) for path in files] == before
        project.run("git", "checkout", "--quiet", "params.yaml")
    assert "'check' is cached - skipping run" in project.dvc("repro")
    assert project.changed() == ""


@pytest.mark.long
@pytest.mark.parametrize(("freeze", "cached"), [("10", False), ("conv4", True)])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    project: Project, freeze: str, cached: bool
) -> None:
    """Whether it trains on images or on cached activations, of which nothing is left."""
    project.dvc("exp", "run", "--set-param", f"freeze={freeze}")
    files = [MODEL, "metrics/partial.json", SUMMARIES["partial"]]
    files += [f"data/results/partial/{name}.csv" for name in ("history", "predictions")]
    before = [sha256(project.root / name) for name in files]
    (project.root / MODEL).unlink()
    command = (sys.executable, "-m", "stages.train_partial")
    killed = subprocess.Popen(
        command, cwd=project.root, env=environment(), stdout=subprocess.DEVNULL
    )
    checkpoints = project.root / ".thaw/checkpoints/train-partial-0"
    while not list(checkpoints.glob("[!.]*/history.json")):
        assert killed.poll() is None
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (project.root / MODEL).exists()
    left = {path.name for path in (project.root / ".thaw").iterdir()}
    assert left <= {"checkpoints", "locks", "timings.csv"}, "cached activations outlive a kill"
    said = project.run(*command)
    assert "going on after epoch" in said
    assert ("output: cached" in said) is cached
    assert [sha256(project.root / name) for name in files] == before
    assert not list(checkpoints.glob("*"))


def test_an_artifact_of_a_repository_with_a_remote_names_pictures(
    project: Project, pictures: Path, tmp_path: Path
) -> None:
    shared = Project(tmp_path / "shared")
    project.run("git", "clone", "--quiet", str(project.root), str(shared.root))
    shared.dvc("cache", "dir", "--local", str(project.root / ".dvc/cache"))
    shared.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    shared.commit()
    shared.dvc("push", "train-partial")
    shared.run("git", "tag", "--annotate", "partial@v1.0.0", "--message", "first")
    user = Project(tmp_path / "user")
    user.root.mkdir()
    user.dvc("artifacts", "get", str(shared.root), "partial")
    assert {path.name for path in (user.root / "partial").iterdir()} == {
        "model.json",
        "model.weights.h5",
    }
    picture = next(pictures.glob("*/*.jpg"))
    command = (sys.executable, "-m", "thaw.predict", "--model", "partial", "--json", str(picture))
    said = user.run(*command, changes={"PYTHONPATH": str(ROOT)})
    (line,) = (line for line in said.splitlines() if line.startswith("{"))
    assert len(json.loads(line)["classes"]) == 3


@pytest.mark.long
def test_weights_without_a_top_leave_the_references(project: Project) -> None:
    keras.utils.set_random_seed(0)
    weights.resnet50(32, top=False).save_weights(project.root / "notop.weights.h5")
    project.dvc("exp", "run", "baseline", "--set-param", "weights=notop.weights.h5")
    found = summary(project, "baseline")
    (project.root / "notop.weights.h5").unlink()
    assert found["has_1000_class_top"] is False
    assert found["weights"].startswith("file ")
    assert 0 < found["linear_pixels_accuracy"] < 1
    assert not {"0-255", "0-1", "zero_shot_images"} & set(found)


def test_what_dvc_shows_can_be_read(project: Project) -> None:
    """The live curves too, although the stage report has not run."""
    project.dvc("exp", "run", "train-partial", "--set-param", "freeze=21")
    table = project.dvc("metrics", "diff", "--md", "--all")
    assert re.search(
        r"\| metrics/partial.json +\| partial.trainable +\| \d+ +\| \d+ +\| -\d", table
    )
    assert table.count("| metrics/") <= 15
    assert "freeze" in project.dvc("params", "diff")
    page = project.root / "dvc_plots/index.html"
    project.dvc("plots", "diff", "HEAD")
    assert "Confusion, train-partial" in page.read_text()
    shutil.rmtree(page.parent)
    with (project.root / "data/results/partial/history.csv").open(newline="") as file:
        history = [(row["epoch"], row["val_loss"]) for row in csv.DictReader(file)]
    for command in (("show",), ("diff", "HEAD")):
        (curve,) = json.loads(project.dvc("plots", *command, "--json"))["data"][LIVE]
        values = curve["content"]["data"]["values"]
        assert [(row["step"], row["val_loss"]) for row in values] == history
        assert curve["revisions"] == ["workspace"]
    assert "step" not in project.dvc("exp", "show", "--csv").splitlines()[0].split(",")


@needs_browser
def test_dvcs_plots_page_needs_no_network(project: Project, browser: Browser) -> None:
    """Every plot of dvc.yaml is drawn, once, and nothing is asked of anyone."""
    project.dvc("plots", "show")
    address = (project.root / "dvc_plots/index.html").as_uri()
    page = browser.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    single = [plot for plot in plots if isinstance(plot, dict) and "data/live/plots" not in plot]
    drawn = len(single) + len(list(project.root.glob("data/live/plots/*/metrics/*.tsv")))
    page.wait_for_function(f"document.querySelectorAll('.vega-embed').length >= {drawn}")
    assert page.locator(".vega-embed").count() == drawn
    assert page.locator("img").count() == len([plot for plot in plots if isinstance(plot, str)])
    page.close()
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked
    assert address in asked
    assert not said
    shutil.rmtree(project.root / "dvc_plots")


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is Debian's")
@pytest.mark.parametrize("container", [(), pytest.param(disks.NAMESPACE, marks=NEEDS_NAMESPACE)])
def test_debians_package_delivers_the_published_bytes(
    tmp_path: Path, container: tuple[str, ...]
) -> None:
    script = (
        "from pathlib import Path; from thaw.data.fashion_mnist import load; "
        "from thaw.data.mirrors import download, mirrors; "
        "print(download(Path('raw'), mirrors()[-1:])); train, test = load(Path('raw')); "
        "print(round(float(train.images.mean()), 3), len(test.labels))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop(FOLDER_VARIABLE, None)
    said = subprocess.check_output(
        [*container, sys.executable, "-c", script], cwd=tmp_path, env=environment, text=True
    )
    assert said.splitlines() == ["Debian (package dataset-fashion-mnist)", "72.94 10000"]
