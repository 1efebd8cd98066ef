"""Figures as PNG, the same bytes at every run. matplotlib only, and without its global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thaw.fashion_mnist import CLASS_NAMES
from thaw.files import atomic_file

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
"""From Okabe and Ito's palette, told apart by colour-blind readers too."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    FigureCanvasAgg(figure)
    with atomic_file(path) as scratch:
        # Without matplotlib's version in the file, bytes change only where pixels do.
        figure.savefig(scratch, dpi=100, metadata={"Software": None})


def learning_curves(
    path: Path, rows: Sequence[Mapping[str, float]], best_epoch: int, title: str
) -> None:
    """Draw loss (nats) and accuracy against epochs, on train and on validation."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] for row in rows]
    for axes, name, label in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("loss (nats)", "accuracy"), strict=True
    ):
        for column, colour, text in ((name, BLUE, "train"), (f"val_{name}", ORANGE, "validation")):
            values = [row[column] for row in rows]
            axes.plot(epochs, values, color=colour, marker="o", markersize=3, label=text)
        axes.axvline(best_epoch, color=GREY, linewidth=1, linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
    save(figure, path)


def confusion_matrix(path: Path, counts: NDArray[np.int64], title: str) -> None:
    """Draw how often each actual class (row) was predicted as each (column), in % of the row."""
    figure = Figure(figsize=(6.4, 6), layout="constrained")
    axes = figure.subplots()
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set(title=f"{title}, % of the actual class", xlabel="predicted", ylabel="actual")
    axes.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES, rotation=45, ha="right")
    axes.set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES)
    for (row, column), value in np.ndenumerate(percent):
        if counts[row, column]:
            colour = "white" if value > 50 else "black"
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8
            )
    save(figure, path)


def captioned_images(
    path: Path, images: Sequence[NDArray[np.uint8]], captions: Sequence[str]
) -> None:
    """Draw RGB images side by side, each above its caption."""
    figure = Figure(figsize=(3.2 * len(images), 3.9), layout="constrained")
    for axes, image, caption in zip(
        np.atleast_1d(figure.subplots(1, len(images))), images, captions, strict=True
    ):
        axes.imshow(image, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(caption, fontsize=8, y=-0.02, va="top")
    save(figure, path)


def bars(path: Path, values: Mapping[str, float], title: str, label: str) -> None:
    """Draw named shares in [0, 1] as horizontal bars, the first on top, each with its number."""
    figure = Figure(figsize=(7, 0.9 + 0.32 * len(values)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(range(len(values)), list(values.values()), color=BLUE)
    axes.bar_label(drawn, fmt="%.3f", padding=3, fontsize=8)
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    figure.suptitle(title)
    axes.set(xlabel=label, xlim=(0, 1.08 * max([*values.values(), 1e-3])))
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
