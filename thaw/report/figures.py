"""The figures, as PNG files with the same bytes in every run.

They use matplotlib without pyplot's global state.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.findings.calibration import Bin
from thaw.report.canvas import Axes, new_figure, save, style
from thaw.report.studies import BLOCK_NAMES, CurvePoint, Studies

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"
"""Colours from Okabe and Ito's palette, which colour-blind readers can tell apart."""
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Lines differ in their markers too, for prints in black and white."""

PHOTOGRAPH = 200
"""The side, in pixels, from which an image is larger than its place in a figure."""


def label_last(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Write a line's name at its end, so that the reader needs no legend."""
    axes.annotate(
        text, (x, y), xytext=(6, 0), textcoords="offset points", color=colour, va="center"
    )


@style()
def learning_curves(
    path: Path, rows: Sequence[Mapping[str, float]], best_epoch: int, title: str
) -> None:
    """Draw the loss (nats) and the accuracy on train and validation by epoch."""
    figure = new_figure(9, 3.8, f"{title}: dotted, the epoch of the lowest validation loss")
    epochs = [row["epoch"] for row in rows]
    for axes, name, label in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("loss (nats)", "accuracy"), strict=True
    ):
        lines = ((name, BLUE, "train", "o"), (f"val_{name}", ORANGE, "validation", "s"))
        for column, colour, text, marker in lines:
            values = [row[column] for row in rows]
            axes.plot(epochs, values, color=colour, marker=marker, markersize=4, label=text)
            label_last(axes, epochs[-1], values[-1], text, colour)
        axes.axvline(best_epoch, color=GREY, linewidth=1, linestyle=":")
        axes.set(xlabel="epoch", ylabel=label)
        axes.margins(x=0.02)
        axes.xaxis.get_major_locator().set_params(integer=True)
    save(figure, path)


@style()
def captioned_images(
    path: Path, images: Sequence[NDArray[np.uint8]], captions: Sequence[str], title: str
) -> None:
    """Draw RGB images, (side, side, 3) uint8, up to five in a row and each above its caption.

    Images of Fashion-MNIST show their pixels; photographs, which are larger, are made smaller.
    """
    columns = min(len(images), 5)
    rows = -(-len(images) // columns)  # rounded up
    photographs = len(images[0]) >= PHOTOGRAPH
    width = 3.2 if columns < 3 else 2.3 if photographs else 2.0
    lines = 1 + max(caption.count("\n") for caption in captions)
    figure = new_figure(width * columns, (width + 0.24 * lines) * rows + 0.5, title)
    cells = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in cells:
        axes.set_axis_off()
    for axes, image, caption in zip(cells, images, captions, strict=False):
        axes.imshow(image, interpolation="hanning" if photographs else "nearest")
        axes.set_title(caption, fontsize=9 if photographs else 10, y=-0.05, va="top")
    save(figure, path)


@style(grid=False)
def bars(path: Path, values: Mapping[str, float], title: str, label: str) -> None:
    """Draw named shares in [0, 1] as horizontal bars with their values, the first one on top."""
    figure = new_figure(8, 1.0 + 0.34 * len(values), title)
    axes = figure.subplots()
    drawn = axes.barh(range(len(values)), list(values.values()), color=BLUE)
    axes.bar_label(drawn, fmt="%.3f", padding=3)
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    # 12 % beyond the longest bar leaves room for its number. 1e-3 serves bars that are all 0.
    axes.set(xlabel=label, xlim=(0, 1.12 * max([*values.values(), 1e-3])))
    save(figure, path)


@style()
def calibration(path: Path, bins: Mapping[str, Sequence[Bin]]) -> None:
    """Draw each mode's accuracy against its confidence; larger points stand for more images."""
    figure = new_figure(6.4, 5.2, "How far probabilities can be trusted, test images")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    axes.annotate("as often right as sure", (0.22, 0.22), rotation=38, color=GREY, va="bottom")
    for (mode, points), colour, marker in zip(bins.items(), COLOURS, MARKERS, strict=False):
        confidence, accuracy, images = (np.array(column) for column in zip(*points, strict=True))
        axes.plot(confidence, accuracy, color=colour, linewidth=1)
        size = 12 + 200 * images / images.sum()
        axes.scatter(confidence, accuracy, size, color=colour, marker=marker, label=mode)
    axes.set(xlabel="probability of the answer", ylabel="share of right answers")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    figure.legend(loc="outside lower center", ncols=len(bins))
    save(figure, path)


@style()
def shifts(path: Path, lines: Mapping[str, Sequence[float]]) -> None:
    """Draw the shift of the statistics in each batch normalisation layer, one line for each cell.

    Args:
        path: of the PNG file.
        lines: shifts in standard deviations in the network's order, by the cell's name.

    """
    title = "How far the statistics of training are from those of validation"
    rows = -(-len(lines) // 2)
    figure = new_figure(9, 3.6 + 0.25 * rows, title)
    axes = figure.subplots()
    for i, (name, values) in enumerate(lines.items()):
        # There may be more lines than colours. The marker then moves on by one, so that no two
        # lines share both.
        look: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)],
        }
        axes.plot(range(1, len(values) + 1), values, markersize=4, linewidth=1, label=name, **look)
    axes.set(
        xlabel="batch normalisation layer, from the input to the output",
        ylabel="mean distance\n(standard deviations)",
    )
    axes.set_ylim(bottom=-0.02)
    figure.legend(loc="outside lower center", ncols=2)
    save(figure, path)


@style()
def thaw_curve(path: Path, studies: Studies, layers_frozen: int) -> None:
    """Draw test accuracy with its interval against how many blocks are thawed.

    Args:
        path: of the PNG file.
        studies: with the curve.
        layers_frozen: a point with so many layers frozen is marked as the one of params.yaml.

    """
    curve = studies.curve
    figure = new_figure(11, 4.6, _curve_title(curve[0]))
    axes = figure.subplots()
    x, y = [point.depth for point in curve], np.array([point.test_accuracy for point in curve])
    low = y - [point.test_accuracy_low for point in curve]
    high = [point.test_accuracy_high for point in curve] - y
    axes.errorbar(x, y, [low, high], fmt="o-", color=BLUE, elinewidth=1, markersize=5)
    for name, (point, offset, side) in _key_points(studies, layers_frozen).items():
        _point_at(axes, point, name, offset, side)
    axes.set(ylabel="test accuracy, 95 % interval", xlabel="thawed from this block to the end")
    axes.set_xlim(-0.6, len(BLOCK_NAMES) + 0.6)
    axes.set_ylim(min(y - low) - 0.012, max(y + high) + 0.012)
    names = ["head alone", *reversed(BLOCK_NAMES)]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    _stages(axes)
    save(figure, path)


def _curve_title(run: CurvePoint) -> str:
    return (
        f"The thaw curve: the same {run.train_images:,} images and {run.epochs} epochs at each "
        f"depth, weights {run.weights}"
    )


def _key_points(
    studies: Studies, layers_frozen: int
) -> dict[str, tuple[CurvePoint, tuple[int, int], str]]:
    """Return points to name, each with the place of its name in points, and which side it is at."""
    curve = studies.curve
    named = {
        "a head alone": (curve[0], (14, -12), "left"),
        "everything": (curve[-1], (10, -46), "right"),
        "best on the validation images": (studies.best, (-30, 32), "right"),
    }
    named |= {
        f"{layers_frozen} layers frozen, as in params.yaml": (point, (-50, -70), "right")
        for point in curve
        if point.layers_frozen == layers_frozen
    }
    return named


def _point_at(axes: Axes, point: CurvePoint, name: str, offset: tuple[int, int], side: str) -> None:
    axes.plot(point.depth, point.test_accuracy, "s", color=ORANGE, markersize=7, zorder=3)
    axes.annotate(
        f"{name}: {point.test_accuracy:.4f}",
        (point.depth, point.test_accuracy),
        xytext=offset,
        textcoords="offset points",
        ha=side,
        va="center",
        arrowprops={"arrowstyle": "-", "color": GREY},
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _stages(axes: Axes) -> None:
    """Divide the blocks by ResNet50's stages and name those."""
    stages = [name.partition("_")[0] for name in reversed(BLOCK_NAMES)]
    for stage in dict.fromkeys(stages):
        first = stages.index(stage)
        middle = first + (stages.count(stage) + 1) / 2
        axes.axvline(first + 0.5, color=GREY, linewidth=1, linestyle=":")
        if stage != "conv1":
            axes.annotate(
                stage, (middle, 0.02), xycoords=("data", "axes fraction"), ha="center", color=GREY
            )
