"""Stage report: the results as figures, tables and pages for people.

Reads   data/results/  data/images/  tools/study/  params.yaml  requirements.lock
Writes  plots/  report/report.md  report/report.html
"""

from pathlib import Path

from thaw.report.contents import gather
from thaw.report.drawing import draw
from thaw.report.pages import render
from thaw.support import paths
from thaw.support.files import atomic_file, atomic_folder
from thaw.support.stage import run

PAGES = ("report.md", "report.html")


def main(root: Path = Path()) -> str:
    """Run the stage in `root` and return the names of what it wrote."""
    contents = gather(root)
    with atomic_folder(root / paths.PLOTS) as plots:
        draw(root, contents, plots)
        # The HTML page embeds the figures, so they have to be drawn first.
        texts = {name: render(contents, plots, f"{name}.j2") for name in PAGES}
    for name, text in texts.items():
        with atomic_file(root / paths.REPORT / name) as scratch:
            scratch.write_text(text, encoding="utf-8")
    return "plots/, report/report.md, report/report.html"


if __name__ == "__main__":
    run("report", main)
