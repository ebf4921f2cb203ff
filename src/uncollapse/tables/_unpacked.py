"""Text files that are packed by gzip or zstd, unpacked as they are read, within a limit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from uncollapse.errors import InputError

# What is read of a packed file as long as it makes no more than so many bytes of one of its own;
# digits pack to a third, and a column of one name a thousandfold.
_MOST_FOLD = 200
_FREE_BYTES = 1 << 28
PACKED = {".gz": "gzip", ".zst": "zstd"}


def unpacked(path: Path) -> Unpacked | None:
    """The bytes of a file whose name ends in .gz or .zst; None of another."""
    packed = PACKED.get(path.suffix.lower())
    return None if packed is None else Unpacked(path, packed)


class Unpacked(io.RawIOBase):
    """The bytes of a packed file.

    Raises:
        InputError: They are more than 200 for each of the file's, beyond the first 256 MiB.
    """

    def __init__(self, path: Path, packed: str) -> None:
        import pyarrow as pa

        self._path, self._size, self._done = path, path.stat().st_size, 0
        self._inside: Any = pa.input_stream(str(path), compression=packed)

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        piece: bytes = self._inside.read(size if size >= 0 else _FREE_BYTES)
        self._done += len(piece)
        if self._done > max(_FREE_BYTES, _MOST_FOLD * self._size):
            raise InputError(
                f"at most {_MOST_FOLD} bytes of text for each of {self._size:,} in {self._path}",
                f"more than {self._done:,}",
                "unpack it if it is what you want to read",
            )
        return piece

    def close(self) -> None:
        """Close the file."""
        self._inside.close()
        super().close()
