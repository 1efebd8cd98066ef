"""Everything that the report shows, gathered once for both the figures and the pages."""

from dataclasses import dataclass
from pathlib import Path

from thaw.report.checks import check
from thaw.report.provenance import provenance
from thaw.report.results import Results, naming_damage, read
from thaw.report.studies import NONE, Studies, read_studies
from thaw.report.tables import Tables, tables
from thaw.support import paths
from thaw.support.errors import remedy


@dataclass(frozen=True)
class Contents:
    """Everything that the report shows.

    Attributes:
        results: what the other stages wrote.
        tables: what is computed from the results.
        studies: the tables of the studies, which are Fashion-MNIST's.
        provenance: names and values of everything that the numbers depend on.

    """

    results: Results
    tables: Tables
    studies: Studies
    provenance: list[tuple[str, str]]


def gather(root: Path) -> Contents:
    """Return the contents of the report on the project in `root`.

    Raises:
        ThawError: a file is missing or cannot be read, or two files contradict each other.

    """
    results = read(root)
    # Nothing is computed from the metrics before they are known to agree with the results.
    check(results)
    with naming_damage("data/results", remedy()):
        computed = tables(results)
    weights = results.metrics["baseline"]["weights"]
    studies = read_studies(root / paths.STUDY) if results.dataset.fashion_mnist else NONE
    return Contents(results, computed, studies, provenance(root, weights, results.dataset))
