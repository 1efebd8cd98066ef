"""Stage pack: the student as the file that ships with thaw.

Reads   data/student.npz
Writes  ../thaw/network/pretrained/  resnet50_distilled.h5, digest.json
"""

from pretrain.layers import load_layers
from pretrain.settings import FOLDER
from thaw.network import bundled
from thaw.support.errors import ThawError
from thaw.support.stage import run

MOST_BYTES = 25_000_000
"""That a clone should have to fetch for it."""


def main() -> str:
    """Quantise, write, read back."""
    bundled.pack(bundled.FOLDER, load_layers(FOLDER / "student.npz"))
    size = (bundled.FOLDER / bundled.WEIGHTS_FILE).stat().st_size
    if size > MOST_BYTES:
        raise ThawError(
            f"The packed file must have at most {MOST_BYTES:,} bytes. Received: {size:,}"
        )
    layers = bundled.read()
    return f"{len(layers)} layers, {size / 1e6:.1f} MB, {bundled.digest()}"


if __name__ == "__main__":
    run("pack", main)
