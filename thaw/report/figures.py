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
from thaw.report.studies import CurvePoint

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
def thaw_curve(path: Path, points: Sequence[CurvePoint]) -> None:
    """Draw test accuracy with its interval against the trained parameters and the training cost.

    The cost is the number of multiplications in all epochs, forward and backward.
    """
    figure = new_figure(10, 4.6, "How much to thaw")
    panels = {
        "parameters_trainable": (1e6, "parameters trained, millions"),
        "training_macs": (1e12, "multiplications in training, $10^{12}$"),
    }
    of_stage: dict[str, list[CurvePoint]] = {}
    for point in sorted(points, key=lambda point: -point.parameters_trainable):
        of_stage.setdefault(point.frozen_through, []).append(point)
    for axes, (column, (unit, label)) in zip(
        figure.subplots(1, 2, sharey=True), panels.items(), strict=True
    ):
        for i, (stage, its) in enumerate(of_stage.items()):
            y = np.array([point.test_accuracy for point in its])
            low = [point.test_accuracy_low for point in its]
            high = [point.test_accuracy_high for point in its]
            axes.errorbar(
                [getattr(point, column) / unit for point in its],
                y,
                [y - low, high - y],
                fmt=MARKERS[i],
                color=COLOURS[i],
                elinewidth=1,
                markersize=5,
                label=stage,
            )
        axes.set(xlabel=label, xlim=(0, None))
        axes.xaxis.label.set_parse_math(True)
    figure.axes[0].set_ylabel("test accuracy, 95 % interval")
    figure.axes[0].legend(title="freezing ends in", loc="lower right")
    save(figure, path)
