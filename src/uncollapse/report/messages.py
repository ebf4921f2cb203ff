"""What a report says, before it is said in a language: a key and the numbers in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from uncollapse import statistics
from uncollapse.records import Estimate, Gap, Interval, NumberChange, Part

__all__ = ["Message", "Number", "difference", "interval_of"]

Number = Estimate | Interval | NumberChange | Gap


@dataclass(frozen=True)
class Message(Part):
    """One sentence.

    Attributes:
        key: Its name in the catalogues of `language`.
        values: Numbers, texts and intervals by name.
    """

    key: str
    values: Mapping[str, object] = field(default_factory=dict)


def interval_of(number: Number | None) -> Interval | None:
    """A number with its interval; None where there is none."""
    if number is None or number.estimate is None:
        return None
    return Interval(number.estimate, number.low, number.high)


def difference(before: Number | None, after: Number | None) -> Interval | None:
    """After minus before, as `compare` has it; None where one of them does not exist."""
    first, second = interval_of(before), interval_of(after)
    return None if first is None or second is None else statistics.difference(first, second)
