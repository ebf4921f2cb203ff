"""What every unit of a measurement moves its variances by, in few bytes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.records.codec import Part

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Influences(Part):
    """What every independent unit moves each variance by, to compare two measurements in pairs.

    Attributes:
        digests: By role (labels, instances, groups, ...), a digest of the rows' column.
        units: How many of the values, which stand class by class, are of each class; one number
            where groups cross classes.
        values: By variance, a value for each unit: base64 of the largest (float32), then all of
            them in its units (float16).
    """

    digests: Mapping[str, str]
    units: tuple[Annotated[int, Ge(2)], ...]
    values: Mapping[str, str]

    def __post_init__(self) -> None:
        # Of another type, it is the codec that says so.
        if not isinstance(self.values, Mapping) or not isinstance(self.units, tuple):
            return
        for name, text in self.values.items():
            try:
                values = _unpacked(text)
                good = len(values) == sum(self.units) and bool(np.isfinite(values).all())
            except (ValueError, TypeError):
                good = False
            if not good:
                raise InputError(
                    f"influences of {name} as `uncollapse measure --json` writes them",
                    "something else",
                    "measure again",
                )

    @classmethod
    def of(
        cls, digests: Mapping[str, str], units: tuple[int, ...], values: Mapping[str, Floats]
    ) -> Self:
        """From the values by variance, of which three digits are kept."""
        return cls(digests, units, {name: _packed(row) for name, row in values.items()})

    def by_variance(self) -> dict[str, Floats]:
        """The values of all units, by variance."""
        return {name: _unpacked(text) for name, text in self.values.items()}


def _packed(values: Floats) -> str:
    largest = np.float32(np.abs(values).max(initial=0.0))
    halves = np.divide(values, largest, out=np.zeros(len(values)), where=largest > 0)
    raw = largest.astype("<f4").tobytes() + halves.astype("<f2").tobytes()
    return base64.b64encode(raw).decode("ascii")


def _unpacked(text: str) -> Floats:
    raw = base64.b64decode(text, validate=True)
    (largest,) = np.frombuffer(raw[:4], "<f4").astype(np.float64)
    return np.asarray(largest * np.frombuffer(raw[4:], "<f2").astype(np.float64))
