"""A picture made small, for a page."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from uncollapse.data._pixels import BROKEN, eight_bits, image_suffixes, opened
from uncollapse.data.config import ImageOptions


def thumbnail(path: Path, side: int = 80) -> bytes | None:
    """The picture of a file as JPEG that fits into a square of so many pixels.

    None for what is no picture, or one that training would refuse.
    """
    if path.suffix.lower() not in image_suffixes():
        return None
    options = ImageOptions(alpha="white", frame=0)
    try:
        with opened(path, options) as image:
            image.draft("RGB", (side, side))
            small = eight_bits(image, options).convert("RGB")
    except BROKEN:
        return None
    small.thumbnail((side, side))
    stream = BytesIO()
    small.save(stream, "JPEG", quality=60)
    return stream.getvalue()
