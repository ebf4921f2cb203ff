"""Encoded images to uint8 arrays, with Pillow."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from uncollapse.data.config import ImageOptions
from uncollapse.errors import InputError
from uncollapse.progress import Progress

# What Pillow raises for a broken file, by format.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}


@dataclass(frozen=True)
class EncodedFiles:
    """Image files under one folder."""

    root: Path
    paths: tuple[str, ...]

    def name(self, item: int) -> str:
        """Path of the file."""
        return str(self.root / self.paths[item])

    def content(self, item: int) -> Path:
        """The file."""
        return self.root / self.paths[item]

    def length(self, item: int) -> int:
        """Size of the file."""
        return self.content(item).stat().st_size


@dataclass(frozen=True)
class EncodedBytes:
    """Images in a column of a table (a pyarrow array of binaries)."""

    column: Any
    origin: str

    def name(self, item: int) -> str:
        """Row of the table."""
        return f"row {item} of {self.origin}"

    def content(self, item: int) -> bytes:
        """The bytes."""
        content: bytes | None = self.column[item].as_py()
        return content or b""

    def length(self, item: int) -> int:
        """How many they are, without reading them."""
        import pyarrow.compute as pc

        return int(pc.binary_length(self.column[item]).as_py())


Encoded = EncodedFiles | EncodedBytes


@dataclass(frozen=True)
class Decoding:
    """What images are decoded to; `fit` says how, where the size differs."""

    height: int
    width: int
    channels: Literal["grey", "rgb"]
    fit: Literal["stretch", "crop"] = "stretch"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (1 if self.channels == "grey" else 3, self.height, self.width)


def _open(content: Path | bytes) -> Image.Image:
    return Image.open(BytesIO(content) if isinstance(content, bytes) else content)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen bits as eight: Pillow's own conversion would clip them at 255."""
    if not image.mode.startswith("I"):
        return image
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError("more than 16 bits a pixel")
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))


def _fit(image: Image.Image, decoding: Decoding) -> NDArray[np.uint8]:
    image = image.convert("L" if decoding.channels == "grey" else "RGB")
    size = (decoding.width, decoding.height)
    if image.size != size:
        if decoding.fit == "crop":
            image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        else:
            image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode_image(content: Path | bytes, decoding: Decoding) -> NDArray[np.uint8]:
    """One image as uint8 (C, H, W); a ValueError in Pillow's words if it cannot be decoded."""
    try:
        with _open(content) as image:
            image.load()
            return _fit(_eight_bits(image), decoding)
    except _BROKEN as error:
        raise ValueError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Pillow's words in one line, without the address of a buffer."""
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "not an image" if "cannot identify image file" in words else words


def _refuse(broken: list[tuple[str, str]], images: int) -> None:
    if not broken:
        return
    name, reason = broken[0]
    more = f"and {len(broken) - 1} more of {images}" if len(broken) > 1 else f"1 of {images}"
    raise InputError(
        "images that can be read", f"{name}: {reason} ({more})", "mend them or take them out"
    )


def _decoding(options: ImageOptions, height: int, width: int, *, grey: bool) -> Decoding:
    """The options, or else what the images are."""
    if options.size is not None:
        height, width = (options.size,) * 2 if isinstance(options.size, int) else options.size
    return Decoding(height, width, options.channels or ("grey" if grey else "rgb"), options.fit)


def choose_decoding(encoded: Encoded, rows: NDArray[np.int64], options: ImageOptions) -> Decoding:
    """Size and channels for all images, from the options and the headers of the files."""
    sizes: dict[tuple[int, int], str] = {}
    grey, broken = True, []
    for item in rows.tolist():
        try:
            with _open(encoded.content(item)) as image:
                sizes.setdefault(image.size, encoded.name(item))
                grey &= image.mode in _GREY
        except _BROKEN as error:
            broken.append((encoded.name(item), _reason(error)))
    _refuse(broken, len(rows))
    if options.size is None and len(sizes) > 1:
        two = [f"{width} x {height} ({name})" for (width, height), name in sizes.items()][:2]
        raise InputError(
            "images of one size",
            f"{len(sizes)} sizes, as {' and '.join(two)}",
            "set image.size to resize them",
        )
    width, height = next(iter(sizes))
    return _decoding(options, height, width, grey=grey)


def decode_images(
    encoded: Encoded, rows: NDArray[np.int64], decoding: Decoding, progress: Progress | None
) -> NDArray[np.uint8]:
    """All images as uint8 (N, C, H, W); refuses the first that cannot be decoded."""
    pixels = np.empty((len(rows), *decoding.shape), np.uint8)
    broken = []
    for place, item in enumerate(rows.tolist()):
        try:
            pixels[place] = decode_image(encoded.content(item), decoding)
        except ValueError as error:
            broken.append((encoded.name(item), str(error)))
        if progress is not None:
            progress(place + 1, len(rows))
    _refuse(broken, len(rows))
    return pixels


def fit_pixels(pixels: NDArray[np.uint8], options: ImageOptions) -> NDArray[np.uint8]:
    """Images (N, H, W) or (N, H, W, C) as uint8 (N, C, H, W) of the size and channels asked for."""
    grey = pixels.ndim == 3 or pixels.shape[3] == 1
    decoding = _decoding(options, *pixels.shape[1:3], grey=grey)
    if pixels.ndim == 4 and grey:
        pixels = pixels[..., 0]
    if decoding.shape[1:] == pixels.shape[1:3] and grey == (decoding.channels == "grey"):
        same = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(same)
    fitted = np.empty((len(pixels), *decoding.shape), np.uint8)
    for place, image in enumerate(pixels):
        fitted[place] = _fit(Image.fromarray(np.ascontiguousarray(image)), decoding)
    return fitted
