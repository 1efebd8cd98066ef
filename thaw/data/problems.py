"""Everything that is wrong with a folder of pictures, in one report."""

from pathlib import Path

from thaw.support.errors import ThawError

MOST_NAMED = 50
"""How many problems of one kind are listed; the rest is counted."""
LAYOUT = "Layout"
UNREADABLE = "Pictures that cannot be read"
CLASSES = "Classes"
CONFLICTS = "Pictures that are the same but in two classes"


class Problems:
    """Collects what is wrong with a folder, by kind, so that the user can mend it all at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.found.values()))

    def add(self, kind: str, text: str) -> None:
        """Add a line; names in it must have gone through `shown`."""
        self.found.setdefault(kind, []).append(text)

    def check(self) -> None:
        """Raise what was collected.

        Raises:
            ThawError: there is a problem; the message lists all, up to `MOST_NAMED` of a kind.

        """
        if not self.found:
            return
        count = len(self)
        raise ThawError(
            f"{shown(str(self.folder))} cannot be used as a dataset. Received: {count:,} "
            f"problem{'s' * (count > 1)}.\n{self._lines()}\n"
            "Allowed: CLASS/picture or train|validation|test/CLASS/picture, at least 2 classes, "
            "pictures as JPEG, PNG, WebP, BMP, TIFF or GIF; or tar files of them, as WebDataset's. "
            "Mend, move or remove what is named here and run again. Nothing was written."
        )

    def _lines(self) -> str:
        lines = []
        for kind, texts in self.found.items():
            lines += [f"{kind} ({len(texts):,}):", *(f"  {text}" for text in texts[:MOST_NAMED])]
            if len(texts) > MOST_NAMED:
                lines.append(f"  .. and {len(texts) - MOST_NAMED:,} more")
        return "\n".join(lines)


def shown(name: str) -> str:
    """Return a name as a terminal may show it: with escapes and quotes if it is not printable.

    Unlike `printable`, this keeps names apart that differ, so that the user finds the file.
    """
    return name if name.isprintable() else ascii(name)


def reason(error: OSError) -> str:
    """Return why the system refused, in small letters: `permission denied`."""
    return (error.strerror or str(error)).lower()
