"""Numbers with their intervals, whatever record they come from."""

from __future__ import annotations

from uncollapse import statistics
from uncollapse.records import Estimate, Gap, Interval, NumberChange

Number = Estimate | Interval | NumberChange | Gap


def interval_of(number: Number | None) -> Interval | None:
    """A number with its interval; None where there is none."""
    if number is None or number.estimate is None:
        return None
    return Interval(number.estimate, number.low, number.high)


def difference(before: Number | None, after: Number | None) -> Interval | None:
    """After minus before, as `compare` has it; None where one of them does not exist."""
    first, second = interval_of(before), interval_of(after)
    return None if first is None or second is None else statistics.difference(first, second)
