"""One image file as pixels of eight bits. What that would throw away is refused, or asked for."""

from __future__ import annotations

import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from uncollapse.data.config import ImageOptions

# Formats that are pixels: no vector graphics, which start an interpreter, and no containers.
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF")
# What Pillow raises for a broken file, by format, and its warnings, which are refusals here.
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, OverflowError,
    Image.DecompressionBombError, Warning,
)  # fmt: skip
_DEEP = (
    "more than eight bits a channel in colour, of which eight would be read: save it with eight "
    "bits a channel, scaled from its own range"
)
# Formats of which Pillow does not tell the depth; their headers do, within so many bytes.
_HIDDEN_DEPTH, _HEAD = ("JPEG2000", "AVIF"), 4096
_GREY = {"1", "L", "LA", "La", "F"}
_ORIENTATION, _ON_THE_SIDE = 0x0112, (5, 6, 7, 8)


@cache
def image_suffixes() -> frozenset[str]:
    """Endings of file names that the readable formats have."""
    Image.init()
    formats = {*_FORMATS, "MPO"}
    return frozenset(e for e, name in Image.registered_extensions().items() if name in formats)


@contextmanager
def opened(source: Path | bytes, options: ImageOptions) -> Iterator[Image.Image]:
    """The frame that is asked for, of which only the header is read yet."""
    if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
        raise ValueError("not a regular file")
    # By its name, Pillow would map a plain TIFF into memory, and turn it wrongly.
    stream = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with stream, warnings.catch_warnings():
        deep = says_deep(stream.read(_HEAD))
        stream.seek(0)
        warnings.simplefilter("error")
        with Image.open(stream, formats=_FORMATS) as image:
            if image.format in _HIDDEN_DEPTH and not image.mode.startswith("I") and deep:
                raise ValueError(_DEEP)
            # A photograph's second picture (MPO) is its preview or depth.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if options.frame is None and frames > 1:
                raise ValueError(f"{frames} frames or pages: set image.frame to the one to take")
            if options.frame is not None and frames > 1:
                image.seek(options.frame)
            yield image


def is_grey(image: Image.Image) -> bool:
    """Whether the header says that there is no colour."""
    return image.mode in _GREY or image.mode.startswith("I")


def _orientation(image: Image.Image) -> int:
    """EXIF's number in the header; of PNG, Pillow would decode the picture to look behind it."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return int(image.getexif().get(_ORIENTATION, 1))


def turned_by_exif(image: Image.Image) -> bool:
    """Whether EXIF says that the picture is to be shown other than it is stored."""
    return _orientation(image) != 1


def shown_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as the picture is shown; of TIFF the size in the header is that already."""
    on_the_side = _orientation(image) in _ON_THE_SIDE
    return image.size[::-1] if on_the_side and image.format != "TIFF" else image.size


def eight_bits(image: Image.Image, options: ImageOptions) -> Image.Image:
    """The picture as it is shown, in grey or RGB with eight bits a channel, without alpha."""
    if _is_deep(image):
        raise ValueError(_DEEP)
    image.load()
    image = ImageOps.exif_transpose(image)  # a TIFF is turned already, and says so
    if image.mode == "F" or image.mode.startswith("I"):
        return _scaled(image, options.range)
    return _without_alpha(image, options) if image.has_transparency_data else image


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has more bits of a colour than the mode that Pillow reads it in."""
    if image.mode == "F" or image.mode.startswith("I"):
        return False
    plans = [tile[3] for tile in getattr(image, "tile", [])]  # how each part is decoded
    words = [word for plan in plans for word in (plan if isinstance(plan, tuple) else (plan,))]
    if image.format == "PPM":  # the largest value that a channel has
        return any(isinstance(word, int) and word > 255 for word in words)
    return any(";16" in str(word) for word in words)


def says_deep(head: bytes) -> bool:
    """Whether the header of a JPEG 2000 or AVIF file has more than eight bits in a channel."""
    _, found, size = head.partition(b"\xff\x4f\xff\x51")  # SOC and SIZ of a code stream
    if found and len(size) > 38:
        channels = int.from_bytes(size[36:38], "big")
        return any(depth & 0x7F > 7 for depth in size[38 : 38 + 3 * channels : 3])
    _, found, box = head.partition(b"av1C")
    return bool(found and len(box) > 2 and box[2] & 0x40)  # high_bitdepth


def _scaled(image: Image.Image, span: tuple[float, float] | None) -> Image.Image:
    """More than eight bits as eight: from the declared range to 0..255, clipped at its ends."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity among its pixels")
    if span is None:
        raise ValueError(
            f"more than eight bits a pixel, from {values.min():g} to {values.max():g}: set "
            "image.range to [low, high], the values to become 0 and 255"
        )
    share = np.clip((values - span[0]) / (span[1] - span[0]), 0, 1)
    return Image.fromarray(np.rint(share * 255).astype(np.uint8))


def _without_alpha(image: Image.Image, options: ImageOptions) -> Image.Image:
    image = image.convert("RGBA")
    if options.alpha in ("white", "black"):
        return Image.alpha_composite(Image.new("RGBA", image.size, options.alpha), image)
    low, high = image.getchannel("A").getextrema()
    if options.alpha is None and low != high:
        raise ValueError(
            f"transparency from {low} to {high} of 255: set image.alpha to white or black, to lie "
            "behind the picture, or to drop"
        )
    return image
