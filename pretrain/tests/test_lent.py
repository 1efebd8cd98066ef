"""The commands of GPU.md, as they stand there, on a CPU: on nothing but what is found there."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from pretrain import pack
from pretrain.layers import load_layers
from pretrain.lease import join, parts
from pretrain.settings import HERE, Settings
from pretrain.student import ResNet50
from thaw.network import bundled
from thaw.support.errors import ThawError
from thaw.support.tables import read_csv, read_json, write_json

ABSENT = [
    "dvc",
    "efficientnet_lite_pytorch",
    "hdf5plugin",
    "joblib",
    "keras",
    "matplotlib",
    "openvino",
    "pydantic",
    "ruamel",
    "scipy",
    "skimage",
    "sklearn",
    "tenacity",
    "tensorflow",
    "tqdm",
    "zstandard",
]
"""What thaw's lock and requirements.txt hold and a lent machine does not, or may not."""
PAGE = (HERE / "GPU.md").read_text()


def commands() -> list[str]:
    """The two commands that run on the machine, in the order of the page."""
    return re.findall(r"```bash\n# on the machine\n(.*?)```", PAGE, re.DOTALL)


def lent(command: str, folder: Path, settings: Settings, seconds: int) -> str:
    """Run a command of the page with tiny settings; return what it printed."""
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(settings)))))
    # A module that is None in sys.modules cannot be imported.
    blocked = folder / "site"
    blocked.mkdir(exist_ok=True)
    absent = f"import sys\nfor name in {ABSENT!r}:\n    sys.modules[name] = None\n"
    (blocked / "sitecustomize.py").write_text(absent)
    command = re.sub(r"--seconds \d+", f"--seconds {seconds}", command)
    command = command.replace("--device cuda", "--device cpu").replace("python3", sys.executable)
    command = command.replace(
        "-m pretrain.lease", f"-m pretrain.lease --params {params} --carried {folder / 'carried'}"
    )
    environment = os.environ | {"OUT": str(folder / "out"), "PYTHONPATH": str(blocked)}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=HERE.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_two_commands_short_enough() -> None:
    assert len(commands()) == 2
    assert all(len(command) <= 2000 for command in commands())
    assert "--check" in commands()[0]
    assert "--check" not in commands()[1]


def test_the_check_measures_all_that_the_page_asks_for(
    tiny: Settings, carried_folder: Path
) -> None:
    folder = carried_folder.parent
    said = lent(commands()[0], folder, tiny, seconds=60)
    figures = read_json(folder / "out/check.json")
    assert figures["scenes_per_second"] > 0
    assert figures["answers_per_second_32"] > 0
    assert figures["graphs_failed"] is True  # there is no GPU here
    assert re.search(r"CHECK (PASSED|FAILED: the loss does not fall)", said)


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders for what joining writes."""
    for module, name, path in (
        (join, "FOLDER", "data"),
        (join, "HERE", "here"),
        (pack, "FOLDER", "data"),
    ):
        (tmp_path / path).mkdir(exist_ok=True)
        monkeypatch.setattr(module, name, tmp_path / path)
    monkeypatch.setattr(bundled, "FOLDER", tmp_path / "pretrained")
    monkeypatch.setattr(bundled.read, "__defaults__", (tmp_path / "pretrained",))
    monkeypatch.setattr(bundled.digest, "__defaults__", (tmp_path / "pretrained",))
    return tmp_path


def test_a_session_ends_in_the_file_that_ships(
    tiny: Settings, carried_folder: Path, joined: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = carried_folder.parent
    lent(commands()[1], folder, tiny, seconds=20)
    back = sorted(path.name for path in (folder / "out").iterdir())
    expected = [f"student-{number}.npz" for number in range(4)]
    assert set(back) == {*expected, "log.csv", "metrics.json", "output.txt"}
    assert all((folder / "out" / name).stat().st_size < 16 * 2**20 for name in back)

    monkeypatch.setattr(sys, "argv", ["join", "--only-pack", str(folder / "out")])
    join.main()
    received, step = parts.read(folder / "out", list(ResNet50().layers))
    assert step == read_json(folder / "out/metrics.json")["step"]
    written = load_layers(joined / "data/student.npz")
    shipped = bundled.read(joined / "pretrained")
    assert list(written) == list(received) == list(ResNet50().layers)
    for name, arrays in received.items():
        for one, other, third in zip(arrays, written[name], shipped[name], strict=True):
            np.testing.assert_array_equal(one, other)
            if one.ndim > 1:
                integers, scale = bundled.quantise(one)
                one = integers.astype(np.float32) * scale
            np.testing.assert_array_equal(one, third)
    assert read_csv(joined / "here/lease.csv")[-1]["step"] == str(step)


def test_a_student_with_weights_that_are_no_numbers_is_refused(joined: Path) -> None:
    layers = {name: [np.zeros(2, np.float32)] for name in ResNet50().layers}
    layers["conv1_conv"][0][1] = np.nan
    parts.write(joined, layers, 1)
    write_json(joined / "metrics.json", {"step": 1})
    with pytest.raises(ThawError, match="conv1_conv of the student"):
        join.join(joined)
    assert not (joined / "data/student.npz").exists()
