"""Names in figures: short, distinct, and of characters that matplotlib's own font has.

Pages show names in full, since browsers have fonts for every script. A figure must not depend on
the fonts of a machine, so it shows `#12`, the class's number, for a name that it cannot draw.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from thaw.report.canvas import has_glyphs

LONGEST = 24
"""The most characters of a name in a figure."""


def figure_names(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Return what figures call the classes: each different, of at most `longest` characters.

    A name that is too long loses its middle. If two are then equal, they get their numbers.

    Args:
        names: the names of all classes, in the labels' order.
        longest: the most characters, at least 10.

    """
    # A name that looks like a number of ours would pass for another class.
    short = [
        figure_text("" if re.match(r"\s*#\d", name) else name, f"#{label}", longest)
        for label, name in enumerate(names)
    ]
    times = Counter(short)
    numbered = [
        name if times[name] == 1 else _numbered(name, label, longest)
        for label, name in enumerate(short)
    ]
    # A class may itself be called `cat #3`, as the shortened name of class 3 is now.
    times = Counter(numbered)
    return [name if times[name] == 1 else f"#{label}" for label, name in enumerate(numbered)]


def legend(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the figure's name and the full name of each class whose name the figures change."""
    pairs = zip(figure_names(names), names, strict=True)
    return [(shown, name) for shown, name in pairs if shown != name]


def figure_text(text: str, otherwise: str, longest: int = LONGEST) -> str:
    """Return `text` on one line and shortened, or `otherwise` if a figure cannot draw it.

    Args:
        text: any text.
        otherwise: what to return if characters are missing or do not show, or if there are none.
        longest: the most characters; a longer text loses its middle.

    """
    line = " ".join(unicodedata.normalize("NFC", text).split())
    # Category C: control characters and marks such as `from right to left`, which show no glyph.
    shows = all(unicodedata.category(character)[0] != "C" for character in line)
    return shortened(line, longest) if shows and has_glyphs(line) else otherwise


def shortened(text: str, longest: int) -> str:
    """Return `text` with an ellipsis in place of its middle if it has over `longest` characters."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def _numbered(name: str, label: int, longest: int) -> str:
    number = f" #{label}"
    return shortened(name, longest - len(number)) + number
