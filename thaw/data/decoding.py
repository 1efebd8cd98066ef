"""From a picture's file to its canonical pixels: (224, 224, 3) uint8 RGB.

Training, predictions and the tests of exports all decode with this module, so that they see the
same pixels. Colour profiles (ICC) are ignored, as Keras, PyTorch and OpenCV do.
"""

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# The plugins: Pillow loads them at its first picture otherwise, maybe in two threads at once.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from thaw.support.places import FILE, kind

SIDE = 224
"""Side of the canonical picture, pixels: ResNet50's own."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MOST_PIXELS = 178_956_970
"""Larger pictures are refused before memory is taken: Pillow's own limit, where it raises."""
_KNOWN = "JPEG, PNG, WebP, BMP, TIFF, GIF"
_DRAFT = 2 * SIDE
"""JPEG's decoder may shrink a picture by 2, 4 or 8, but leaves at least this short side. Decoding
is faster then. Pillow's own thumbnails keep the same reserve of 2 for the antialiased resizing."""
_BILINEAR = Image.Resampling.BILINEAR
_WHITE_IS_ZERO, _BITS = 262, 258
"""Tags of TIFF: how gray values are meant, and how many bits one has."""
_ORIENTATION = 274
"""The tag of EXIF."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture with an EXIF orientation upright; with any other value it is upright."""


class PictureError(Exception):
    """A picture cannot be read; the message goes on after its name: `is empty`."""


def decode(source: Path | IO[bytes]) -> NDArray[np.uint8]:
    """Return the canonical pixels of a picture, (224, 224, 3) uint8 RGB.

    That is the centre square of the upright picture, resized by Pillow: bilinear, antialiased where
    it gets smaller. The content, not the name, decides what format a file has. Of an animation the
    first frame counts. Transparent parts show white. Gray of 16 bits is scaled to 8; floats must
    be 0 to 1.

    Any number of threads may call this at the same time.

    Args:
        source: the file, or a stream of its bytes.

    Raises:
        PictureError: it is not a picture of one of `FORMATS`, is damaged, has more than
            `MOST_PIXELS`, or cannot be read.

    """
    with _translated(), safe_pillow():
        if not isinstance(source, Path):
            return _decoded(source)
        _check_file(source)
        with source.open("rb") as file:
            return _decoded(file)


def resize(pictures: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize square pictures (n, side, side, 3) to (n, size, size, 3), antialiased if smaller."""
    if pictures.shape[1] == size:
        return pictures
    resized = np.empty((len(pictures), size, size, 3), np.uint8)
    for picture, target in zip(pictures, resized, strict=True):
        target[...] = np.asarray(Image.fromarray(picture).resize((size, size), _BILINEAR))
    return resized


def is_gray(picture: NDArray[np.uint8]) -> bool:
    """Whether the three channels of a picture (height, width, 3) are equal."""
    few = picture[::16, ::16]  # enough for most pictures in colour, and 100 times faster
    return all(
        np.array_equal(some[..., 0], some[..., channel])
        for some in (few, picture)
        for channel in (1, 2)
    )


def _check_file(path: Path) -> None:
    """Refuse what is not a file before it is opened: a FIFO would wait for ever."""
    found = kind(path, follow=True)
    if found != FILE:
        raise PictureError(f"is {found}, not a file" if found else "does not exist")


def _decoded(file: IO[bytes]) -> NDArray[np.uint8]:
    if not file.seekable():
        file = BytesIO(file.read())
    start = file.read(16)
    file.seek(0)
    if not start:
        raise PictureError("is empty")
    accepts = (Image.OPEN[name][1] for name in FORMATS)
    if not any(accept and accept(start) is True for accept in accepts):
        raise PictureError(f"is not a picture that thaw reads ({_KNOWN})")
    with Image.open(file, formats=FORMATS) as image:
        image.draft(None, (_DRAFT, _DRAFT))  # does nothing but for JPEG
        image.load()
        turn = _TURNS.get(_orientation(image))
        square = _centre_square(_to_rgb(image))
    return np.array(square if turn is None else square.transpose(turn))


def _orientation(image: Image.Image) -> Any:
    """Return the EXIF orientation; 1 if there is none, or if the EXIF data are damaged."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # the pixels are sound, and other programs show them
        return 1


def _centre_square(image: Image.Image) -> Image.Image:
    """Crop and resize in one step, so that pixels are averaged only once."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((SIDE, SIDE), _BILINEAR, box=box)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode of Pillow's to RGB, on white where it is transparent."""
    if image.mode[0] in "IF":  # Pillow's own conversion of these clips at 255
        return _from_deep(image)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Scale gray of more than 8 bits, integers or floats, to 8 bits."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    top = 1 if image.mode == "F" else 4095 if tags.get(_BITS) == (12,) else 65535
    low, high = values.min(), values.max()
    if not (0 <= low <= high <= top):  # also if they are not numbers
        raise PictureError(f"has gray values from {low:,} to {high:,}; 0 to {top:,} are read")
    scaled = np.rint(values * (255 / top)).astype(np.uint8)
    if tags.get(_WHITE_IS_ZERO) == 0:  # Pillow inverts only up to 8 bits
        scaled = 255 - scaled
    if "transparency" in image.info:  # one value that is transparent
        scaled[values == image.info["transparency"]] = 255
    return Image.fromarray(scaled).convert("RGB")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn whatever reading and Pillow raise into a `PictureError`.

    Pillow documents few of its exceptions. Damaged files also make it raise SyntaxError,
    ValueError, struct.error, KeyError and more, so that only a list of all would do.
    """
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        raise PictureError(f"has {pixels:,} pixels; at most {MOST_PIXELS:,} are read") from error
    except MemoryError as error:
        raise PictureError("needs more memory than there is") from error
    except PermissionError as error:
        raise PictureError("may not be read: permission denied") from error
    except Image.UnidentifiedImageError as error:  # it starts as one of `FORMATS`
        raise PictureError("is cut off or damaged: its header cannot be read") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise PictureError(f"cannot be read: {str(error.strerror).lower()}") from error
        why = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"is cut off or damaged: {why.rstrip('.')}") from error


class _Settings:
    """Pillow's global settings as `decode` needs them, while any thread is in it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0
        self.quiet = warnings.catch_warnings()
        self.theirs: tuple[bool, int | None] = (False, None)

    def enter(self) -> None:
        with self.lock:
            self.threads += 1
            if self.threads > 1:
                return
            self.theirs = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow raises above twice this
            self.quiet = warnings.catch_warnings()
            self.quiet.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")

    def leave(self) -> None:
        with self.lock:
            self.threads -= 1
            if self.threads:
                return
            self.quiet.__exit__(None, None, None)
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = self.theirs


_SETTINGS = _Settings()


@contextmanager
def safe_pillow() -> Iterator[None]:
    """Have Pillow refuse what is cut off or too large, and keep its warnings to itself.

    These settings and Python's filters of warnings are global. So the first thread to enter sets
    them, and the last to leave restores them. `decode` enters by itself; who decodes many pictures
    enters once around all.
    """
    _SETTINGS.enter()
    try:
        yield
    finally:
        _SETTINGS.leave()


def to_gray(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) with three equal channels, by the weights of Rec. 601."""
    return np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))
