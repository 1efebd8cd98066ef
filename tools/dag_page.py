"""Draw the stages anew in docs/pipeline.md: python -m tools.dag_page.

The drawing is what `dvc dag --md` prints, which GitHub shows as a graph. The words around it stay.
"""

import re
from pathlib import Path

from tools.commands import dvc

PAGE = Path("docs/pipeline.md")
DRAWING = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)


def redrawn(page: str, root: Path | None = None) -> str:
    """Return the page with the stages as dvc.yaml in `root` has them now."""
    drawing = dvc("dag", "--md", root=root)
    return DRAWING.sub(lambda _: drawing, page, count=1)


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
