"""Render the report's pages from templates. Other modules compute and word what they show."""

import base64
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError
from numpy.typing import NDArray

from thaw.config.fields import VALUE_RANGES
from thaw.data.image_store import Images
from thaw.report import wording
from thaw.report.canvas import save_image
from thaw.report.contents import Contents
from thaw.report.examples import BeforeAfter, rows_by_position
from thaw.report.figures import PHOTOGRAPH
from thaw.report.naming import legend
from thaw.report.results import MODES, naming_damage
from thaw.report.tables import ComparisonRow
from thaw.support.errors import ThawError, remedy

BEFORE_AFTER = 50
"""At most so many classes have their picture on the page."""


def render(contents: Contents, plots: Path, template: str) -> str:
    """Return the report as a page.

    Args:
        contents: everything that the page shows.
        plots: the folder with the figures that the page embeds.
        template: the file name of the template; one that ends in .html.j2 escapes all values.

    Raises:
        ThawError: a metric or a figure is missing.

    """
    environment = Environment(
        loader=PackageLoader("thaw.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,  # by default a missing metric would render as nothing
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        thousands=thousands,
        decimals=decimals,
        cell_name=wording.cell_name,
        markdown=markdown,
        slug=slug,
        titles=titles,
    )
    environment.globals.update(interval=interval, picture=lambda path: data_url(plots / path))
    with naming_damage("data/results or plots/", remedy()):
        try:
            return environment.get_template(template).render(context(contents))
        except UndefinedError as error:
            # A KeyError is what `naming_damage` turns into a message with the remedy.
            raise KeyError(str(error)) from error


def context(contents: Contents) -> dict[str, Any]:
    """Return everything that the templates show, by the names that the templates use."""
    results, tables, studies = contents.results, contents.tables, contents.studies
    baseline = results.metrics["baseline"]
    modes = {mode: results.metrics[mode] for mode in MODES}
    shown = tables.before_after[:: -(-len(tables.before_after) // BEFORE_AFTER)]
    return {
        "dataset": results.dataset,
        "left_out": wording.left_out(results),
        "paired": wording.PAIRED,
        "stratified": wording.STRATIFIED,
        "imbalance": wording.imbalance(results.test.labels, tables),
        "notice": wording.notice(baseline["weights"], studies.curve),
        "how_much": wording.how_much(studies) if studies.curve else "",
        "of_curve": wording.of_curve(studies) if studies.curve else "",
        "of_modes": wording.of_modes(modes, tables.differences),
        "tables": tables,
        "details": details(tables.comparison[-len(MODES) :]),
        "baseline": baseline,
        "diagnose": results.metrics["diagnose"],
        "cells": results.cells,
        "causes": list(wording.causes(results.cells)),
        "modes": modes,
        "stages": MODES,
        "value_ranges": VALUE_RANGES,
        "class_names": results.dataset.classes,
        "figure_names": legend(results.dataset.classes),
        "before_after": shown,
        "test_pictures": list(_pictures(results.test, shown)),
        "curve": studies.curve,
        "curve_made": wording.curve_made(studies.curve[0]) if studies.curve else "",
        "full_data": studies.full_data,
        "provenance": contents.provenance,
    }


def details(modes: Sequence[ComparisonRow]) -> list[tuple[str, list[str]]]:
    """Return the numbers of each mode that the comparison leaves out, by their names."""
    shown: dict[str, Callable[[ComparisonRow], str]] = {
        "test accuracy over seeds": wording.over_seeds,
        "macro recall": lambda row: decimals(row.macro_recall),
        "95 % interval of macro recall": lambda row: interval(row.macro_low, row.macro_high),
        "macro F1": lambda row: decimals(row.macro_f1),
        "accuracy on train minus on validation": lambda row: decimals(row.gap, sign="+"),
        "expected calibration error": lambda row: decimals(row.calibration_error),
        "parameters trained": lambda row: thousands(row.parameters_trained),
        "images seen in training, with repeats": lambda row: thousands(row.images_seen),
    }
    lines = [(name, [said(row) for row in modes]) for name, said in shown.items()]
    # Only several seeds and imbalanced classes have such numbers.
    return [line for line in lines if set(line[1]) != {"-"}]


def _pictures(test: Images, shown: Sequence[BeforeAfter]) -> Iterator[str]:
    """Yield the test image of each line as a data URL."""
    row_of = rows_by_position(test)
    for line in shown:
        image = shrunk(test.batch(np.array([row_of[line.test_image]]))[0])
        file = io.BytesIO()
        save_image(file, image)
        yield _data_url(file.getvalue())


def shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an RGB image, (side, side, 3), as it is or at half its side if that is over 200."""
    if len(image) < PHOTOGRAPH:
        return image
    side = len(image) // 2
    blocks = image[: 2 * side, : 2 * side].reshape(side, 2, side, 2, 3)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


def data_url(path: Path) -> str:
    """Return a PNG file as a data URL, so that the page needs no other file.

    Raises:
        ThawError: the file cannot be read.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
    return _data_url(content)


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def markdown(text: str) -> str:
    """Return any text on one line and without meaning to Markdown, tables and formulas included."""
    return re.sub(r"([\\`*_{}\[\]<>|#$~&!])", r"\\\1", " ".join(text.split()))


def titles(text: str) -> list[str]:
    """Return the titles of the sections of a page, in Markdown or HTML."""
    return re.findall(r'^(?:## |<h2 id="[^"]*">)(.+?)(?:</h2>)?$', text, re.MULTILINE)


def slug(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")


def interval(low: float | None, high: float | None) -> str:
    """Return an interval with its ends, or a dash if there is none."""
    return "-" if low is None else f"{decimals(low)} to {decimals(high)}"


def thousands(number: int | None) -> str:
    """Return a count with thousands separators, or a dash if there is none."""
    return "-" if number is None else f"{number:,}"


def decimals(number: float | None, digits: int = 4, sign: str = "") -> str:
    """Return a number with so many decimal places, or a dash if there is none.

    Args:
        number: the number, if there is one.
        digits: how many decimal places to show.
        sign: "+" shows the sign of positive numbers too.

    """
    return "-" if number is None else f"{number:{sign}.{digits}f}"
