"""The report's sentences and names: numbers come in, words come out."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from thaw.config.fields import BACKBONE_LAYERS
from thaw.findings.cells import CellRow, ShiftRow, statistics_in_words
from thaw.report.results import MODES, Metrics
from thaw.report.studies import CurvePoint
from thaw.report.tables import ComparisonRow, Difference

NOTICES = {
    "random": "No pretrained weights were used: ResNet50 starts from random weights, so these "
    "numbers do not show what thawing ImageNet knowledge is worth.",
    "bundled": "The weights are those that ship with thaw: a distilled approximation, not "
    "ImageNet's ResNet50 (-S weights=imagenet).",
}
"""What a report says first, by the kind of weights."""
NOISE = 0.03
"""Two standard errors of an accuracy on 1,000 images, about."""


def notice(weights: str) -> str:
    """Return what a report says first about its weights, "" for nothing."""
    return NOTICES.get(weights.partition(" ")[0], "")


def answer(
    modes: Mapping[str, Metrics], baseline: Metrics, differences: Sequence[Difference]
) -> str:
    """Return the finding in two sentences; a lead whose interval includes 0 is not called one."""
    best, second = sorted(modes, key=lambda mode: -_mean_accuracy(modes[mode]))[:2]
    lead = _difference(differences, best, second)
    verdict = "ahead of" if lead.low > 0 else "not distinguishable from"
    linear = baseline["linear_pixels_accuracy"]
    return (
        f"{MODES[best]}, on {modes[best]['train_images']:,} training images, reaches "
        f"{_reached(modes[best])} on {modes[best]['test_images']:,} test images, {verdict} "
        f"{MODES[second]}, on {modes[second]['train_images']:,}, with {_reached(modes[second])} "
        f"(difference {lead.difference:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]). "
        f"A linear classifier on pixels, fitted on {baseline['linear_pixels_train_images']:,} "
        f"images, gets {linear:.4f}."
    )


def _difference(differences: Sequence[Difference], mode: str, than: str) -> Difference:
    """Return by how much one mode is ahead of another, whichever way it was measured."""
    both_ways = [seen for each in differences for seen in (each, each.turned)]
    return next(each for each in both_ways if (each.mode, each.than) == (mode, than))


def _mean_accuracy(metrics: Metrics) -> float:
    """Return test accuracy, over all seeds where there are several."""
    return float(metrics.get("test_accuracy_mean", metrics["test_accuracy"]))


def _reached(metrics: Metrics) -> str:
    """Return a test accuracy with its 95 % interval, of several seeds with its deviation."""
    if "test_accuracy_mean" in metrics:
        mean, deviation = metrics["test_accuracy_mean"], metrics["test_accuracy_std"]
        return f"{mean:.4f} ± {deviation:.4f} over {metrics['seeds']} seeds"
    low, high = metrics["test_accuracy_low"], metrics["test_accuracy_high"]
    return f"{metrics['test_accuracy']:.4f} [{low:.4f}, {high:.4f}]"


def over_seeds(row: ComparisonRow) -> str:
    """Return mean and standard deviation of test accuracy over the seeds, and how many."""
    if row.seeds == 1:
        return "-"
    return f"{row.mean:.4f} ± {row.deviation:.4f} ({row.seeds} seeds)"


def imagenet_caption(metrics: Metrics, value_range: str) -> str:
    """Return ResNet50's three likeliest names for training image 6, a line each."""
    said = metrics[value_range]
    lines = [
        f"{said[f'train_image_6_top{rank}_class']} "
        f"{said[f'train_image_6_top{rank}_probability']:.3f}"
        for rank in (1, 2, 3)
    ]
    return "\n".join([f"{value_range} input", *lines])


def cell_name(row: CellRow | ShiftRow) -> str:
    """Return what sets a cell of the diagnosis apart."""
    frozen = "" if row.freeze == BACKBONE_LAYERS else f"freeze {row.freeze}, "
    return f"{frozen}{row.value_range} input, {statistics_in_words(row.statistics)}"


def causes(cells: Sequence[CellRow]) -> Iterator[str]:
    """Yield for each number of frozen layers what each cause costs alone, and what both cost.

    Args:
        cells: for each `freeze` done right, the second cause alone, input in [0, 1] alone, both.

    """
    for freeze, group in groupby(cells, lambda cell: cell.freeze):
        right, other, unit, both = group
        by_other, by_unit, by_both = (
            cell.validation_accuracy - right.validation_accuracy for cell in (other, unit, both)
        )
        name = statistics_in_words(other.statistics)
        where = {BACKBONE_LAYERS: "the whole base frozen", 0: "nothing frozen"}
        verdict = f"the larger cause is {'the input' if by_unit < by_other else name}"
        if min(by_unit, by_other) > -NOISE:
            verdict = "neither alone costs more than chance may"
        yield (
            f"With {where.get(freeze, f'the first {freeze} layers frozen')}, the run done right "
            f"ends at a validation accuracy of {right.validation_accuracy:.3f}. "
            f"Input in [0, 1] alone changes it by {by_unit:+.3f}, {name} alone by {by_other:+.3f}, "
            f"both together by {by_both:+.3f}: {verdict}. With both, training accuracy is "
            f"{both.train_accuracy:.3f} and validation accuracy {both.validation_accuracy:.3f}, "
            "and what training normalises with is on average "
            f"{both.statistics_shift:.2f} standard deviations from what validation "
            f"normalises with (done right: {right.statistics_shift:.2f})."
        )


def curve_made(run: CurvePoint) -> str:
    """Say what the thaw curve's runs have in common, from one of them."""
    return (
        f"train-partial by how much of ResNet50 is frozen: weights {run.weights}, "
        f"{run.train_images:,} training images, {run.epochs} epochs, seed {run.seed}, "
        f"threads: {run.threads}, at commit {run.commit}."
    )
