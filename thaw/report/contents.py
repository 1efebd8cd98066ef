"""All that a report shows, gathered once: what is drawn and what is written come from it."""

from dataclasses import dataclass
from pathlib import Path

from thaw.report.checks import check
from thaw.report.provenance import provenance
from thaw.report.results import Results, naming_damage, read
from thaw.report.studies import Studies, read_studies
from thaw.report.tables import Tables, tables
from thaw.support import paths
from thaw.support.errors import remedy


@dataclass(frozen=True)
class Contents:
    """What was found, what follows from it, what was studied, and what the numbers hang on."""

    results: Results
    tables: Tables
    studies: Studies
    provenance: list[tuple[str, str]]


def gather(root: Path) -> Contents:
    """Return what a report on the project in `root` shows.

    Raises:
        ThawError: something is missing, cannot be read, or contradicts another.

    """
    results = read(root)
    check(results)
    with naming_damage("data/results or metrics/", remedy()):
        computed = tables(results)
    weights = results.metrics["baseline"]["weights"]
    return Contents(results, computed, read_studies(root / paths.STUDY), provenance(root, weights))
