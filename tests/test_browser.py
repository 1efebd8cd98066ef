"""report.html in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import check_first_columns, needs_browser, read_entries, small_params, watched
from playwright.sync_api import Browser, Page
from report_project import make, write_study

from thaw.report.contents import gather
from thaw.report.drawing import draw
from thaw.report.pages import render

pytestmark = needs_browser
WIDTHS = (375, 1280)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("project"), small_params(read_entries()))
    write_study(root)
    draw(root, gather(root), root / "plots")
    path = root / "report.html"
    path.write_text(render(gather(root), root / "plots", "report.html.j2"))
    return path


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The report, opened; whatever it asks for or complains of ends the test."""
    page, asked, said = watched(browser)
    page.goto(report.as_uri())
    yield page
    page.close()
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert not said


def test_every_image_loads(page: Page) -> None:
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) > 20
    assert min(widths) >= 28


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_thaw_curve_is_in_the_first_screen(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    box = page.locator(".curve img").bounding_box()
    assert box
    assert box["width"] > 900
    assert box["y"] + box["height"] <= 800


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_two_columns_of_every_table_show(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    check_first_columns(page)


def test_the_whole_comparison_shows(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    heads = page.locator("table").first.locator("thead th")
    box = heads.last.bounding_box()
    assert heads.count() == 4
    assert box
    assert box["x"] + box["width"] <= 1280


def column(page: Page, table: int, index: int) -> list[str]:
    rows = page.locator("table").nth(table).locator("tbody tr")
    return [rows.nth(i).locator("th, td").nth(index).inner_text() for i in range(rows.count())]


def test_tables_sort_by_number_and_by_name(page: Page) -> None:
    """The first table's accuracies, up, then down; then its names; by mouse and by key."""
    heads = page.locator("table").first.locator("thead button")
    before = [float(text) for text in column(page, 0, 1)]
    heads.nth(1).click()
    assert [float(text) for text in column(page, 0, 1)] == sorted(before)
    assert (
        page.locator("table").first.locator("th").nth(1).get_attribute("aria-sort") == "ascending"
    )
    heads.nth(1).click()
    assert [float(text) for text in column(page, 0, 1)] == sorted(before, reverse=True)
    heads.nth(0).press("Enter")
    assert column(page, 0, 0) == sorted(column(page, 0, 0), key=str.lower)
    for turned in (False, True):  # images: thousands are apart, and some rows have none
        heads.nth(3).press("Space")
        counts = [text.replace(",", "") for text in column(page, 0, 3)]
        numbers = [int(text) for text in counts if text != "-"]
        assert len(numbers) == 4
        assert numbers == sorted(numbers, reverse=turned)
        assert counts == [*map(str, numbers), *["-"] * (len(counts) - len(numbers))]


def luminance(colour: str) -> float:
    """WCAG 2.1's relative luminance of rgb(r, g, b)."""
    channels = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_aa(page: Page, scheme: str) -> None:
    """4.5 to 1 between every kind of text and what is behind it."""
    page.emulate_media(color_scheme=scheme)
    script = """elements => elements.map(element => {
        let behind = element;
        const colour = e => getComputedStyle(e).backgroundColor;
        while (behind.parentElement && colour(behind) === "rgba(0, 0, 0, 0)") {
            behind = behind.parentElement;
        }
        return [getComputedStyle(element).color, colour(behind)];
    })"""
    pairs = page.eval_on_selector_all(
        "p, h1, h2, th, td, caption, button, figcaption, code", script
    )
    assert len(pairs) > 100
    for text, behind in {tuple(pair) for pair in pairs}:
        dark, light = sorted((luminance(text), luminance(behind)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, behind)


def test_every_image_and_table_has_words(page: Page) -> None:
    script = "all => all.filter(one => !one.alt).length"
    assert page.eval_on_selector_all("img", script) == 0
    script = "all => all.filter(one => !one.caption || !one.caption.textContent.trim()).length"
    assert page.eval_on_selector_all("table", script) == 0
