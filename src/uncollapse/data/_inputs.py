"""Rows in memory, in a mapped file, or decoded when they are read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncollapse.data._decode import Decoding, Encoded, decode_image
from uncollapse.errors import InputError
from uncollapse.records import InputKind


@dataclass(frozen=True)
class ArrayInputs:
    """Rows of one array, in memory or mapped from a file.

    Attributes:
        array: (M, C, H, W) uint8, (M, D) or (M, V, D) float32; of a mapped file also images as
            (M, H, W, C), see `channels_last`.
        kind: What a row is.
        rows: Rows of `array` that belong to the data, when not all of them do.
        mapped: Name and size of the file, when the array is not in memory.
        channels_last: Whether images are (H, W, C) or (H, W) in the array.
    """

    array: NDArray[Any]
    kind: InputKind
    rows: NDArray[np.int64] | None = None
    mapped: str = ""
    channels_last: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        shape = self.array.shape[1:]
        if not self.channels_last:
            return tuple(shape)
        return (1, *shape) if len(shape) == 2 else (shape[2], shape[0], shape[1])

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """The rows, copied."""
        at = rows if self.rows is None else self.rows[rows]
        values = np.asarray(self.array[at])
        if self.channels_last:
            values = values[:, None] if values.ndim == 3 else np.moveaxis(values, 3, 1)
        if self.kind != "image":
            values = values.astype(np.float32, copy=False)
        return torch.from_numpy(np.ascontiguousarray(values))

    def fingerprint(self) -> tuple[bytes, str]:
        """Digest of the input bytes, and of what it is one."""
        if self.mapped:
            return self.mapped.encode(), "name and size of the mapped file"
        return hashlib.sha256(np.ascontiguousarray(self.array).data).digest(), "bytes of the inputs"


@dataclass(frozen=True)
class EncodedImages:
    """Images that are decoded each time they are read: some `rows` of the encoded ones."""

    encoded: Encoded
    decoding: Decoding
    rows: NDArray[np.int64]
    kind: Literal["image"] = field(default="image", init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return self.decoding.shape

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """The images, decoded; one that cannot be is refused by name."""
        batch = np.empty((len(rows), *self.shape), np.uint8)
        for place, item in enumerate(self.rows[rows].tolist()):
            try:
                batch[place] = decode_image(self.encoded.content(item), self.decoding)
            except ValueError as error:
                raise InputError(
                    "an image that can be read",
                    f"{self.encoded.name(item)}: {error}",
                    "mend it or take it out",
                ) from error
        return torch.from_numpy(batch)

    def fingerprint(self) -> tuple[bytes, str]:
        """Digest of names and sizes: to read every file for it would cost an epoch."""
        digest = hashlib.sha256(repr(self.decoding).encode())
        for item in self.rows.tolist():
            digest.update(f"{self.encoded.name(item)}\0{self.encoded.length(item)}\n".encode())
        return digest.digest(), "names and encoded sizes of the images"


OpenedInputs = ArrayInputs | EncodedImages
