"""Files of pictures, sound and harmful, byte by byte where Pillow writes none."""

import struct
import zlib
from io import BytesIO

from PIL import Image


def saved(image: Image.Image, form: str = "PNG", **how: object) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **how)
    return stream.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    end = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + end


def png(
    bits: int, colours: int, row: bytes, size: tuple[int, int] = (1, 1), more: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, 0)
    body = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def tiff(bits: int, row: bytes, interpretation: int = 1, **tags: int) -> bytes:
    """A gray TIFF of one row; its values take `bits` bits."""
    width = len(row) * 8 // bits
    fields = {256: width, 257: 1, 258: bits, 259: 1, 262: interpretation, 273: 8}
    fields |= {277: 1, 278: 1, 279: len(row)} | {int(tag[1:]): v for tag, v in tags.items()}
    padded = row + bytes(len(row) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in sorted(fields.items()))
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + directory


def bomb(form: str) -> bytes:
    """A header of 2^31 pixels or a little more or less."""
    side, other = 65_536, 32_768
    if form == "PNG":
        return png(8, 2, b"", (side, other))
    if form == "BMP":
        sizes = struct.pack("<IiiHHIIiiII", 40, side, other, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + sizes
    if form == "WEBP":
        sizes = struct.pack("<I", side - 1)[:3] + struct.pack("<I", other - 1)[:3]
        return b"RIFF\x64\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + sizes + bytes(80)
    if form == "TIFF":
        return tiff(8, b"\0\0", t256=side, t257=other)
    if form == "GIF":
        frame = struct.pack("<HHHHB", 0, 0, side - 1, other, 0)
        return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b"\x2c" + frame + b"\2\2\x4c\1\0;"
    content = bytearray(saved(Image.new("RGB", (16, 16)), "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 65_500, 32_800)
    return bytes(content)
