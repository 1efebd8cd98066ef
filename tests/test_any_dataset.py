"""The report on folders of pictures: any number of classes, of any names."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import check_first_columns, needs_browser, watched
from playwright.sync_api import Browser
from report_project import make_pictures

from thaw.findings.intervals import share_metrics
from thaw.report import pages
from thaw.report.contents import gather
from thaw.report.drawing import draw
from thaw.report.naming import LONGEST, figure_names, legend, shortened
from thaw.support.errors import ThawError
from thaw.support.tables import read_csv, read_json, write_json

LONG = "long " * 40
HOSTILE = (
    *("猫", "قطة سوداء", "बिल्ली", "😀 smile", "$x$", "a|b", "<b>", "`c` *d* _e_ [f](g)"),
    *("n" * 200, "n" * 120 + "m" * 80, LONG + "a", LONG.upper(), "100%_a\\b", "two\nlines"),
    *("#3", "Ж ế", "\u202eturned"),
)
"""Names in several scripts, with what Markdown, HTML or formulas give a meaning, and long ones."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A balanced project with names that break what does not expect them."""
    files = ["train/猫/写真.jpg", "a|b/" + "long" * 50 + ".png"]
    root = tmp_path_factory.mktemp("hostile")
    return make_pictures(root, dict.fromkeys(HOSTILE, 6), files, name="my <pics> | 猫")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two classes, of which one has nine times as many images as the other."""
    return make_pictures(tmp_path_factory.mktemp("uneven"), {"cat": 180, "dog": 20})


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with 25 classes, for which confusion matrices have no numbers."""
    sizes = {f"class {i}": 6 for i in range(25)}
    return make_pictures(tmp_path_factory.mktemp("many"), sizes)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [*HOSTILE, *(f"species {i}" for i in range(1000 - len(HOSTILE)))]
    return make_pictures(tmp_path_factory.mktemp("thousand"), dict.fromkeys(names, 1))


def render(root: Path, template: str) -> str:
    return pages.render(gather(root), root / "plots", template)


def test_names_in_figures() -> None:
    assert figure_names(["cat", "Ankle boot", "T-shirt/top"]) == [
        "cat",
        "Ankle boot",
        "T-shirt/top",
    ]
    shown = figure_names(HOSTILE)
    assert len(set(shown)) == len(HOSTILE)
    assert max(map(len, shown)) <= LONGEST
    named = dict(zip(HOSTILE, shown, strict=True))
    # Chinese and Hindi are not in matplotlib's font; a sign for `right to left` shows nothing.
    for undrawn in ("猫", "बिल्ली", "#3", "\u202eturned"):
        assert named[undrawn] == f"#{HOSTILE.index(undrawn)}"
    for kept in ("قطة سوداء", "😀 smile", "$x$", "a|b", "<b>", "100%_a\\b", "Ж ế"):
        assert named[kept] == kept
    assert named["two\nlines"] == "two lines"
    assert {name for _, name in legend(HOSTILE)} == {n for n in HOSTILE if named[n] != n}


def test_long_names_lose_their_middle_and_stay_distinct() -> None:
    assert shortened("abcdefghijklmnopqrstuvwxyz", 10) == "abcde…wxyz"
    assert shortened("abcdefghij", 10) == "abcdefghij"
    one, other = figure_names(["a" * 100 + "b" + "a" * 99, "a" * 200])
    assert one == "a" * 10 + "…" + "a" * 10 + " #0"
    assert other == one[:-1] + "1"
    # Even if a class is called as another's shortened name now is.
    three = figure_names(["a" * 100 + "b" + "a" * 99, "a" * 200, one])
    assert len(set(three)) == 3


def test_a_thousand_names_are_distinct() -> None:
    names = [f"{'same ' * 10}{i}{' same' * 10}" for i in range(500)] + [
        "猫" * i for i in range(500)
    ]
    assert len(set(figure_names(names))) == 1000


def test_the_report_names_the_dataset_and_says_what_is_left_out(hostile: Path) -> None:
    html, text = render(hostile, "report.html.j2"), render(hostile, "report.md.j2")
    assert "<h1>How much of ResNet50 to thaw for my &lt;pics&gt; | 猫</h1>" in html
    assert "\n# How much of ResNet50 to thaw for my \\<pics\\> \\| 猫\n" in text
    for page in (html, text):
        assert page.count("Left out, because they belong to Fashion-MNIST alone") == 1
        assert "do not have ImageNet" in page
        for foreign in ("Why the notebooks", "The thaw curve", "zero-shot", "plots/diagnose"):
            assert foreign not in page
    drawn = {path.relative_to(hostile / "plots").as_posix() for path in hostile.rglob("plots/**/*")}
    assert "baseline/references.png" in drawn
    assert not [name for name in drawn if name.startswith(("diagnose", "study"))]
    assert "baseline/train_image_6.png" not in drawn


def test_the_report_gives_no_path_of_this_machine(hostile: Path) -> None:
    html = render(hostile, "report.html.j2")
    assert "/home/me" not in html
    for name, value in (
        ("pictures", "my &lt;pics&gt; | 猫"),
        ("classes", "17"),
        ("test images", "102"),
    ):
        assert f'<tr><th scope="row">{name}</th><td><code>{value}</code></td></tr>' in html
    assert "SHA-256" not in html.replace("requirements.lock, SHA-256", "")


def test_no_name_breaks_a_page(hostile: Path) -> None:
    html, text = render(hostile, "report.html.j2"), render(hostile, "report.md.j2")
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    for line in text.splitlines():
        if line.startswith("|"):
            columns = len(re.findall(r"(?<!\\)\|", line)) - 1
            assert columns in (2, 4)
            assert "$" not in line.replace("\\$", "")
    start = text.index("## Names in figures")
    assert "| \\#0 | 猫 |" in text[start:]
    assert len(re.findall(r"^\| ", text[start:], re.M)) == 1 + len(legend(HOSTILE))


def test_pictures_are_named_by_their_files(hostile: Path) -> None:
    mistakes = read_csv(hostile / "plots/full/mistakes.csv")
    assert [row["file"] for row in mistakes[:3]] == [
        "train/猫/写真.jpg",
        "a|b/" + "long" * 50 + ".png",
        "folder/picture 2.jpg",
    ]
    seen = read_csv(hostile / "plots/modes/before_after.csv")
    assert [row["file"] for row in seen][1] == "folder/picture 6.jpg"
    assert [row["actual"] for row in seen] == list(HOSTILE)
    assert {row["before"] for row in seen} == {"clog", "-"}
    html = render(hostile, "report.html.j2")
    assert '<bdi class="name">train/猫/写真.jpg</bdi>' in html
    assert "of another part" not in html


def test_without_their_files_pictures_are_named_by_their_numbers(
    uneven: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(uneven, tmp_path / "project"))
    (root / "data/images/files.csv").unlink()
    draw(root, gather(root), root / "plots")
    assert read_csv(root / "plots/full/mistakes.csv")[0]["test_image"] == "7"
    assert "Test image 7: cat" in render(root, "report.html.j2")


def test_figures_are_the_same_in_every_run(hostile: Path, tmp_path: Path) -> None:
    draw(hostile, gather(hostile), tmp_path)
    names = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")}
    assert len(names) > 15
    assert all((tmp_path / n).read_bytes() == (hostile / "plots" / n).read_bytes() for n in names)


def test_of_imbalanced_classes_macro_recall_has_intervals(uneven: Path, hostile: Path) -> None:
    """Full is wrong on 21 of 180 cats, frozen on one, both on no dog: half of 20 / 180."""
    html, text = render(uneven, "report.html.j2"), render(uneven, "report.md.j2")
    for page in (html, text):
        assert "The classes have from 20 to 180 test images" in page
        assert "train-frozen 0.9972 [0.9917, 1.0000]" in page
        assert "95 % interval of macro recall" in page
    pairs = {
        (row["mode"], row["than"]): float(row["difference"])
        for row in read_csv(uneven / "plots/modes/macro_differences.csv")
    }
    assert pairs["frozen", "full"] == pytest.approx(10 / 180, abs=1e-4)
    assert not (hostile / "plots/modes/macro_differences.csv").exists()
    assert "interval of macro recall" not in render(hostile, "report.html.j2")


def test_imagenets_names_give_a_zero_shot_accuracy(tmp_path: Path) -> None:
    named = share_metrics("zero_shot_accuracy", 25, 50) | {"commonest_class": "clog"}
    baseline: dict[str, Any] = {"zero_shot_images": 50, "zero_shot_image_size": 64}
    baseline |= {"0-255": named, "0-1": named}
    root = make_pictures(tmp_path, {"clog": 30, "tusker": 30}, baseline=baseline, drawn=False)
    text = render(root, "report.md.j2")
    assert "| zero-shot, 64 px, 50 images | 0.5000 |" in text
    assert "do not have ImageNet" not in text
    path = root / "data/results/baseline/summary.json"
    write_json(path, read_json(path) | {"0-255": named | {"zero_shot_accuracy": 0.6}})
    with pytest.raises(ThawError, match=r"zero_shot_accuracy_low must be"):
        gather(root)


def test_many_classes_have_a_table_of_confusions(many: Path) -> None:
    rows = read_csv(many / "plots/full/confusions.csv")
    # 21 images of 6 a class are called the next class.
    assert [list(row.values()) for row in rows] == [
        ["class 0", "class 1", "6"],
        ["class 1", "class 2", "6"],
        ["class 2", "class 3", "6"],
        ["class 3", "class 4", "3"],
    ]
    assert "| train-full | class 3 | class 4 | 3 |" in render(many, "report.md.j2")
    assert "The most frequent confusions" in render(many, "report.html.j2")


def test_a_thousand_classes_fit_on_the_page(thousand: Path) -> None:
    contents = gather(thousand)
    started = time.monotonic()
    html = pages.render(contents, thousand / "plots", "report.html.j2")
    assert time.monotonic() - started < 20
    assert len(html.encode()) < 10e6
    assert "One test image of each of 50 classes" in html
    assert "All 1,000 classes" in html
    assert len(read_csv(thousand / "plots/full/confusions.csv")) == 15
    assert len({row["class"] for row in read_csv(thousand / "plots/modes/classes.csv")}) == 1000


@needs_browser
@pytest.mark.parametrize("project", ["uneven", "hostile", "many", "thousand"])
def test_the_page_in_a_browser(
    project: str, request: pytest.FixtureRequest, browser: Browser
) -> None:
    """Its tables show, its pictures load, its tables sort, and nothing complains."""
    root: Path = request.getfixturevalue(project)
    path = root / "report.html"
    path.write_text(render(root, "report.html.j2"), encoding="utf-8")
    page, _, said = watched(browser)
    page.goto(path.as_uri())
    script = "all => all.filter(one => !one.naturalWidth || !one.alt).length"
    assert page.eval_on_selector_all("img", script) == 0
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    for width in (375, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        check_first_columns(page)
    button = page.get_by_role("region", name="Accuracy by class").locator("button").nth(3)
    button.click()
    shares = page.get_by_role("region", name="Accuracy by class").locator("td:nth-child(4)")
    texts = shares.all_inner_texts()
    assert texts == sorted(texts)
    assert texts[0] < texts[-1]
    page.close()
    assert not said


def test_photographs_are_shrunk_for_the_page() -> None:
    """Each pixel becomes the mean of four; small images stay as they are."""
    image = np.zeros((224, 224, 3), np.uint8)
    image[0, 1], image[1, 1] = 100, 102
    small = pages.shrunk(image)
    assert small.shape == (112, 112, 3)
    assert small[0, 0].tolist() == [50, 50, 50]
    assert pages.shrunk(image[:32, :32]).shape == (32, 32, 3)
