"""The provenance of the numbers: the weights, data, versions and params behind them."""

from collections.abc import Iterator
from pathlib import Path

from thaw.config.load import load_params
from thaw.data.dataset import Dataset
from thaw.data.fashion_mnist import FILES
from thaw.support import paths, versions
from thaw.support.files import sha256
from thaw.support.nested import flat

LOCKED = ("tensorflow", "keras", "openvino", "numpy", "scikit-learn", "dvc")
"""The packages whose locked versions the report lists."""


def provenance(root: Path, weights: str, dataset: Dataset) -> list[tuple[str, str]]:
    """Return the name and the value of everything that the numbers depend on.

    Args:
        root: the project's folder.
        weights: the name of the weights that the results were made with.
        dataset: the images that they were made with.

    Raises:
        ThawError: params.yaml or requirements.lock cannot be read.

    """
    locked = versions.locked(versions.read_lock(root))
    return [
        ("weights", weights),
        *_data(dataset),
        (f"{paths.LOCK}, SHA-256", sha256(root / paths.LOCK)),
        *((name, locked.get(name, "not locked")) for name in LOCKED),
        *(
            # A folder of the user's is named without the path to it, which differs by machine.
            (name, dataset.name if name == "dataset" and not dataset.fashion_mnist else str(value))
            for name, value in flat(load_params(root).model_dump(mode="json"))
        ),
    ]


def _data(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield what identifies the images: their digests, or the counts of the user's own."""
    if dataset.fashion_mnist:
        yield from ((f"{file.name}, SHA-256", file.sha256) for file in FILES)
    else:
        yield "pictures", dataset.name
        yield "classes", f"{len(dataset.classes):,}"
        yield from ((f"{part} images", f"{count:,}") for part, count in dataset.counts.items())
