"""Some of the rows that a stream holds, of both embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics._drawn import Keys
from uncollapse.metrics.features import Floats, Integers
from uncollapse.samples import find_copies, hashes_in_both, unit_rows


@dataclass(frozen=True)
class HeldPart:
    """Instances from one update; hashes and unit vectors are made of those that stay to the end."""

    x: NDArray[Any]
    y: NDArray[Any]
    keys: Keys
    contents: Keys | None  # hashes, the same of copies; None until they are asked for
    labels: Integers
    groups: Integers | None
    as_they_came: bool = False  # else x and y are means of unit vectors

    @property
    def bytes(self) -> int:
        """Memory that they take in float64."""
        return (self.x.size + self.y.size) * np.dtype(np.float64).itemsize

    def take(self, rows: NDArray[Any]) -> HeldPart:
        columns: dict[str, Any] = {name: each[rows] for name, each in self.columns().items()}
        return replace(self, **columns)

    def below(self, limit: np.uint64) -> HeldPart:
        kept = self.keys <= limit
        return self if kept.all() else self.take(kept)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Those that are there, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: each for name, each in named.items() if isinstance(each, np.ndarray)}

    def hashed(self) -> HeldPart:
        """The same with hashes of both embeddings."""
        if self.contents is not None:
            return self
        return replace(self, contents=hashes_in_both(self.x, self.y))

    def ready(self) -> HeldPart:
        """The same as unit vectors, with their hashes."""
        x, y = self.unit_vectors(slice(None)) if self.as_they_came else (self.x, self.y)
        return replace(self.hashed(), x=x, y=y, as_they_came=False)

    def unit_vectors(self, rows: Any) -> tuple[Floats, Floats]:
        """Both embeddings of some of them, in memory of their own where rows are positions."""
        x, y = self.x[rows], self.y[rows]
        return (unit_rows(x), unit_rows(y)) if self.as_they_came else (x, y)

    def units(self) -> Integers | None:
        """Unit of each instance that is hashed: its group, with copies in other groups."""
        assert self.contents is not None  # the caller has hashed it
        copies = find_copies(self.contents, self.labels, self.groups)
        return self.groups if copies is None or copies.units is None else copies.units


def together(parts: Sequence[HeldPart]) -> HeldPart:
    """Several parts as one, which is hashed."""
    parts = [part.hashed() for part in parts if len(part.keys)] or [parts[0].hashed()]
    if len(parts) == 1:
        return parts[0]
    if len({(part.as_they_came, part.x.dtype, part.y.dtype) for part in parts}) > 1:
        parts = [part.ready() for part in parts]
    columns = [part.columns() for part in parts]
    whole: dict[str, Any] = {
        name: np.concatenate([each[name] for each in columns]) for name in columns[0]
    }
    return replace(parts[0], **whole)
