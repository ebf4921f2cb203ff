"""Edits that know nothing of a format: every kind of file gets them."""

from collections.abc import Callable

import numpy as np

Random = np.random.Generator
Edit = Callable[[bytes, Random], bytes]


def truncate(data: bytes, random: Random) -> bytes:
    return data[: int(random.integers(0, max(1, len(data))))]


def truncate_end(data: bytes, random: Random) -> bytes:
    return data[: -int(random.integers(1, 9))]


def flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        if changed:
            changed[random.integers(len(changed))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def flip_head(data: bytes, random: Random) -> bytes:
    """Where formats declare sizes and types."""
    return flip(data[:128], random) + data[128:]


def flip_tail(data: bytes, random: Random) -> bytes:
    """Where zip and parquet keep their directories."""
    cut = max(0, len(data) - 256)
    return data[:cut] + flip(data[cut:], random)


def overwrite(data: bytes, random: Random) -> bytes:
    """Words of integers that are at the edge of something."""
    words = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
    width = int(random.choice([1, 2, 4, 8]))
    word = int(random.choice(np.array(words, dtype=object))) % (1 << 8 * width)
    place = int(random.integers(0, max(1, len(data) - width)))
    order = "little" if random.random() < 0.5 else "big"
    return data[:place] + word.to_bytes(width, order) + data[place + width :]


def insert(data: bytes, random: Random) -> bytes:
    place = int(random.integers(0, len(data) + 1))
    return data[:place] + random.bytes(int(random.integers(1, 32))) + data[place:]


def delete(data: bytes, random: Random) -> bytes:
    place = int(random.integers(0, len(data) + 1))
    return data[:place] + data[place + int(random.integers(1, 32)) :]


def repeat(data: bytes, random: Random) -> bytes:
    start, stop = sorted(random.integers(0, len(data) + 1, 2).tolist())
    return data[:stop] + data[start:stop] + data[stop:]


def zeros(data: bytes, random: Random) -> bytes:
    """A block that a file system lost."""
    place = int(random.integers(0, len(data) + 1))
    size = int(random.integers(1, 512))
    return data[:place] + bytes(len(data[place : place + size])) + data[place + size :]


def other_file(data: bytes, random: Random) -> bytes:
    """What another program left under this name."""
    kinds = (
        b"",
        b"\x00",
        b"\xff\xfe",
        b"PK\x05\x06" + bytes(18),
        b"{}",
        b"[]",
        b"null",
        b"PAR1PAR1",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) print\n",
        b"\x93NUMPY",
        b"GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"ARROW1\x00\x00",
        b"\x1f\x8b\x08",
        b"-- \n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"\x80\x04cos\nsystem\n(S'x'\ntR.",
    )
    return kinds[int(random.integers(len(kinds)))]


FAMILIES: dict[str, tuple[Edit, ...]] = {
    "cut short": (truncate, truncate_end, other_file),
    "bytes": (flip, flip_head, flip_tail, overwrite, insert, delete, repeat, zeros),
}
