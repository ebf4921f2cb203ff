"""Encoded images, and pixels of any size, to uint8 arrays, with Pillow."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from uncollapse.data._pixels import (
    BROKEN,
    eight_bits,
    is_grey,
    opened,
    shown_size,
    turned_by_exif,
)
from uncollapse.data.config import ImageOptions
from uncollapse.errors import InputError
from uncollapse.progress import Progress, quiet


@dataclass(frozen=True)
class Encoded:
    """Images as files below a folder, or (with an `origin`) as bytes in a pyarrow column."""

    items: Any
    folder: Path = Path()
    origin: str = ""

    def name(self, item: int) -> str:
        """The file, or the row of the table."""
        if self.origin:
            return f"row {item} of {self.origin}"
        return str(self.folder / self.items[item])

    def source(self, item: int) -> Path | bytes:
        """The file, or its bytes."""
        if self.origin:
            return bytes(self.items[item].as_py() or b"")
        return Path(self.folder, self.items[item])

    def length(self, item: int) -> int:
        """Number of bytes, which are not read for it."""
        if self.origin:
            return int(self.items[item].as_buffer().size)
        return int((self.folder / self.items[item]).stat().st_size)


@dataclass(frozen=True)
class Decoding:
    """What images are decoded to; the options say how, where the size differs."""

    height: int
    width: int
    channels: Literal["grey", "rgb"]
    options: ImageOptions

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (1 if self.channels == "grey" else 3, self.height, self.width)


@dataclass(frozen=True)
class DecodedWhenRead:
    """An array of uint8 (N, C, H, W) whose images are decoded each time they are taken."""

    encoded: Encoded
    decoding: Decoding

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.encoded.items), *self.decoding.shape)

    def __getitem__(self, items: NDArray[np.int64]) -> NDArray[np.uint8]:
        pixels, broken = _decode(self.encoded, items, self.decoding, quiet)
        if broken:
            raise InputError("an image that can be read", broken[0], "mend it or take it out")
        return pixels


def _fit(image: Image.Image, decoding: Decoding) -> NDArray[Any]:
    image = image.convert("L" if decoding.channels == "grey" else "RGB")
    size = (decoding.width, decoding.height)
    if image.size != size:
        if decoding.options.fit == "crop":
            image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        else:
            image = image.resize(size, Image.Resampling.BILINEAR)
    return channels_first(np.asarray(image)[None]).squeeze(0)


def channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """A view (N, C, H, W) of images (N, H, W) or (N, H, W, C)."""
    grey = images.ndim == 3 or images.shape[3] == 1
    return images.reshape(images.shape[:3])[:, None] if grey else images.transpose(0, 3, 1, 2)


def _reason(encoded: Encoded, item: int, error: Exception) -> str:
    """Name and Pillow's words in one line, without the address of a buffer."""
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    words = "not an image" if "cannot identify image file" in words else words
    return f"{encoded.name(item)}: {words}"


def _refuse(broken: list[str], images: int) -> None:
    if broken:
        more = f"and {len(broken) - 1} more of {images}" if len(broken) > 1 else f"1 of {images}"
        raise InputError(
            "images that can be read", f"{broken[0]} ({more})", "mend them or take them out"
        )


def _decode(
    encoded: Encoded, items: NDArray[np.int64], decoding: Decoding, progress: Progress
) -> tuple[NDArray[np.uint8], list[str]]:
    """Images as uint8 (N, C, H, W), and name and reason of those that cannot be decoded."""
    pixels = np.empty((len(items), *decoding.shape), np.uint8)
    broken = []
    for place, item in enumerate(items.tolist()):
        try:
            with opened(encoded.source(item), decoding.options) as image:
                pixels[place] = _fit(eight_bits(image, decoding.options), decoding)
        except BROKEN as error:
            broken.append(_reason(encoded, item, error))
        progress(place + 1, len(items))
    return pixels, broken


def decode_images(
    encoded: Encoded, items: NDArray[np.int64], decoding: Decoding, progress: Progress
) -> NDArray[np.uint8]:
    """All images as uint8 (N, C, H, W); refuses the first that cannot be decoded."""
    pixels, broken = _decode(encoded, items, decoding, progress)
    _refuse(broken, len(items))
    return pixels


def _decoding(options: ImageOptions, height: int, width: int, *, grey: bool) -> Decoding:
    """The options, or else what the images are."""
    if options.size is not None:
        height, width = (options.size,) * 2 if isinstance(options.size, int) else options.size
    return Decoding(height, width, options.channels or ("grey" if grey else "rgb"), options)


def choose_decoding(
    encoded: Encoded, items: NDArray[np.int64], options: ImageOptions
) -> tuple[Decoding, list[str]]:
    """Size and channels for all images, from the options and the headers; what is to be said."""
    sizes: dict[tuple[int, int], str] = {}
    grey, turned, broken = True, 0, []
    for item in items.tolist():
        try:
            with opened(encoded.source(item), options) as image:
                sizes.setdefault(shown_size(image), encoded.name(item))
                grey &= is_grey(image)
                turned += turned_by_exif(image)
        except BROKEN as error:
            broken.append(_reason(encoded, item, error))
    _refuse(broken, len(items))
    if options.size is None and len(sizes) > 1:
        two = [f"{width} x {height} ({name})" for (width, height), name in sizes.items()][:2]
        raise InputError(
            "images of one size",
            f"{len(sizes)} sizes, as {' and '.join(two)}",
            "set image.size to resize them",
        )
    width, height = next(iter(sizes))
    notes = [f"{turned} of {len(items)} images are turned as their EXIF data say"] if turned else []
    return _decoding(options, height, width, grey=grey), notes


def distinct_files(encoded: Encoded, items: NDArray[np.int64]) -> int:
    """Number of different files or cells; only those of equal length are read for it."""
    lengths = [encoded.length(item) for item in items.tolist()]
    several = Counter(lengths)
    seen: set[int | bytes] = set()
    for item, length in zip(items.tolist(), lengths, strict=True):
        if several[length] == 1:
            seen.add(length)
            continue
        source = encoded.source(item)
        content = source.read_bytes() if isinstance(source, Path) else source
        seen.add(hashlib.sha256(content).digest())
    return len(seen)


def as_bytes(images: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """0..255 as they are, floats in [0, 1] times 255."""
    if images.dtype == np.uint8:
        return images
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if images.dtype.kind in "iu" and low >= 0 and high <= 255:
        return images.astype(np.uint8)
    if images.dtype.kind in "fb" and low >= 0 and high <= 1:
        return np.rint(images.astype(np.float64) * 255).astype(np.uint8)
    raise InputError(
        f"images of 0..255, or floats in [0, 1], in {name!r}",
        f"{images.dtype} from {low} to {high}",
        "scale them",
    )


def fit_pixels(pixels: NDArray[np.uint8], options: ImageOptions) -> NDArray[np.uint8]:
    """Images (N, H, W) or (N, H, W, C) as uint8 (N, C, H, W) of the size and channels asked for."""
    grey = pixels.ndim == 3 or pixels.shape[3] == 1
    decoding = _decoding(options, *pixels.shape[1:3], grey=grey)
    pixels = pixels.reshape(pixels.shape[:3]) if grey else pixels
    if decoding.shape[1:] == pixels.shape[1:3] and grey == (decoding.channels == "grey"):
        return np.ascontiguousarray(channels_first(pixels))
    fitted = np.empty((len(pixels), *decoding.shape), np.uint8)
    for place, image in enumerate(pixels):
        fitted[place] = _fit(Image.fromarray(np.ascontiguousarray(image)), decoding)
    return fitted
