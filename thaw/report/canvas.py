"""matplotlib with thaw's style, independent of the user's own matplotlib settings.

On import, matplotlib reads MPLBACKEND and a matplotlibrc from the working folder, the home folder
or the path in a variable. If it cannot read one of them, the import fails. Therefore only this
module imports matplotlib, and it hides those settings meanwhile. If another package has imported
matplotlib before, `defaults` still resets its settings for each figure.
"""

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import cache
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
# matplotlib uses the first matplotlibrc that it finds, and it looks in the working directory first.
# Its own folder mpl-data holds the file with the defaults.
with chdir(Path(_LIBRARY.submodule_search_locations[0]) / "mpl-data"), without("MPLBACKEND"):
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.image import imsave

__all__ = [
    "Axes",
    "Figure",
    "PowerNorm",
    "defaults",
    "has_glyphs",
    "new_figure",
    "save",
    "save_image",
    "style",
]

STYLE: dict[str, Any] = {
    # The default names more families, which come in where the machine has them.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    # A name such as `$x$` is no formula.
    "text.parse_math": False,
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.titlesize": 12,
}
"""The fonts are large enough to read at half size."""
_PIXELS_PER_INCH = 100
_FONT = Path(_LIBRARY.submodule_search_locations[0]) / "mpl-data/fonts/ttf/DejaVuSans.ttf"
"""The font of `STYLE`, which comes with matplotlib."""


@contextmanager
def defaults(**changes: Any) -> Iterator[None]:
    """Draw with matplotlib's defaults and `changes`, ignoring earlier settings.

    This works as a context manager and as a decorator, and so does `style`.
    """
    with rc_context({**rcParamsDefault, **changes}):
        yield


@contextmanager
def style(*, grid: bool = True) -> Iterator[None]:
    """Draw with thaw's style, ignoring earlier settings."""
    with defaults(**STYLE | {"axes.grid": grid}):
        yield


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(str(_FONT)).get_charmap())


def has_glyphs(text: str) -> bool:
    """Whether the figures' font has a glyph for every character of `text`, and there are any."""
    return bool(text) and _characters().issuperset(map(ord, text))


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure, with `width` and `height` in inches, that `save` can write."""
    # pyplot would keep every figure in its global state, so the figure is made directly.
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with atomic_file(path) as scratch:
        # By default the file names matplotlib's version. Without it, equal pixels give equal bytes.
        figure.savefig(scratch, dpi=_PIXELS_PER_INCH, metadata={"Software": None})


@defaults()
def save_image(file: BinaryIO, image: NDArray[np.uint8]) -> None:
    """Write an RGB image, (height, width, 3) uint8, as a PNG of the same size, first row on top."""
    # As in `save`: the default metadata would name matplotlib's version. imsave only replaces it.
    imsave(file, image, format="png", metadata={"Software": "thaw"})
