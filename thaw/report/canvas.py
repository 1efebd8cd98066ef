"""What figures are drawn on: matplotlib as it comes, and thaw's style, whatever the user has set.

Files (matplotlibrc in this folder, in the home folder, or named by a variable) and MPLBACKEND are
read when matplotlib is imported, and one that cannot be read ends the import. So this module alone
imports it, away from them; what is imported already is set right in each figure.
"""

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from thaw.support.environment import without
from thaw.support.files import atomic_file

_LIBRARY = find_spec("matplotlib")
assert _LIBRARY
assert _LIBRARY.submodule_search_locations
# matplotlib takes the first matplotlibrc that it finds, and looks in the working directory first.
# That folder of its own holds the one with the defaults.
with chdir(Path(_LIBRARY.submodule_search_locations[0]) / "mpl-data"), without("MPLBACKEND"):
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imsave

__all__ = ["Axes", "Figure", "defaults", "new_figure", "save", "save_image", "style"]

STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.titlesize": 12,
}
"""Large enough to be read at half size."""
_PIXELS_PER_INCH = 100


@contextmanager
def defaults(**changes: Any) -> Iterator[None]:
    """Draw by matplotlib's defaults with `changes`, whatever was set before; a decorator too."""
    with rc_context({**rcParamsDefault, **changes}):
        yield


@contextmanager
def style(*, grid: bool = True) -> Iterator[None]:
    """Draw by thaw's style, likewise."""
    with defaults(**STYLE | {"axes.grid": grid}):
        yield


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure, in inches, on which `save` can draw."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with atomic_file(path) as scratch:
        # Without matplotlib's version in the file, bytes change only where pixels do.
        figure.savefig(scratch, dpi=_PIXELS_PER_INCH, metadata={"Software": None})


@defaults()
def save_image(file: BinaryIO, image: NDArray[np.uint8]) -> None:
    """Write an RGB image (height, width, 3) as PNG, a pixel a pixel, the first row on top."""
    imsave(file, image, format="png", metadata={"Software": "thaw"})  # not its version
