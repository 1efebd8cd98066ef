"""The figures by class, for any number of classes. Names come as `naming.figure_names` has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.report.canvas import Axes, Figure, PowerNorm, new_figure, save, style
from thaw.report.figures import COLOURS, GREY, MARKERS
from thaw.report.tables import MANY_CLASSES

MOST_TICKS = 40
"""Up to so many classes, every class has its name at a heat map."""
MOST_POINTS = 400
"""Points along the side of a heat map; several classes share one if there are more."""
MOST_LINES = 30
"""Up to so many classes have a line in the figure of accuracies by class."""


@style(grid=False)
def confusion_matrix(
    path: Path, counts: NDArray[np.int64], names: Sequence[str], title: str
) -> None:
    """Draw the confusion matrix in % of each row, as a heat map if there are many classes.

    Args:
        path: of the PNG file.
        counts: images by actual class (row) and predicted class (column), (classes, classes).
        names: of the classes.
        title: of the figure.

    """
    # A class without test images would divide by 0.
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    title = f"{title}, % of the actual class"
    if len(names) > MANY_CLASSES:
        figure = _heat_map(percent, names, title)
    else:
        figure = _numbered_matrix(percent, names, title)
    save(figure, path)


def _numbered_matrix(percent: NDArray[np.float64], names: Sequence[str], title: str) -> Figure:
    more = (0.42 if len(names) > 10 else 0.15) * (len(names) - 10)
    for_names = 0.07 * max(0, max(map(len, names)) - 11)
    figure = new_figure(6.6 + more + for_names, 6.2 + more + for_names, title)
    axes = figure.subplots()
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(percent):
        if value:
            colour = "white" if value > 50 else "black"
            text = f"{value:.0f}" if value >= 0.5 else "<1"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    return figure


def _heat_map(percent: NDArray[np.float64], names: Sequence[str], title: str) -> Figure:
    together = -(-len(names) // MOST_POINTS)
    if together > 1:
        title += f"\neach point: the largest of {together} x {together} classes"
    figure = new_figure(9.4, 8.6, title)
    axes = figure.subplots()
    points = _largest(percent, together)
    edge = together * len(points) - 0.5
    # The square root makes a few % visible beside the diagonal.
    image = axes.imshow(
        points,
        cmap="Blues",
        norm=PowerNorm(0.5, 0, 100),
        extent=(-0.5, edge, edge, -0.5),
        interpolation="nearest",
    )
    figure.colorbar(image, ax=axes, shrink=0.8, label="% of the actual class")
    axes.set(xlabel="predicted", ylabel="actual")
    step = 1 if len(names) <= MOST_TICKS else -(-len(names) // (MOST_TICKS // 2))
    _thinned_ticks(axes, names, step)
    return figure


def _thinned_ticks(axes: Axes, names: Sequence[str], step: int) -> None:
    """Name every class, or only one of each `step`."""
    places = range(0, len(names), step)
    shown = [names[place] for place in places]
    axes.set_xticks(places, shown, rotation=90, fontsize=8)
    axes.set_yticks(places, shown, fontsize=8)


def _largest(values: NDArray[np.float64], together: int) -> NDArray[np.float64]:
    """Return the largest of each `together` x `together` values, as a smaller square array."""
    missing = -len(values) % together
    padded = np.pad(values, ((0, missing), (0, missing)))
    blocks = padded.reshape(len(padded) // together, together, -1, together)
    largest: NDArray[np.float64] = blocks.max(axis=(1, 3))
    return largest


@style()
def classes(path: Path, values: Mapping[str, Sequence[float]], names: Sequence[str]) -> None:
    """Draw each mode's accuracy in each class, with the easiest class on top.

    Of many classes, those with the lowest and the highest mean accuracy are shown.

    Args:
        path: of the PNG file.
        values: the accuracy in each class, in [0, 1], by mode.
        names: of the classes.

    """
    order = np.argsort([np.mean(of) for of in zip(*values.values(), strict=True)], kind="stable")
    title = "Test accuracy by class"
    few = len(order) <= MOST_LINES
    if not few:
        ends = MOST_LINES // 2
        order = np.concatenate([order[:ends], order[-ends:]])
        title += f": the {ends} lowest and the {ends} highest of {len(names):,} classes"
    figure = new_figure(8, max(2.8, 1.6 + 0.3 * len(order)), title)
    axes = figure.subplots()
    if not few:
        axes.axhline(ends - 0.5, color=GREY, linewidth=1, linestyle=":")
    for (mode, of), colour, marker in zip(values.items(), COLOURS, MARKERS, strict=False):
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 8, "alpha": 0.9}
        shares, places = np.asarray(of)[order], np.arange(len(order))
        # Points at 1.0 would lose their right half at the figure's edge.
        axes.plot(shares, places, linestyle="", label=mode, clip_on=False, **look)
    axes.set_yticks(range(len(order)), [names[label] for label in order])
    axes.set(xlabel="share of the class' test images that are named right", xlim=(None, 1.0))
    axes.set_ylim(-0.45, len(order) - 0.55)
    figure.legend(loc="outside lower center", ncols=len(values))
    save(figure, path)
