"""Stage download: fetch the four Fashion-MNIST files from the first mirror that has them.

If `dataset` names a folder of pictures, there is nothing to fetch.

Writes  data/fashion-mnist/   train-images-idx3-ubyte and its three siblings, decompressed
"""

from pathlib import Path

from thaw.config.fields import FASHION_MNIST
from thaw.config.files import check_dataset
from thaw.config.stages import DownloadConfig
from thaw.data.mirrors import download, mirrors
from thaw.support import paths
from thaw.support.places import make_folder
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    dataset = DownloadConfig.load(root).dataset
    if dataset != FASHION_MNIST:
        check_dataset(dataset, root)
        make_folder(root / paths.FASHION_MNIST)  # DVC wants its output in any case
        return f"nothing to fetch: the dataset is the folder {dataset}"
    source = download(root / paths.FASHION_MNIST, mirrors())
    return f"70,000 images, digests verified; source: {source}"


if __name__ == "__main__":
    run("download", main)
