"""The files and folders that params.yaml names: whether they are there."""

from pathlib import Path

from thaw.config.fields import FASHION_MNIST, WEIGHT_SOURCES
from thaw.config.params import Params
from thaw.support.errors import ThawError
from thaw.support.places import FOLDER, kind


def check_files(params: Params, root: Path) -> None:
    """Check the dataset and the weights that `params` names; reading them is left to the stages.

    Raises:
        ThawError: one is not there.

    """
    check_dataset(params.dataset, root)
    if params.weights not in WEIGHT_SOURCES:
        weights_file(params.weights, root)


def check_dataset(dataset: str, root: Path) -> None:
    """Check that `dataset` in params.yaml is Fashion-MNIST or a folder.

    Raises:
        ThawError: it is neither.

    """
    if dataset != FASHION_MNIST and kind(root / dataset, follow=True) != FOLDER:
        raise ThawError(
            f"dataset must be {FASHION_MNIST} or a folder of pictures. Received: {dataset}, which "
            "is no folder. Correct it and run again."
        )


def weights_file(weights: str, root: Path) -> Path:
    """Return the path of the file that `weights` names, relative to `root` or absolute.

    Raises:
        ThawError: there is no such file.

    """
    path = root / weights
    why = ""
    try:
        if path.is_file():
            return path
    except (OSError, ValueError) as error:  # the name is too long or invalid
        why = f" ({ascii(str(error))[1:-1]})"  # ascii: the name may not be printable
    raise ThawError(
        f"weights: {weights!a} is no file{why}. Name a .weights.h5, .h5 or .keras file, relative "
        "to the project's folder or absolute (in a queued experiment absolute: that runs in a copy "
        f"of the project), or one of: {', '.join(WEIGHT_SOURCES)}."
    )
