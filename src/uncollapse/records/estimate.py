"""An estimate with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from uncollapse.records.codec import Part


def number(value: Any) -> float | None:
    """A number that strict JSON can hold: None for what is missing or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


@dataclass(frozen=True)
class Estimate(Part):
    """One quantity of the population, with its interval.

    Attributes:
        estimate: Unbiased for a new sample of the same population; it can be slightly below zero
            where the truth is zero. None where it does not exist (say, no views were given).
        low: Lower end of the interval; None when there are too few units for one.
        high: Upper end.
        plug_in: The same quantity of the sample taken as the whole population, as papers print it.
    """

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    plug_in: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half the length of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def __str__(self) -> str:
        if self.estimate is None:
            return "-"
        if self.low is None or self.high is None:
            return f"{self.estimate:.4g} (no interval)"
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


UNKNOWN = Estimate()
