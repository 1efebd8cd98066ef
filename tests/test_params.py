import copy
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from thaw.config.load import load_params
from thaw.support.errors import ThawError

Write = Callable[[Any], Path]


def changed(entries: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    result = copy.deepcopy(entries)
    *sections, last = path.split(".")
    section = result
    for name in sections:
        section = section[name]
    section[last] = value
    return result


def test_the_committed_file_is_valid() -> None:
    assert load_params(ROOT).dataset == "data/fashion-mnist"


def test_params_cannot_be_changed(entries: dict[str, Any], write_params: Write) -> None:
    params = load_params(write_params(entries))
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", -1),
        ("seed", 1.5),
        ("seed", "0"),
        ("seed", True),
        ("seed", None),
        ("threads", 0),
        ("dataset", ""),
        ("dataset", 3),
        ("class_weight", "equal"),
        ("weights", "imagenet21k"),
        ("weights", 3),
        ("image_size", 16),
        ("image_size", 225),
        ("image_size", 32.0),
        ("value_range", "float"),
        ("frozen_batch_norm", "frozen"),
        ("freeze", 176),
        ("freeze", -1),
        ("freeze", "conv9"),
        ("freeze", "conv4_block7"),
        ("freeze", True),
        ("freeze", [10]),
        ("samples.train", 100_000_001),
        ("samples.train", -1),
        ("samples.validation", 0),
        ("samples.test", 1.5),
        ("samples", 7),
        ("samples", None),
        ("head.units", 128),
        ("head.units", [0]),
        ("head.units", ["many"]),
        ("head.units", [128] * 9),
        ("head.dropout", 1),
        ("head.dropout", -0.1),
        ("head.dropout", float("nan")),
        ("head.dropout", True),
        ("head.l2", -1),
        ("head.l2", float("inf")),
        ("baseline.images", 0),
        ("baseline.images", 9),
        ("train_frozen.epochs", 0),
        ("train_frozen.learning_rate", 0),
        ("train_frozen.learning_rate", "fast"),
        ("train_full.images", -1),
        ("train_full.augment.zoom", 1.0),
        ("train_full.augment.brightness", 1.1),
        ("train_full.patience", -1),
        ("train_full.batch_norm_momentum", 1.0),
        ("train_partial.batch_size", 0),
        ("diagnose.validation_images", 9),
        ("diagnose.head.dropout", 2),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    entries: dict[str, Any], write_params: Write, path: str, value: Any
) -> None:
    root = write_params(changed(entries, path, value))
    with pytest.raises(ThawError) as caught:
        load_params(root)
    lines = [line for line in str(caught.value).splitlines() if f"  {path}" in line]
    assert len(lines) == 1, str(caught.value)
    assert re.search(r"(must be|Allowed:) \w.*\w\. ?Received: ", lines[0])
    received = lines[0].split("Received: ")[1]
    assert str(value).strip("[]'")[:3] in received


@pytest.mark.parametrize("path", ["seed", "freeze", "head", "head.l2", "diagnose.head.units"])
def test_a_missing_entry_is_named(entries: dict[str, Any], write_params: Write, path: str) -> None:
    *sections, last = path.split(".")
    section = entries
    for name in sections:
        section = section[name]
    del section[last]
    with pytest.raises(ThawError, match=rf"  {path}: missing\. Allowed: .+\. Received: nothing"):
        load_params(write_params(entries))


@pytest.mark.parametrize(
    ("path", "meant"),
    [("freze", "freeze"), ("head.dropot", "dropout"), ("train_full.epoch", "epochs")],
)
def test_a_misspelt_entry_is_named_with_what_was_meant(
    entries: dict[str, Any], write_params: Write, path: str, meant: str
) -> None:
    with pytest.raises(
        ThawError, match=rf"  {path}: unknown\. Did you mean {meant}\?.*Received: 5"
    ):
        load_params(write_params(changed(entries, path, 5)))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("input_range", "value_range"),
        ("batch_norm", "frozen_batch_norm"),
        ("pixels_at_once", "microbatch_pixels"),
        ("train_full.rate_decay", "layer_decay"),
        ("train_partial.head_start", "head_warmup"),
    ],
)
def test_an_entrys_old_name_gets_the_new_one(
    entries: dict[str, Any], write_params: Write, path: str, name: str
) -> None:
    root = write_params(changed(entries, path, 5))
    with pytest.raises(
        ThawError, match=rf"  {path}: unknown\. It is called {name} now: see CHANGE"
    ):
        load_params(root)


def test_a_key_that_is_no_word_is_unknown(entries: dict[str, Any], write_params: Write) -> None:
    with pytest.raises(ThawError, match=r"  1: unknown\. Allowed: seed, .*Received: 1"):
        load_params(write_params(entries | {1: 2}))


def test_all_problems_are_listed_at_once(entries: dict[str, Any], write_params: Write) -> None:
    bad = changed(changed(entries, "freeze", 176), "head.dropout", 2)
    with pytest.raises(ThawError, match=r"freeze: .*\n  head\.dropout: "):
        load_params(write_params(bad))


def test_a_rate_as_dvc_writes_it_is_a_number(entries: dict[str, Any], write_params: Write) -> None:
    text = yaml.safe_dump(entries).replace("learning_rate: 0.001", "learning_rate: 1e-05")
    assert "learning_rate: 1e-05" in text  # which PyYAML, YAML 1.1, reads as a string
    assert load_params(write_params(text)).train_frozen.learning_rate == 1e-5


def test_a_number_that_is_whole_by_chance_is_not_a_number_of_epochs(
    entries: dict[str, Any], write_params: Write
) -> None:
    text = yaml.safe_dump(entries).replace("epochs: 12", "epochs: 1e1")
    with pytest.raises(ThawError, match=r"train_full\.epochs: must be an integer.*10\.0"):
        load_params(write_params(text))


def test_a_number_in_quotation_marks_is_text_as_it_is_to_dvc(
    entries: dict[str, Any], write_params: Write
) -> None:
    with pytest.raises(ThawError, match=r"head\.dropout: must be a number .*Received: '0\.3'"):
        load_params(write_params(changed(entries, "head.dropout", "0.3")))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "seed", "a: [", "\t: :", "a: 2026-13-45", "- 1\n- 2", "!!python/object:os.system x"],
)
def test_a_file_that_is_no_mapping_is_named(write_params: Write, text: str) -> None:
    root = write_params(text)
    with pytest.raises(ThawError, match=r"params\.yaml"):
        load_params(root)


def test_bytes_that_are_not_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00seed")
    with pytest.raises(ThawError, match=r"params\.yaml cannot be read"):
        load_params(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ThawError, match=r"params\.yaml cannot be read.*Run in the project's folder"
    ):
        load_params(tmp_path)


def test_a_stage_ends_with_one_message_and_no_traceback(
    entries: dict[str, Any], write_params: Write
) -> None:
    root = write_params(changed(entries, "freeze", 176))
    (root / "data").mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "stages.preprocess"],
        cwd=root,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error in stage preprocess: ")
    assert "freeze: must be an integer from 0 to 175" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sorted(path.name for path in root.iterdir()) == [".thaw", "data", "params.yaml"]
