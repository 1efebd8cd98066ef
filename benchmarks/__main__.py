"""Measure every case the naive way and thaw's way: python -m benchmarks [--quick].

Writes  benchmarks/results.csv, benchmarks/results.md (only at full size, with all cases)
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from benchmarks.apart import ROOT, machine, run_apart
from benchmarks.cases import SIZES
from benchmarks.overhead import build, empty_stages, timed_repro
from thaw.support.tables import write_csv
from tools.commands import dvc

HERE = Path(__file__).parent
REPETITIONS = {"quick": 1, "full": 2}
NO_OPS = 10
"""How many times `dvc repro` runs with nothing to do. Each run is short and they vary, so the
mean is reported."""
CASES = {
    "extraction-32": "features at 32 px: `model.predict`",
    "extraction-224": "features at 224 px: `model.predict`",
    "frozen": "frozen, 50 epochs: plain `fit` on a frozen base",
    "partial": "partial, `freeze: conv4`, 10 epochs: plain `fit` with a frozen prefix",
    "full": "full, one epoch: plain `fit`",
    "preprocess": "RGB 32 and 224: a scikit-image loop, nothing written",
    "no-op": "`dvc repro` with nothing to do: as many empty stages",
}
COLUMNS = (
    *("case", "repetition", "naive_seconds", "naive_waiting_seconds", "thaw_seconds"),
    *("ratio", "ratio_without_waiting"),
)
HEADINGS = (
    *("What, and the naive way", "naive", "of that, waiting", "thaw"),
    *("times as fast", "without the waiting"),
)


class Row(NamedTuple):
    """The seconds of one repetition."""

    case: str
    repetition: int
    naive: float
    waiting: float
    """The seconds of `naive` that Keras spent outside its steps."""
    thaw: float

    @property
    def figures(self) -> tuple[float, float, float, float, float]:
        """Return the seconds, and how many times as fast thaw is with and without the waiting."""
        bare = self.naive - self.waiting
        return (self.naive, self.waiting, self.thaw, self.naive / self.thaw, bare / self.thaw)


def measure_no_op(way: str) -> dict[str, float]:
    """Time `dvc repro` with nothing to do: here, or with as many empty stages (naive)."""
    if way != "naive":
        return {"seconds": mean(timed_repro(ROOT) for _ in range(NO_OPS))}
    with tempfile.TemporaryDirectory() as name:
        build(Path(name), empty_stages())
        return {"seconds": mean(timed_repro(Path(name)) for _ in range(NO_OPS))}


def up_to_date() -> bool:
    """Whether `dvc repro` has nothing to do in this project."""
    return dvc("status", "--json", root=ROOT) == "{}"


def measured(case: str, size: str) -> Iterator[Row]:
    """Yield the repetitions of a case. Each measures the naive way, then thaw's."""
    ours = "openvino" if case.startswith("extraction") else "thaw"
    for repetition in range(REPETITIONS[size]):
        naive, thaw = (
            measure_no_op(way) if case == "no-op" else run_apart("cases", case, way, size)
            for way in ("naive", ours)
        )
        extra = {name: round(value, 3) for name, value in thaw.items() if name != "seconds"}
        waiting = naive.get("waiting_seconds", 0.0)
        row = Row(case, repetition, naive["seconds"], waiting, thaw["seconds"])
        took = f"{row.naive:.2f} s, {waiting:.2f} s of it waiting; thaw {row.thaw:.2f} s, {extra}"
        print(f"{case}: {took}", flush=True)
        yield row


def main() -> None:
    """Measure the cases, print the table of ratios, and write it if all ran at full size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images and epochs: 5 minutes")
    parser.add_argument("cases", nargs="*", help=f"any of {', '.join(CASES)}; the default is all")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no such case. Allowed: {', '.join(CASES)}. Received: {', '.join(unknown)}")
    if not (ROOT / "data/images").is_dir() or not up_to_date():
        parser.error("the pipeline is not up to date. Run `dvc repro` first.")
    size = "quick" if options.quick else "full"
    rows = [row for case in options.cases or CASES for row in measured(case, size)]
    table = markdown(rows, size)
    print(table)
    if size == "full" and not options.cases:
        content = [
            (row.case, row.repetition, *(round(value, 4) for value in row.figures)) for row in rows
        ]
        write_csv(HERE / "results.csv", COLUMNS, content)
        (HERE / "results.md").write_text(table)


def markdown(rows: list[Row], size: str) -> str:
    """Return the table of ratios, and below it the sizes and the machine."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for case, what in CASES.items():
        of = [row.figures for row in rows if row.case == case]
        if of:
            *seconds, ratio, bare = zip(*of, strict=True)
            times = [f"{mean(each):.2f} s" for each in seconds]
            lines.append(f"| {' | '.join([what, *times, spread(ratio), spread(bare)])} |")
    setting = SIZES[size]
    lines += [
        "",
        f"{setting.images:,} images at 32 px, {setting.large_images} at 224 px, half as many in "
        f"full; {REPETITIONS[size]} repetitions, the two ways in turn, each in a new process; "
        f"means, and the ratios' range. {machine()}",
        "",
    ]
    return "\n".join(lines)


def spread(ratios: Sequence[float]) -> str:
    """Return the mean of the ratios, and their range if there are several."""
    several = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    return f"{mean(ratios):.2f}{several}"


if __name__ == "__main__":
    main()
