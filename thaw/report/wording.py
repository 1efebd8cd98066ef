"""The report's sentences and names, made from its numbers."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from thaw.config.fields import BACKBONE_LAYERS
from thaw.findings.cells import CellRow, ShiftRow, statistics_in_words
from thaw.report.results import MODES, Metrics, Results
from thaw.report.studies import CurvePoint, Studies
from thaw.report.tables import ComparisonRow, Difference, Tables

NOTICES = {
    "random": ". No pretrained weights were used, so these numbers do not show what thawing "
    "pretrained weights is worth",
    "bundled": ", which come with thaw: a distilled approximation of ImageNet's ResNet50, not the "
    "original (for that: -S weights=imagenet)",
}
"""What the report's first line says about weights, by their kind."""
PAIRED = (
    "Differences between the modes on the same test images, with a paired bootstrap interval of "
    "95 %; one that includes 0 shows no difference. The bootstrap draws images and, if a mode has "
    "several seeds, also seeds. With one seed, the interval leaves out how much training varies."
)
STRATIFIED = (
    "Differences in macro recall. The bootstrap draws the images of each class from that class, so "
    "a rare class keeps its number of images; for the rest as above."
)
"""What the report says about the tables of differences."""
NOISE = 0.03
"""About two standard errors of an accuracy on 1,000 images."""


def notice(weights: str, curve: Sequence[CurvePoint]) -> str:
    """Return which weights the numbers are from, the first line of the report."""
    # The name of bundled weights is followed by a digest: `bundled 01234567`.
    said = f"Weights: {weights}{NOTICES.get(weights.partition(' ')[0], '')}."
    if curve and curve[0].weights != weights:
        said += f" The thaw curve is from other weights: {curve[0].weights}."
    return said


def how_much(studies: Studies) -> str:
    """Return how much to thaw, in one sentence."""
    return f"How much to thaw: {_thawed(studies.best)}."


def of_curve(studies: Studies) -> str:
    """Return what the thaw curve, whose runs all saw the same images, says about that."""
    alone, everything = studies.curve[0], studies.curve[-1]
    best, least = studies.best, studies.least
    said = (
        f"Of {len(studies.curve)} depths, each trained in the same way on the same "
        f"{best.train_images:,} images with one seed, this one is the best on the validation "
        f"images. It reaches a test accuracy of {_with_interval(best)}; a new head alone reaches "
        f"{_with_interval(alone)}, everything thawed {_with_interval(everything)}."
    )
    if least != best:
        work = 100 * least.training_macs / best.training_macs
        said += (
            f" The least thawed within the best one's interval is {_thawed(least)}: "
            f"{_with_interval(least)}, for {work:.0f} % of the multiplications."
        )
    return said


def _thawed(point: CurvePoint) -> str:
    if point.layers_frozen in (0, BACKBONE_LAYERS):
        return "a new head alone" if point.layers_frozen else "everything"
    after = f"the first {point.run} layers" if point.run.isdigit() else point.run
    return f"everything after {after}"


def _with_interval(point: CurvePoint) -> str:
    interval = f"[{point.test_accuracy_low:.4f}, {point.test_accuracy_high:.4f}]"
    return f"{point.test_accuracy:.4f} {interval}"


def of_modes(modes: Mapping[str, Metrics], differences: Sequence[Difference]) -> str:
    """Return what the modes reach, and how they differ if they were trained on the same images."""
    counts = {mode: of["train_images"] for mode, of in modes.items()}
    best, *others = sorted(modes, key=lambda mode: -_mean_accuracy(modes[mode]))
    images = f"{modes[best]['test_images']:,} test images"
    reached = ", ".join(f"{MODES[mode]} {_reached(of)}" for mode, of in modes.items())
    if len(set(counts.values())) > 1:
        different = ", ".join(f"{MODES[mode]} {count:,}" for mode, count in counts.items())
        return (
            f"The modes of this run were trained on different images ({different}), so their "
            f"accuracies on {images} do not say which mode is better: {reached}."
        )
    compared = " and ".join(_verdict(_difference(differences, best, other)) for other in others)
    return (
        f"The modes of this run were trained on the same {counts[best]:,} images: {MODES[best]} is "
        f"{compared}. Their accuracies on {images}: {reached}."
    )


def _verdict(lead: Difference) -> str:
    """Return whether the mode is ahead: only if the whole interval of the difference is above 0."""
    verdict = "ahead of" if lead.low > 0 else "not distinguishable from"
    interval = f"[{lead.low:+.4f}, {lead.high:+.4f}]"
    return f"{verdict} {MODES[lead.than]} (difference {lead.difference:+.4f} {interval})"


def _difference(differences: Sequence[Difference], mode: str, than: str) -> Difference:
    """Return by how much `mode` is ahead of `than`; `differences` holds each pair only once."""
    both_ways = [seen for each in differences for seen in (each, each.turned)]
    return next(each for each in both_ways if (each.mode, each.than) == (mode, than))


def _mean_accuracy(metrics: Metrics) -> float:
    """Return the test accuracy, or its mean over the seeds if there are several."""
    return float(metrics.get("test_accuracy_mean", metrics["test_accuracy"]))


def _reached(metrics: Metrics) -> str:
    """Return a test accuracy with its 95 % interval, or with its deviation over several seeds."""
    if "test_accuracy_mean" in metrics:
        mean, deviation = metrics["test_accuracy_mean"], metrics["test_accuracy_std"]
        return f"{mean:.4f} ± {deviation:.4f} over {metrics['seeds']} seeds"
    low, high = metrics["test_accuracy_low"], metrics["test_accuracy_high"]
    return f"{metrics['test_accuracy']:.4f} [{low:.4f}, {high:.4f}]"


def left_out(results: Results) -> str:
    """Return what the report on other datasets than Fashion-MNIST leaves out and why, or ""."""
    if results.dataset.fashion_mnist:
        return ""
    said = (
        "Left out, because they belong to Fashion-MNIST alone: training image 6, the diagnosis of "
        "the notebooks, the thaw curve, the runs on all training images and the published results"
    )
    if results.metrics["baseline"]["has_1000_class_top"] and not results.has_zero_shot:
        said += (
            "; and ResNet50's accuracy without any retraining, because these classes do not have "
            "ImageNet's names"
        )
    return said + "."


def imbalance(labels: NDArray[np.int64], tables: Tables) -> str:
    """Return what macro recall says where the classes are imbalanced; "" where they are not."""
    if not tables.macro_differences:
        return ""
    sizes = np.unique(labels, return_counts=True)[1]
    reached = ", ".join(
        f"{row.name} {row.macro_recall:.4f} [{row.macro_low:.4f}, {row.macro_high:.4f}]"
        for row in tables.comparison
        if row.macro_low is not None
    )
    return (
        f"The classes have from {sizes.min():,} to {sizes.max():,} test images, so accuracy is "
        "mostly that of the large classes. Macro recall is the mean over the classes of the share "
        f"that is named right, in which every class counts alike: {reached}."
    )


def over_seeds(row: ComparisonRow) -> str:
    """Return the mean and the standard deviation of test accuracy, and the number of seeds."""
    if row.seeds == 1:
        return "-"
    return f"{row.mean:.4f} ± {row.deviation:.4f} ({row.seeds} seeds)"


def imagenet_caption(metrics: Metrics, value_range: str) -> str:
    """Return ResNet50's three likeliest classes for training image 6, one on each line."""
    said = metrics[value_range]
    lines = [
        f"{said[f'train_image_6_top{rank}_class']} "
        f"{said[f'train_image_6_top{rank}_probability']:.3f}"
        for rank in (1, 2, 3)
    ]
    return "\n".join([f"{value_range} input", *lines])


def cell_name(row: CellRow | ShiftRow) -> str:
    """Return a name for a cell of the diagnosis: its frozen layers, input and statistics."""
    frozen = "" if row.freeze == BACKBONE_LAYERS else f"freeze {row.freeze}, "
    return f"{frozen}{row.value_range} input, {statistics_in_words(row.statistics)}"


def causes(cells: Sequence[CellRow]) -> Iterator[str]:
    """Yield, for each number of frozen layers, what each cause costs alone and what both cost.

    Args:
        cells: four cells for each `freeze`, in this order: the correct run, the second cause alone,
            input in [0, 1] alone, both causes.

    """
    for freeze, group in groupby(cells, lambda cell: cell.freeze):
        right, other, unit, both = group
        by_other, by_unit, by_both = (
            cell.validation_accuracy - right.validation_accuracy for cell in (other, unit, both)
        )
        # Both changes are negative if the causes cost accuracy: the lower one costs more.
        name = statistics_in_words(other.statistics)
        where = {BACKBONE_LAYERS: "the whole base frozen", 0: "nothing frozen"}
        verdict = f"the larger cause is {'the input' if by_unit < by_other else name}"
        if min(by_unit, by_other) > -NOISE:
            verdict = "neither alone costs more than chance can explain"
        yield (
            f"With {where.get(freeze, f'the first {freeze} layers frozen')}, the correct run "
            f"ends at a validation accuracy of {right.validation_accuracy:.3f}. "
            f"Input in [0, 1] alone changes it by {by_unit:+.3f}, {name} alone by {by_other:+.3f}, "
            f"and both together by {by_both:+.3f}: {verdict}. With both, training accuracy is "
            f"{both.train_accuracy:.3f} and validation accuracy {both.validation_accuracy:.3f}. "
            "The means that training normalises by are then on average "
            f"{both.statistics_shift:.2f} standard deviations from those that validation "
            f"normalises by (in the correct run: {right.statistics_shift:.2f})."
        )


def curve_made(run: CurvePoint) -> str:
    """Return a sentence about what all runs of the thaw curve have in common, given one of them."""
    return (
        "train-partial with different numbers of frozen layers. All runs have in common: weights "
        f"{run.weights}, {run.train_images:,} training images, {run.epochs} epochs, seed "
        f"{run.seed}, threads: {run.threads}, at commit {run.commit}."
    )
