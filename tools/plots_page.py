"""Make the template of DVC's plots page work offline: python -m tools.plots_page.

Writes  .dvc/plots_page.html  the template that .dvc/config names, with Vega's scripts inside

DVC's own page loads the same scripts from a content delivery network. Run this tool after changing
a version below; it needs npm and the network.
"""

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PAGE = Path(__file__).parents[1] / ".dvc/plots_page.html"
# For each npm package: its script, and the package's SHA-512 in the form of npm's registry. The
# versions are those that DVC's own page loads. All packages are under BSD-3-Clause.
SCRIPTS = {
    "vega@5.20.2": (
        "build/vega.min.js",
        "qmH7aD9GGPpssVdxL1xgcdxTbQzyRUeRR16Os385ymvQhiwCYQNA6+eXUPAZDTVLfk0RXu6Jzj6kUE5jQ80EVw==",
    ),
    "vega-lite@5.2.0": (
        "build/vega-lite.min.js",
        "Yxcg8MvYfxHcG6BbkaKT0oVCIMIcE19UvqIsEwBmyd/7h2nzW7oRnID81T8UrY7hpDrIr6wa2JADOT2dhGNErw==",
    ),
    "vega-embed@6.18.2": (
        "build/vega-embed.min.js",
        "wcDyQPE4J5aiCDc3/suH5RQDvrKkjuLkhzUcbOLwEkNF8/+pp17tS0JghzEvAPNRg+5aG1/N2ydixq8Lk3dOlg==",
    ),
}
# Double braces are for DVC, which fills them in; `main` fills in the single ones.
TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{{refresh_tag}}
<title>thaw: plots</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 1rem; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-spacing: 1rem; }}
</style>
{scripts}
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def fetch(package: str, script: str, digest: str) -> str:
    """Download a package and return its script. End the process if the digest does not match."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
        archive = next(folder.glob("*.tgz"))
        received = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if received != digest:
            sys.exit(f"error: {package} must have the SHA-512 {digest}. Received: {received}")
        with tarfile.open(archive) as packed:
            member = packed.extractfile(f"package/{script}")
            assert member
            return member.read().decode("utf-8")


def main() -> None:
    """Download the scripts and write the page."""
    texts = [(name, fetch(name, *pinned)) for name, pinned in SCRIPTS.items()]
    # HTML ends a script element at the first "</script", even inside a string of JavaScript.
    if any("</script" in text for _, text in texts):
        sys.exit("error: a script contains </script and cannot be inlined. Choose another version.")
    scripts = "\n".join(
        f"<script>\n/* {name}, BSD-3-Clause, https://github.com/vega */\n{text}\n</script>"
        for name, text in texts
    )
    PAGE.write_text(TEMPLATE.format(scripts=scripts), encoding="utf-8")


if __name__ == "__main__":
    main()
