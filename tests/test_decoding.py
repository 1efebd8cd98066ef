import errno
import os
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from picture_files import bomb, chunk, png, saved, tiff
from PIL import Image, ImageFile

from thaw.data import decoding
from thaw.data.decoding import FORMATS, PictureError, decode, is_gray, resize

Pixels = NDArray[np.uint8]
LOSSLESS = ("PNG", "BMP", "TIFF", "GIF")


def colour(content: bytes) -> tuple[int, ...]:
    """The colour of a picture that has one colour."""
    pixels = decode(BytesIO(content))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[0, 0]).all()
    return tuple(pixels[0, 0].tolist())


def refusal(source: bytes | Path) -> str:
    with pytest.raises(PictureError) as caught:
        decode(BytesIO(source) if isinstance(source, bytes) else source)
    return str(caught.value)


def test_a_picture_of_224_px_stays_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    for form in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode(BytesIO(saved(Image.fromarray(pixels), form))), pixels)


def test_doubling_by_hand() -> None:
    # Target pixels lie at -1/4, 1/4, 3/4, 5/4 of two pixels; beyond the edge Pillow repeats it.
    small = np.array([[0, 160]], dtype=np.uint8).repeat(2, 0)
    large = Image.fromarray(small).convert("RGB")
    doubled = resize(np.asarray(large)[np.newaxis], 4)[0]
    np.testing.assert_array_equal(doubled[0, :, 0], [0, 40, 120, 160])
    np.testing.assert_array_equal(doubled[..., 0], doubled[..., 2])


def test_halving_averages_by_a_triangle() -> None:
    # Weights 1/8, 3/8, 3/8, 1/8 in the middle; at the edge 3/7, 3/7, 1/7 remain.
    row = np.array([0, 0, 0, 0, 224, 224, 224, 224], dtype=np.uint8)
    picture = np.repeat(np.repeat(row[np.newaxis, :, np.newaxis], 8, 0), 3, 2)
    np.testing.assert_array_equal(resize(picture[np.newaxis], 4)[0, 0, :, 0], [0, 28, 196, 224])


def test_resizing_to_the_same_size_changes_nothing() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(pictures, 32), pictures)
    assert resize(pictures[:0], 64).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_by_its_content(tmp_path: Path, form: str) -> None:
    path = tmp_path / "no end of a name"
    path.write_bytes(saved(Image.new("RGB", (30, 20), (200, 100, 50)), form))
    assert np.abs(decode(path).astype(int) - (200, 100, 50)).max() <= 3


def test_the_centre_square_of_a_wide_picture() -> None:
    # Stripes of 50 px: the square of a 300x200 goes from 50 to 250.
    stripes = np.repeat(np.array([10, 60, 110, 160, 210, 255], np.uint8), 50)
    wide = Image.fromarray(np.tile(stripes, (200, 1)))
    row = decode(BytesIO(saved(wide)))[100, :, 0]
    np.testing.assert_array_equal(row[[2, 28, 84, 140, 196, 221]], [60, 60, 110, 160, 210, 210])
    assert row[0] == 57  # at -0.054 pixels: the neighbour outside the square counts for 5.4 %
    tall = decode(BytesIO(saved(wide.transpose(Image.Transpose.ROTATE_270))))
    np.testing.assert_array_equal(tall[:, 100, 0], row)


def test_an_odd_rest_is_halved() -> None:
    # 225 of 224 px: the square starts half a pixel in, between equal neighbours.
    row = np.arange(225, dtype=np.uint8)
    wide = Image.fromarray(np.tile(row, (224, 1)))
    got = decode(BytesIO(saved(wide)))[0, :, 0].astype(int)
    assert np.abs(got - (np.arange(224) + 0.5)).max() <= 1


QUARTERS = np.array([[0, 80], [160, 240]], np.uint8)
ORIENTATIONS = {  # of a picture that is upright as 0 80 / 160 240, what is stored
    1: [[0, 80], [160, 240]],
    2: [[80, 0], [240, 160]],
    3: [[240, 160], [80, 0]],
    4: [[160, 240], [0, 80]],
    5: [[0, 160], [80, 240]],
    6: [[80, 240], [0, 160]],
    7: [[240, 80], [160, 0]],
    8: [[160, 0], [240, 80]],
}


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.kron(np.array(ORIENTATIONS[orientation], np.uint8), np.ones((32, 32), np.uint8))
    content = saved(Image.fromarray(stored).convert("RGB"), form, exif=exif, quality=100)
    got = decode(BytesIO(content))[56::112, 56::112, 0].astype(int)
    assert np.abs(got - QUARTERS).max() <= 2


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x"])
def test_damaged_exif_does_not_matter(exif: bytes) -> None:
    content = saved(Image.new("RGB", (8, 8), (9, 9, 9)), "JPEG", exif=exif)
    assert colour(content) == (9, 9, 9)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (0x8000, 128), (0xFFFF, 255), (300, 1), (257 * 77, 77)]
)
def test_16_bits_are_scaled(value: int, expected: int) -> None:
    assert colour(png(16, 0, struct.pack(">H", value))) == (expected,) * 3
    for mode in ("I;16", "I;16B", "I"):
        content = saved(Image.new(mode, (1, 1), value), "TIFF")
        assert colour(content) == (expected,) * 3, mode


def test_other_depths() -> None:
    assert colour(png(16, 2, b"\x80\0\x40\0\x20\0")) == (128, 64, 32)
    assert colour(png(2, 0, b"\x40")) == (85, 85, 85)
    assert colour(tiff(12, b"\x80\x08\x00")) == (128, 128, 128)  # 0x800, 0x800
    assert colour(tiff(16, struct.pack("<H", 0x2020), interpretation=0)) == (223, 223, 223)
    assert colour(saved(Image.new("1", (3, 3), 1))) == (255, 255, 255)
    assert colour(saved(Image.new("1", (3, 3), 0), "BMP")) == (0, 0, 0)


def test_floats_are_from_0_to_1() -> None:
    for value, expected in ((0.0, 0), (0.5, 128), (1.0, 255)):
        assert colour(saved(Image.new("F", (2, 2), value), "TIFF")) == (expected,) * 3
    said = "has gray values from 7.5 to 7.5; 0 to 1 are read"
    assert refusal(saved(Image.new("F", (2, 2), 7.5), "TIFF")) == said
    assert "nan" in refusal(saved(Image.new("F", (2, 2), float("nan")), "TIFF"))
    wide = saved(Image.new("I", (2, 2), 70_000), "TIFF")
    assert refusal(wide) == "has gray values from 70,000 to 70,000; 0 to 65,535 are read"
    assert refusal(saved(Image.new("I", (2, 2), -1), "TIFF")).startswith("has gray values from -1")


def test_transparency_shows_white() -> None:
    # Half (128 of 255) black over white leaves 127.
    assert colour(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))) == (127, 127, 127)
    assert colour(saved(Image.new("LA", (4, 4), (0, 128)))) == (127, 127, 127)
    assert colour(saved(Image.new("RGBA", (4, 4), (9, 9, 9, 0)))) == (255, 255, 255)
    assert colour(saved(Image.new("RGBA", (4, 4), (9, 8, 7, 255)))) == (9, 8, 7)
    lossless = saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "WEBP", lossless=True)
    assert colour(lossless) == (127, 127, 127)


def test_one_transparent_value() -> None:
    def key(*values: int) -> bytes:
        return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))

    assert colour(png(8, 0, b"\x80", more=key(0x80))) == (255, 255, 255)
    assert colour(png(8, 0, b"\x80", more=key(0x81))) == (128, 128, 128)
    assert colour(png(16, 0, b"\x80\0", more=key(0x8000))) == (255, 255, 255)
    assert colour(png(16, 0, b"\x80\0", more=key(0x8001))) == (128, 128, 128)
    assert colour(png(8, 2, b"\x80\x40\x20", more=key(0x80, 0x40, 0x20))) == (255, 255, 255)


def test_palettes() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert colour(saved(image)) == (40, 50, 60)
    assert colour(saved(image, "GIF")) == (40, 50, 60)
    assert colour(saved(image, transparency=1)) == (255, 255, 255)
    assert colour(saved(image, transparency=b"\xff\x80")) == (147, 152, 157)  # 40 x .502 + 127
    assert colour(saved(image, "GIF", transparency=1)) == (255, 255, 255)


def test_cmyk() -> None:
    # No ink is white; all of cyan leaves no red. Pillow writes Adobe's inverted values to JPEG.
    white = saved(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG", quality=100)
    assert b"Adobe" in white
    assert colour(white) == (255, 255, 255)
    for form in ("JPEG", "TIFF"):
        cyan = colour(saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), form))
        assert np.abs(np.subtract(cyan, (0, 255, 255))).max() <= 2
    assert colour(saved(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), "TIFF")) == (0, 0, 0)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_frame_counts(form: str) -> None:
    first, second = (Image.new("RGB", (8, 8), c) for c in ((200, 10, 10), (10, 10, 200)))
    content = saved(first, form, save_all=True, append_images=[second])
    with Image.open(BytesIO(content)) as image:
        assert image.n_frames == 2
    assert np.abs(np.subtract(colour(content), (200, 10, 10))).max() <= 4


def test_large_jpegs_are_shrunk_while_decoded() -> None:
    """A smooth picture of 2,000 px: what JPEG's decoder leaves is as good as the whole."""
    across, down = np.meshgrid(*[np.linspace(0, 255, 2000)] * 2)
    photo = np.stack([across, down, 255 - across], -1).astype(np.uint8)
    image = Image.fromarray(photo)
    ours = decode(BytesIO(saved(image, "JPEG", quality=95))).astype(int)
    assert np.abs(ours - decode(BytesIO(saved(image)))).max() <= 4


def test_gray_or_not() -> None:
    gray = np.full((4, 4, 3), 7, np.uint8)
    assert is_gray(gray)
    for channel in range(3):
        other = gray.copy()
        other[2, 1, channel] = 8
        assert not is_gray(other)


NOT_A_PICTURE = "is not a picture that thaw reads (JPEG, PNG, WebP, BMP, TIFF, GIF)"


def test_what_is_not_a_picture(tmp_path: Path) -> None:
    assert refusal(b"") == "is empty"
    assert refusal(b"text") == NOT_A_PICTURE
    assert refusal(saved(Image.new("RGB", (4, 4)), "PPM")) == NOT_A_PICTURE
    assert refusal(b"%!PS-Adobe-3.0 EPSF-3.0\n") == NOT_A_PICTURE
    assert refusal(tmp_path) == "is a folder, not a file"
    assert refusal(tmp_path / "none") == "does not exist"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "is a FIFO, not a file"


@pytest.mark.parametrize("form", FORMATS)
def test_cut_off_files_are_refused(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    whole = saved(Image.fromarray(noise), form)
    for length in (len(whole) // 2, len(whole) - 100, 40):
        assert refusal(whole[:length]).startswith("is cut off or damaged: ")


def test_settings_of_others_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
    whole = saved(Image.new("RGB", (60, 60)), "JPEG")
    assert colour(whole) == (0, 0, 0)
    assert refusal(whole[:-100]).startswith("is cut off")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert Image.MAX_IMAGE_PIXELS == 3


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("limit", [decoding.Image.MAX_IMAGE_PIXELS, None, 1])
def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch, form: str, limit: int | None) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    said = refusal(bomb(form))
    assert said.startswith("has 2,14")
    assert said.endswith("pixels; at most 178,956,970 are read")


def test_below_the_limit_nothing_warns() -> None:
    """Pillow would warn of a decompression bomb here."""
    assert refusal(png(8, 2, b"", (12_000, 12_000))).startswith("is cut off or damaged")


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    for form in FORMATS:
        (tmp_path / form).write_bytes(bomb(form))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from thaw.data.decoding import decode, PictureError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    try: decode(path)\n"
        "    except PictureError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 50_000  # KB


def test_whatever_pillow_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved(Image.new("RGB", (4, 4)))
    cases: list[tuple[Exception, str]] = [
        (KeyError("mode"), "is cut off or damaged: 'mode'"),
        (struct.error("unpack"), "is cut off or damaged: unpack"),
        (SyntaxError("broken\nPNG."), "is cut off or damaged: broken PNG"),
        (AssertionError(), "is cut off or damaged: AssertionError"),
        (MemoryError(), "needs more memory than there is"),
        (PermissionError(errno.EACCES, "Permission denied"), "may not be read: permission denied"),
        (OSError(errno.EIO, "Input/output error"), "cannot be read: input/output error"),
    ]
    for error, expected in cases:

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(Image, "open", fail)
            assert refusal(whole) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(Image.new("RGB", (4, 4))))
    path.chmod(0)
    assert refusal(path) == "may not be read: permission denied"


def test_a_stream_that_cannot_go_back() -> None:
    class Pipe(BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise OSError(errno.ESPIPE, "Illegal seek")

    assert decode(Pipe(saved(Image.new("RGB", (4, 4), (1, 2, 3)))))[0, 0].tolist() == [1, 2, 3]


def test_threads_decode_the_same_and_restore_the_settings() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (50, 70, 3), dtype=np.uint8) for _ in range(8)]
    sound = [saved(Image.fromarray(n), form) for n, form in zip(noise, FORMATS * 2, strict=False)]
    expected = [decode(BytesIO(content)) for content in sound]
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    start = threading.Barrier(8)

    def work(i: int) -> bool:
        start.wait()
        for _ in range(5):
            refusal(sound[i][: len(sound[i]) // 2])
            np.testing.assert_array_equal(decode(BytesIO(sound[i])), expected[i])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert warnings.filters == filters
    assert limit == Image.MAX_IMAGE_PIXELS
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@st.composite
def damaged(draw: Callable) -> bytes:  # type: ignore[type-arg]
    """A picture with some bytes changed, cut out or put in."""
    form = draw(st.sampled_from(FORMATS))
    mode = draw(st.sampled_from(["L", "RGB"]))
    content = bytearray(saved(Image.linear_gradient("L").resize((40, 30)).convert(mode), form))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content) - 1) | st.integers(0, min(64, len(content) - 1)))
        content[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(content)


@settings(max_examples=200, deadline=None)
@given(damaged())
def test_damaged_pictures_are_read_or_refused(content: bytes) -> None:
    said = "is read"
    try:
        assert decode(BytesIO(content)).shape == (224, 224, 3)
    except PictureError as error:
        said = str(error)
    assert said.split()[0] in ("is", "has", "needs", "cannot")
    assert "\n" not in said
