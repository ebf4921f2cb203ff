"""The ids that a stream has seen, 8 bytes each."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError

Hashes = NDArray[np.uint64]


def hash_ids(names: list[Any]) -> Hashes:
    """64 bits of each id, the same in every process; two of a billion ids collide at 3 %."""
    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(f"{type(name).__name__}:{name}".encode(), digest_size=8).digest(),
                "little",
            )
            for name in names
        ],
        dtype=np.uint64,
    )


class RepeatedInstanceError(InputError):
    """An instance that came before, in an earlier part of a stream."""


class IdSet:
    """A set of hashes in a few sorted arrays, each at least twice the next."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> int:
        """Add distinct hashes; returns how many were there before."""
        new = np.sort(hashes)
        if not len(new):
            return 0
        again = 0
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, new), len(run) - 1)
            again += int(np.count_nonzero(run[place] == new))
        self._runs.append(new)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(np.sort(np.concatenate([before, last]), kind="stable"))
        return again

    def sorted(self) -> Hashes:
        """All hashes."""
        if not self._runs:
            return np.zeros(0, dtype=np.uint64)
        return np.sort(np.concatenate(self._runs))
