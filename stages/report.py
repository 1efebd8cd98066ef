"""Stage report: what came out, for people.

Reads   metrics/  data/results/  data/images/  tools/study/results/  params.yaml  requirements.lock
Writes  plots/  report/report.md  report/report.html
"""

from pathlib import Path

from thaw.report import drawing, pages
from thaw.support.files import atomic_file, atomic_folder
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    names = ("report.md", "report.html")
    with atomic_folder(root / "plots") as plots:
        drawing.draw(root, plots)
        texts = {name: pages.render(root, plots, f"{name}.j2") for name in names}
    for name, text in texts.items():
        with atomic_file(root / "report" / name) as scratch:
            scratch.write_text(text, encoding="utf-8")
    return "plots/, report/report.md, report/report.html"


if __name__ == "__main__":
    run("report", main)
