"""Numbers of records: the ranges that reading checks, and estimates with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from uncollapse.errors import InputError
from uncollapse.records.codec import Part

# More take hours: a wish of more is a slip of the finger.
_MOST_PERMUTATIONS = 100_000
Count = Annotated[int, Ge(0)]
PositiveCount = Annotated[int, Ge(1)]
Fraction = Annotated[float, Ge(0), Le(1)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
# Those that are computed may leave their range by rounding.
ROUNDING = 1e-6
Portion = Annotated[float, Ge(-ROUNDING), Le(1 + ROUNDING)]  # accuracy, variance of a population
Cosine = Annotated[float, Ge(-1 - ROUNDING), Le(1 + ROUNDING)]
AboveChance = Cosine  # accuracy corrected for chance: -1/(K - 1) where nothing is right
# Unbiased: 1 less a mean cosine, or the difference of two such means.
Variance = Annotated[float, Ge(-2 - ROUNDING), Le(2 + ROUNDING)]
# Of a class.
Label = bool | int | float | str


def number(value: Any) -> float | None:
    """A number that strict JSON can hold: None for what is missing or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def decimal(value: float) -> str:
    """A number as people read it: four decimals, and four digits from ten on; never -0.

    Examples:
        >>> decimal(0.0079), decimal(-1e-9), decimal(1234.5)
        ('0.0079', '0.0000', '1234')
    """
    return f"{value:.4g}" if abs(value) >= 10 else f"{round(value, 4) + 0.0:.4f}"


class WithEnds(Part):
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
            return f"{decimal(self.estimate)} (no interval)"
        return f"{decimal(self.estimate)} [{decimal(self.low)}, {decimal(self.high)}]"

    def in_points(self) -> str:
        """A difference of shares in percentage points, as +22.5 [+20.0, +25.1]."""
        if self.estimate is None:
            return "-"
        centre = f"{100 * self.estimate:+.1f}"
        if self.low is None or self.high is None:
            return centre
        return f"{centre} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"

    def __format__(self, form: str) -> str:
        """As text, or with "points" in percentage points."""
        return self.in_points() if form == "points" else format(str(self), form)


@dataclass(frozen=True)
class Estimate(WithEnds):
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
class _Range:
    """Where an estimate lies that is read, but for rounding; the ends of its interval need not."""

    low: float
    high: float

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: WithEnds) -> WithEnds:
        for key in ("estimate", "plug_in"):
            read = value.get(key, self.low)
            if read is not None and not self.low - ROUNDING <= read <= self.high + ROUNDING:
                raise ValueError(f"{key} from {self.low} to {self.high}, not {read}")
        return value


@dataclass(frozen=True)
class Interval(WithEnds):
    """A number with the ends of its interval (None where there is none)."""

    estimate: float
    low: float | None = None
    high: float | None = None

    def scaled(self, factor: float, shift: float) -> Interval:
        """The same for factor * number + shift, with a factor above 0."""
        low, high = (None if v is None else factor * v + shift for v in (self.low, self.high))
        return Interval(factor * self.estimate + shift, low, high)


# A share of two such variances has no range: where all embeddings lie at one point, it is one of
# rounding errors.
VarianceEstimate = Annotated[Estimate, _Range(-2, 2)]
AccuracyInterval = Annotated[Interval, _Range(0, 1)]
AboveChanceInterval = Annotated[Interval, _Range(-1, 1)]


@dataclass(frozen=True)
class Score(Part):
    """Accuracy, balanced accuracy and what is left of it above chance."""

    accuracy: AccuracyInterval
    balanced_accuracy: AccuracyInterval
    chance_corrected: AboveChanceInterval


def check_confidence(value: Any) -> None:
    """Refuse a confidence that is no number between 0 and 1."""
    known = isinstance(value, Real) and not isinstance(value, bool)
    if not known or not 0 < float(value) < 1:
        raise InputError("confidence in (0, 1)", f"{value!r}", "0.95 is usual")


def check_permutations(permutations: Any) -> None:
    """Refuse permutations of a null that are no whole number from 0 to 100,000."""
    check_from_zero(permutations=permutations)
    if permutations > _MOST_PERMUTATIONS:
        raise InputError(
            f"permutations <= {_MOST_PERMUTATIONS:,}",
            f"{permutations!r}",
            "1000 give the end of a null to a hundredth",
        )


def check_from_zero(**values: Any) -> None:
    """Refuse what is no whole number from 0, by its name."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
            raise InputError(f"{name} >= 0", f"{value!r}", "give a whole number from 0")
