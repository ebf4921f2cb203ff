"""An accuracy in three forms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from uncollapse.records.estimate import number

__all__ = ["Interval", "Score"]


@dataclass(frozen=True)
class Interval:
    """A number with the ends of its interval (None where there is none)."""

    estimate: float
    low: float | None
    high: float | None

    def scaled(self, factor: float, shift: float) -> Interval:
        """The same for factor * number + shift, with a factor above 0."""
        low, high = (None if v is None else factor * v + shift for v in (self.low, self.high))
        return Interval(factor * self.estimate + shift, low, high)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Interval:
        """The inverse of `dataclasses.asdict`."""
        estimate = float(record["estimate"])
        return cls(estimate, number(record.get("low")), number(record.get("high")))


@dataclass(frozen=True)
class Score:
    """Accuracy, balanced accuracy and what is left of it above chance."""

    accuracy: Interval
    balanced_accuracy: Interval
    chance_corrected: Interval

    def to_dict(self) -> dict[str, Any]:
        """One key per form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Score:
        """The inverse of `to_dict`."""
        names = ("accuracy", "balanced_accuracy", "chance_corrected")
        return cls(*(Interval.from_dict(record[name]) for name in names))
