"""Numbers with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from uncollapse.records.codec import Part


def number(value: Any) -> float | None:
    """A number that strict JSON can hold: None for what is missing or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


class _WithEnds(Part):
    """A number with the ends of its interval."""

    estimate: float | None
    low: float | None
    high: float | None

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


@dataclass(frozen=True)
class Estimate(_WithEnds):
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


UNKNOWN = Estimate()


@dataclass(frozen=True)
class Interval(_WithEnds):
    """A number with the ends of its interval (None where there is none)."""

    estimate: float
    low: float | None = None
    high: float | None = None

    def scaled(self, factor: float, shift: float) -> Interval:
        """The same for factor * number + shift, with a factor above 0."""
        low, high = (None if v is None else factor * v + shift for v in (self.low, self.high))
        return Interval(factor * self.estimate + shift, low, high)

    def in_points(self) -> str:
        """A difference of shares in percentage points, as +22.5 [+20.0, +25.1]."""
        centre = f"{100 * self.estimate:+.1f}"
        if self.low is None or self.high is None:
            return centre
        return f"{centre} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True)
class Score(Part):
    """Accuracy, balanced accuracy and what is left of it above chance."""

    accuracy: Interval
    balanced_accuracy: Interval
    chance_corrected: Interval
