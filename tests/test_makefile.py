"""What `make` says of itself."""

import re
import subprocess

from conftest import ROOT


def test_make_alone_lists_every_target() -> None:
    said = subprocess.check_output(["make", "--no-print-directory"], cwd=ROOT, text=True)
    targets = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in set(" ".join(targets).split()) - {"help"}:
        assert re.search(rf"make {target}\b", said), f"{target} is not in the list"
    assert said.startswith("make repro ")
    assert "PYTHON" not in said, "nothing but the list"


def test_make_setup_says_how_much_there_is_to_install() -> None:
    said = subprocess.check_output(
        ["make", "--dry-run", "--always-make", "setup"], cwd=ROOT, text=True
    )
    assert said.index("a download of 1 GB") < said.index("pip install")
    count = (ROOT / "requirements.lock").read_text().count("==")
    assert 180 < count < 220, "the Makefile says how many packages there are"
