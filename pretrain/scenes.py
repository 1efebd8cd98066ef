"""Scenes: pictures put together, cut and coloured at random.

After Asano & Saeed, "The Augmented Image Prior" (ICLR 2023): what a teacher says of many varied
cuts of few pictures is enough to learn from. All images are (side, side, 3) uint8 RGB.
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pretrain.pictures import Library

Image = NDArray[np.uint8]

KINDS = {"clipart": 0.4, "emoji": 0.25, "photo": 0.35}
"""How often each kind of picture is the scene's subject."""
BACKGROUNDS = {"black": 0.35, "white": 0.08, "gray": 0.1, "colour": 0.17, "photo": 0.3}
"""What is behind a picture with a transparent background. Fashion-MNIST's is black."""
CUTMIX, SECOND_OBJECT, COLOUR_JITTER, GRAY, INVERTED, COARSE = 0.1, 0.15, 0.6, 0.4, 0.1, 0.3
"""How often a scene gets each; INVERTED is a share of the gray ones."""
EMPTY_DEVIATION, EMPTY_TRIES = 16.0, 4
"""Standard deviation, of 255, below which a scene is taken for a bare wall and made anew."""


def random_scene(
    random: Generator, library: Library, side: int, plain_share: float = 0.0
) -> tuple[Image, str]:
    """Return a scene and the kind of picture that is its subject.

    A `plain_share` of them show one thing as a catalogue does: whole, gray, on black.
    """
    if plain_share > 0 and random.random() < plain_share:
        scene, kind = _catalogued(random, library, side)
        return _coarse(random, scene), kind
    scene, kind = _composed(random, library, side)
    if random.random() < CUTMIX:
        other, _ = _composed(random, library, side)
        top, left = random.integers(0, side // 2, 2)
        height, width = random.integers(side // 4, side * 2 // 3, 2)
        scene[top : top + height, left : left + width] = other[
            top : top + height, left : left + width
        ]
    return _coarse(random, _coloured(random, scene)), kind


def plain_scene(pixels: NDArray[np.uint8], side: int, background: int = 255) -> Image:
    """Return a whole picture, centred on a gray background, nothing else done to it."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    scaled = _resized(pixels, size).astype(np.float32)
    canvas = np.full((side, side, 3), background, np.float32)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    part = canvas[top : top + size[1], left : left + size[0]]
    alpha = scaled[..., 3:] / 255
    part[:] = part * (1 - alpha) + scaled[..., :3] * alpha
    return _bytes(canvas)


def shrunk(scenes: Image, side: int) -> Image:
    """Return scenes (n, height, width, 3) at `side` pixels, each the mean of what it covers."""
    return np.stack([cv2.resize(s, (side, side), interpolation=cv2.INTER_AREA) for s in scenes])


def enlarged(scenes: Image, side: int) -> Image:
    """Return scenes (n, height, width, 3) at `side` pixels, linearly interpolated."""
    return np.stack([cv2.resize(s, (side, side), interpolation=cv2.INTER_LINEAR) for s in scenes])


def _choice(random: Generator, table: dict[str, float]) -> str:
    return str(random.choice(list(table), p=list(table.values())))


def _composed(random: Generator, library: Library, side: int) -> tuple[Image, str]:
    """Return a scene that shows something; the last of a few tries is taken as it is."""
    for _ in range(EMPTY_TRIES):
        scene, kind = _any_composed(random, library, side)
        if scene.std() >= EMPTY_DEVIATION:
            break
    return scene, kind


def _any_composed(random: Generator, library: Library, side: int) -> tuple[Image, str]:
    kind = _choice(random, KINDS)
    if kind == "photo":
        return _photo_cut(random, library, side), kind
    canvas = _background(random, library, side)
    for _ in range(2 if random.random() < SECOND_OBJECT else 1):
        index = random.choice(library.by_kind[kind])
        canvas = _pasted(random, library.pixels(index), canvas)
    return _bytes(canvas), kind


def _catalogued(random: Generator, library: Library, side: int) -> tuple[Image, str]:
    """Return one whole object in shades of gray on black, upright or nearly.

    Its shades keep their differences, or lose them in part, about a random level, as cloth's do.
    """
    kind = str(random.choice(("clipart", "emoji")))
    pixels = _cropped(library.pixels(random.choice(library.by_kind[kind])))
    longest = side * random.uniform(0.6, 0.95)
    size = _stretched(random, pixels, longest, -0.3, 0.0)
    turn = _affine(random, side, turned=8.0, scale=1.0, shift=0.02, centre=size, sheared=0.05)
    layer = _resized(premultiplied(pixels), size)
    layer = cv2.warpAffine(layer, turn, (side, side), flags=cv2.INTER_LINEAR)
    alpha = layer[..., 3].astype(np.float32) / 255
    shades = cv2.cvtColor(layer[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = shades.sum() / max(float(alpha.sum()), 1.0)
    level, contrast = random.uniform(70, 240), random.uniform(0.2, 1.2)
    shown = np.clip(level * alpha + contrast * (shades - mean * alpha), 0, 255)
    return _bytes(shown)[..., None].repeat(3, axis=2), kind


def _stretched(
    random: Generator, pixels: Image, longest: float, low: float, high: float
) -> tuple[int, int]:
    """Return a picture's width and height, each stretched by e^low to e^high, at a longest side."""
    stretch = np.exp(random.uniform(low, high, 2))
    height, width = pixels.shape[:2]
    factor = longest / max(height, width)
    return max(2, round(width * factor * stretch[0])), max(2, round(height * factor * stretch[1]))


def _cropped(pixels: Image) -> Image:
    """Cut off the transparent margin."""
    left, top, width, height = cv2.boundingRect((pixels[..., 3] > 8).astype(np.uint8))
    return pixels[top : top + height, left : left + width] if width and height else pixels


def _background(random: Generator, library: Library, side: int) -> NDArray[np.float32]:
    kind = _choice(random, BACKGROUNDS)
    if kind == "photo":
        return _photo_cut(random, library, side).astype(np.float32)
    gray, colour = random.integers(256), random.integers(0, 256, 3)
    level = {"black": 0, "white": 255, "gray": gray}.get(kind, colour)
    return np.full((side, side, 3), level, np.float32)


def _photo_cut(random: Generator, library: Library, side: int) -> Image:
    """Cut a random part out of a photo: any scale, somewhat turned, stretched and mirrored."""
    pixels = library.pixels(random.choice(library.by_kind["photo"]))
    height, width = pixels.shape[:2]
    smallest, largest = min(96, height, width), min(height, width)
    part = np.exp(random.uniform(np.log(smallest), np.log(largest)))
    stretch = np.exp(random.uniform(-0.25, 0.25, 2))
    cut_height, cut_width = (
        int(min(part * s, n)) for s, n in zip(stretch, (height, width), strict=True)
    )
    top = random.integers(height - cut_height + 1)
    left = random.integers(width - cut_width + 1)
    cut = _over_gray(pixels[top : top + cut_height, left : left + cut_width])
    cut = _resized(cut, (side, side))
    turn = _affine(random, side, turned=15.0, scale=1.15, shift=0.0)
    return cv2.warpAffine(
        cut, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def _over_gray(pixels: Image) -> Image:
    """Drop the alpha channel, over middle gray where it is not opaque."""
    if pixels[..., 3].min() == 255:
        return np.ascontiguousarray(pixels[..., :3])
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return _bytes(pixels[..., :3] * alpha + 128 * (1 - alpha))


def _pasted(
    random: Generator, pixels: NDArray[np.uint8], canvas: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Put a picture on the canvas at a random size, angle and place."""
    side = canvas.shape[0]
    longest = side * random.uniform(0.4, 1.25)
    size = _stretched(random, pixels, longest, -0.2, 0.2)
    scaled = _resized(premultiplied(pixels), size)
    turned = 180.0 if random.random() < 0.15 else 20.0
    turn = _affine(random, side, turned, scale=1.0, shift=0.2, centre=size)
    layer = cv2.warpAffine(scaled, turn, (side, side), flags=cv2.INTER_LINEAR).astype(np.float32)
    return canvas * (1 - layer[..., 3:] / 255) + layer[..., :3]


def premultiplied(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale colours by alpha, so that resizing mixes in no colour of what is transparent."""
    result = pixels.copy()
    alpha = pixels[..., 3:].astype(np.uint16)
    result[..., :3] = (pixels[..., :3] * alpha + 127) // 255
    return result


def _affine(
    random: Generator,
    side: int,
    turned: float,
    scale: float,
    shift: float,
    centre: tuple[int, ...] | None = None,
    sheared: float = 0.2,
) -> NDArray[np.float64]:
    """Return the (2, 3) matrix that turns, shears, mirrors and shifts a picture onto the canvas."""
    angle = np.deg2rad(random.uniform(-turned, turned))
    shear = random.uniform(-sheared, sheared)
    mirror = random.choice((-1.0, 1.0))
    cos, sin = np.cos(angle), np.sin(angle)
    linear = scale * np.array([[cos, -sin], [sin, cos]]) @ np.array([[mirror, shear], [0, 1]])
    middle = np.array(centre or (side, side)) / 2
    target = side / 2 + side * random.uniform(-shift, shift, 2)
    return np.column_stack([linear, target - linear @ middle])


def _coloured(random: Generator, scene: Image) -> Image:
    """Change colours, brightness, contrast and gamma, or leave only gray."""
    result = scene.astype(np.float32)
    if random.random() < COLOUR_JITTER:
        gain = np.exp(random.normal(0, 0.15) + random.normal(0, 0.12, 3))
        contrast = np.exp(random.normal(0, 0.2))
        result = (result * gain - 128) * contrast + 128 + random.normal(0, 12)
        result = 255 * np.power(np.clip(result / 255, 0, 1), np.exp(random.normal(0, 0.2)))
        result = result.astype(np.float32)
    if random.random() < GRAY:
        result = cv2.cvtColor(result, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
        if random.random() < INVERTED:
            result = 255 - result
    return _bytes(result)


def _coarse(random: Generator, scene: Image) -> Image:
    """Take away detail now and then, as in a small picture made large."""
    if random.random() >= COARSE:
        return scene
    side = scene.shape[0]
    small = int(random.integers(24, 65))
    small_scene = cv2.resize(scene, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(small_scene, (side, side), interpolation=cv2.INTER_LINEAR)


def _resized(pixels: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    smaller = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _bytes(values: NDArray[np.floating]) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
