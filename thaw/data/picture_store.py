"""The pictures of a folder as HDF5 files, written while they are decoded.

All pictures of a size share one array, in the order in which they were listed, because they are
written before it is known which part each one is in. Each part then names its rows.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from thaw.data.decoding import resize
from thaw.data.image_store import LARGE, SMALL, create_images
from thaw.data.pictures import Pictures
from thaw.support.files import atomic_file, require_space

_WRITTEN_TOGETHER = 64
"""Pictures: HDF5 is slower for each one alone."""
MOST_STORED = 25_000
"""More pictures than this are not stored at 224 pixels, 3.8 GB for photographs, but decoded again
whenever they are needed. JPEGs of 500x375 are decoded as fast as they are read from the store, on
two cores (benchmarks/README.md); photographs of 12 megapixels ten times slower."""


class PictureStore:
    """Writes pictures, (224, 224, 3) uint8 each, at two sizes; see `open_store`."""

    def __init__(self, paths: Mapping[int, Path]) -> None:
        self.files = {size: h5py.File(path, "w") for size, path in paths.items()}
        self.images = {size: create_images(file, 0, size) for size, file in self.files.items()}
        self.waiting: list[NDArray[np.uint8]] = []

    def keep(self, position: int, picture: NDArray[np.uint8]) -> None:
        """Take the picture at `position`; positions come in order.

        Raises:
            OSError: there is too little space on the disk.

        """
        if position == MOST_STORED:
            self._drop_large()
        self.waiting.append(picture)
        if len(self.waiting) == _WRITTEN_TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self.waiting:
            return
        pictures = np.stack(self.waiting)
        self.waiting.clear()
        for size, images in self.images.items():
            written = len(images)
            require_space(Path(images.file.filename).parent, pictures.nbytes)
            images.resize(written + len(pictures), axis=0)
            images[written:] = resize(pictures, size)

    def _drop_large(self) -> None:
        """Begin the large file anew, without images: HDF5 would not free their space."""
        path = self.files[LARGE].filename
        self.files[LARGE].close()
        del self.images[LARGE]
        self.files[LARGE] = h5py.File(path, "w")

    def write_parts(self, parts: Mapping[str, NDArray[np.int64]], pictures: Pictures) -> None:
        """Write the positions and the labels of each part, after the last picture."""
        self.flush()
        for size, file in self.files.items():
            if size not in self.images:
                pictures.files.write(file)
            for part, positions in parts.items():
                group = file.create_group(part)
                group["labels"] = pictures.labels[positions]
                group["positions"] = positions

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()


@contextmanager
def open_store(folder: Path) -> Iterator[PictureStore]:
    """Yield a store whose files appear in `folder`, complete, once the block ends without an error.

    Raises:
        ThawError: something other than a file is where one has to go.

    """
    with ExitStack() as stack:
        paths = {size: folder / f"rgb{size}.h5" for size in (SMALL, LARGE)}
        scratch = {size: stack.enter_context(atomic_file(path)) for size, path in paths.items()}
        yield stack.enter_context(closing(PictureStore(scratch)))
