"""Complaints from other projects' trackers, replayed here. docs/reliability.md lists them."""

import errno
import fcntl
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from conftest import ROOT, TEN_CLASSES

from tests.reliability import disks
from tests.reliability.project import DVC, Project, create
from thaw.config.params import Params, Training
from thaw.network import backbone, inference, weights
from thaw.network.classifier import describe, load_classifier, save_classifier
from thaw.network.heads import build_head
from thaw.support.errors import ThawError
from thaw.support.files import atomic_file, sha256
from thaw.support.runtime import plain_keras, set_up
from thaw.training.batches import Batches
from thaw.training.checkpoint import Checkpoint
from thaw.training.fitting import fit
from tools.study.__main__ import git, origin

HOOKS = ("pre-commit", "commit-msg", "prepare-commit-msg", "post-checkout", "post-commit")
GIT_CONFIG = """
[commit]
    gpgsign = true
[gpg]
    program = /bin/false
[core]
    hooksPath = {folder}/hooks
    excludesFile = {folder}/ignored
    pager = /bin/false
[color]
    ui = always
[status]
    showUntrackedFiles = no
    branch = true
    short = true
[diff]
    noprefix = true
    external = /bin/false
[log]
    showSignature = true
"""
IGNORED = ("*.csv", "*.json", "*.lock", "*.md", "*.png", "metrics", "plots", "report", "results")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose git signs, runs hooks that fail, ignores results and colours everything."""
    folder = tmp_path / "home"
    (folder / "hooks").mkdir(parents=True)
    for hook in HOOKS:
        (folder / "hooks" / hook).write_text("#!/bin/sh\nexit 1\n")
        (folder / "hooks" / hook).chmod(0o755)
    (folder / "ignored").write_text("\n".join(IGNORED) + "\n")
    (folder / ".gitconfig").write_text(GIT_CONFIG.format(folder=folder))
    return folder


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_ends_no_stage_and_no_file(tmp_path: Path, closed: str) -> None:
    """tqdm 1033 and 1593. What libraries write to stream 2 must not end up in an output."""
    script = (
        "import os; from pathlib import Path; from tqdm import tqdm\n"
        "from thaw.support.stage import run\n"
        "def main():\n"
        "    with Path('output').open('w') as file:\n"
        "        for stream in (1, 2): os.write(stream, b'said by a library')\n"
        "        for number in tqdm(range(3), disable=None): file.write(str(number))\n"
        "    print('a word'); return 'done'\n"
        "run('replayed', main)"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, script]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    assert subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode == 0
    assert (tmp_path / "output").read_text() == "012"


def test_a_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow 6046: its own error of a full disk is no OSError, and ended in a traceback."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 0, 10**6))
    model = keras.Sequential([keras.Input((8, 8, 3), dtype="uint8"), keras.layers.Flatten()])
    with pytest.raises(OSError, match="1 MB are free") as caught:
        inference.openvino(model, 2, 1)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value.filename).startswith(str(tmp_path))


def test_what_is_built_for_others_does_not_hang_on_their_keras() -> None:
    """Keras 1353: weights that are right, in a network of another precision."""
    try:
        keras.config.set_dtype_policy("mixed_float16")
        keras.config.set_image_data_format("channels_first")
        with plain_keras():
            layer = keras.layers.Conv2D(3, 1)
        assert (layer.compute_dtype, layer.data_format) == ("float32", "channels_last")
        assert keras.config.dtype_policy().name == "mixed_float16"
        assert keras.config.image_data_format() == "channels_first"
    finally:
        set_up(threads=2)


def test_files_are_read_where_nothing_can_be_locked(tmp_path: Path) -> None:
    """h5py 1082, 1101: NFS without locks. Here another program holds the file's lock."""
    path = tmp_path / "a.weights.h5"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save_weights(path)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        model.load_weights(path)


@pytest.mark.slow
def test_a_classifier_answers_alike_in_a_notebook_of_another_precision(
    tmp_path: Path, params: Params
) -> None:
    network = weights.resnet50(params.image_size, top=False)
    head = build_head(params.head, 10, seed=0)
    model = backbone.image_model(network, params.image_size, params.value_range, head)
    side = params.image_size
    description = describe(TEN_CLASSES, side, "0-255", params.head, "random")
    save_classifier(tmp_path / "full", model, description)
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        keras.config.set_image_data_format("channels_first")
        loaded = load_classifier(tmp_path / "full")
    finally:
        set_up(threads=2)
    expected = model.predict_on_batch(images)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), expected)


@pytest.mark.slow
def test_half_precision_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """TensorFlow 27049, Keras 22010: the scale of the loss is part of what is kept."""
    inputs = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    labels = np.arange(64) % 4

    def trained(epochs: int, name: str) -> tuple[keras.Model, Any]:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.5)]
        last = keras.layers.Dense(4, activation="softmax", dtype="float32")
        model = keras.Sequential([keras.Input((8,)), *layers, last])
        settings = Training(
            images=0, epochs=epochs, batch_size=8, learning_rate=0.01, patience=0, seeds=1,
            label_smoothing=0.0,
        )  # fmt: skip
        train = Batches(inputs.__getitem__, labels, 8, seed=1)
        validation = Batches(inputs.__getitem__, labels, 8)
        return model, fit(model, train, validation, settings, Checkpoint(tmp_path / name))

    try:
        keras.config.set_dtype_policy("mixed_float16")
        whole, expected = trained(4, "whole")
        trained(2, "cut")
        resumed, history = trained(4, "cut")
    finally:
        set_up(threads=2)
    assert history == expected
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_study_runs_in_a_folder_of_a_larger_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC 4969: git names what is in a commit from the top of the repository."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "projects/thaw"
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text("seed: 3\nthreads: 1\n")
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    project.commit()
    monkeypatch.chdir(folder)
    assert origin("HEAD") == {"seed": 3, "threads": 1, "commit": "HEAD"}


def test_scratch_repositories_leave_the_users_alone(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC 5581: a git hook has GIT_DIR. Tests that make repositories must make their own."""
    users, scratch = Project(tmp_path / "users"), Project(tmp_path / "scratch")
    for project in (users, scratch):
        project.root.mkdir()
    users.run("git", "init", "--quiet")
    users.commit()
    before = users.run("git", "rev-parse", "HEAD")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(users.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(users.root / ".git/index"))
    scratch.run("git", "init", "--quiet")
    (scratch.root / "file").write_text("a word")
    scratch.commit()
    assert scratch.run("git", "ls-files") == "file\n"
    assert users.run("git", "rev-parse", "HEAD") == before
    assert users.run("git", "ls-files") == ""


def test_results_stay_in_git_whatever_a_user_ignores(tmp_path: Path, home: Path) -> None:
    """DVC 5338 and 5109: it does not run where git ignores its lock."""
    shutil.copy(ROOT / ".gitignore", tmp_path)
    git("init", "--quiet", str(tmp_path))
    kept = ["dvc.lock", "metrics/new.json", "plots/new/new.csv", "plots/new.png"]
    kept += ["report/report.md", "tools/study/results/new.csv"]
    left = ["data/.thaw-tmp-1", "plots/.thaw-tmp-1", ".thaw/timings.csv", "thaw/__pycache__/a.pyc"]
    command = ["git", "-c", f"core.excludesFile={home / 'ignored'}", "check-ignore", "--no-index"]
    ended = subprocess.run(
        [*command, *kept, *left], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.stdout.split() == left


def test_a_link_into_dvcs_cache_is_not_written_through(tmp_path: Path) -> None:
    """DVC 2399, 10057: with cache.type symlink every output is one, until DVC runs its stage."""
    cached, output = tmp_path / "cached", tmp_path / "output"
    cached.write_text("of an earlier run")
    output.symlink_to(cached)
    with pytest.raises(ThawError, match="a symbolic link"), atomic_file(output) as scratch:
        scratch.write_text("of this run")
    assert cached.read_text() == "of an earlier run"


PREPARED = ("data/fashion-mnist", "data/images")
"""What the stages up to preprocess write."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project of which the stages up to preprocess have run, committed."""
    project = create(tmp_path_factory.mktemp("prepared"))
    project.dvc("repro", "preprocess")
    project.commit()
    return project


@pytest.fixture
def project(prepared: Project) -> Iterator[Project]:
    yield prepared
    prepared.run("git", "checkout", "--quiet", "--force", "HEAD")
    prepared.dvc("checkout", "--force", "--quiet", *PREPARED)


def experiment(project: Project, train: int, *prefix: str, **changes: str) -> int:
    """Run preprocess with so many training images; return how many it drew."""
    arguments = ("exp", "run", "preprocess", "--name", f"with-{train}")
    arguments += ("--set-param", f"samples.train={train}")
    said = project.run(*prefix, *DVC, *arguments, changes=changes)
    return int(said.split(" classes: ")[1].split()[0])  # "preprocess: .., 10 classes: 91 train, .."


@pytest.mark.slow
def test_experiments_run_whatever_the_users_git_does(project: Project, home: Path) -> None:
    """DVC 5581 (hooks), 5338 (ignored files), 5627 (no name): user.name is not set, either."""
    unset = dict.fromkeys(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"], "")
    config = str(home / ".gitconfig")
    assert experiment(project, 91, HOME=str(home), GIT_CONFIG_GLOBAL=config, **unset) == 91
    assert "params.yaml" in project.run("git", "status", "--porcelain")


@pytest.mark.slow
@pytest.mark.long
def test_experiments_run_in_a_linked_worktree(project: Project, tmp_path: Path) -> None:
    """DVC 5456, 10812."""
    project.run("git", "worktree", "add", "--quiet", str(tmp_path / "linked"), "HEAD")
    linked = Project(tmp_path / "linked")
    try:
        assert experiment(linked, 92) == 92
    finally:
        project.run("git", "worktree", "remove", "--force", str(linked.root))


def works(*command: str) -> bool:
    """Whether a command is there and may do what it is asked."""
    found = shutil.which(command[0])
    return bool(found) and not subprocess.run(command, capture_output=True, check=False).returncode


NAMELESS = ("unshare", "--user", "--map-user=12345", "--map-group=12345", "env", "-u", "LOGNAME")


@pytest.mark.slow
@pytest.mark.skipif(not works(*NAMELESS, "true"), reason="no process may have another number")
def test_a_number_without_a_name_runs_it_all(project: Project) -> None:
    """Matplotlib 5940, 17707, Keras 5480: `docker run -u 12345`, where no home can be written."""
    images = project.root / "data/images/rgb32.h5"
    before = sha256(images)
    changes = {"HOME": "/proc/none", "USER": "someone"}
    project.run(*NAMELESS, *DVC, "repro", "--force", "preprocess", changes=changes)
    assert sha256(images) == before
    command = "import keras, thaw.report.figures; print(keras.__name__)"
    assert "keras" in project.run(*NAMELESS, sys.executable, "-c", command, changes=changes)


@pytest.mark.slow
@pytest.mark.long
def test_what_dvc_puts_aside_comes_back(project: Project) -> None:
    """vscode-dvc 4802, DVC 7955: `exp apply` takes uncommitted changes away, without a word."""
    experiment(project, 93)
    project.run("git", "checkout", "--quiet", "--force", "HEAD")
    readme = project.root / "README.md"
    written = readme.read_text() + "mine\n"
    readme.write_text(written)
    project.dvc("exp", "apply", "with-93", code=None)  # 255: what did not run is not in its cache
    assert readme.read_text() != written, "DVC leaves them now: docs/params.md can say so"
    project.run("git", "checkout", "--quiet", "--force", "HEAD")
    project.run("git", "stash", "apply", "--quiet", "refs/exps/apply/stash")
    assert readme.read_text() == written


@pytest.mark.slow
@pytest.mark.long
def test_a_cache_of_links_is_not_written_through(project: Project) -> None:
    """DVC 2399, 10057, as `project` has it."""
    project.dvc("config", "--local", "cache.type", "symlink")
    project.dvc("checkout", "--relink", "--force", *PREPARED)
    try:
        images = project.root / "data/images/rgb32.h5"
        assert images.is_symlink()
        cached = images.resolve()
        before = sha256(cached)
        assert experiment(project, 94) == 94
        assert sha256(cached) == before
        assert images.resolve() != cached
        project.dvc("repro", "--force", "download")
    finally:
        project.dvc("config", "--local", "--unset", "cache.type")
        project.dvc("checkout", "--relink", "--force", *PREPARED)


@pytest.mark.slow
@pytest.mark.skipif(not disks.usable(), reason="no process may have a mount namespace of its own")
def test_images_need_no_shared_memory(project: Project) -> None:
    """joblib 391, 825: a container without a /dev/shm that can be written."""
    images = project.root / "data/images/rgb32.h5"
    before = sha256(images)
    without = ("sh", "-c", 'mount -t tmpfs -o ro none /dev/shm && exec "$@"', "sh")
    project.run(*disks.NAMESPACE, *without, sys.executable, "-m", "stages.preprocess")
    assert sha256(images) == before
