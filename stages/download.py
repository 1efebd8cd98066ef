"""Stage download: fetch the four Fashion-MNIST files from the first mirror that has them.

Writes  data/raw/   train-images-idx3-ubyte and its three siblings, decompressed
"""

from pathlib import Path

from thaw.config.stages import DownloadConfig
from thaw.data.mirrors import download, mirrors
from thaw.support import paths
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    DownloadConfig.load(root)
    source = download(root / paths.RAW, mirrors())
    return f"70,000 images, digests verified; source: {source}"


if __name__ == "__main__":
    run("download", main)
