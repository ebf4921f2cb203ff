"""What a report says, before it is said in a language: a key and the numbers in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uncollapse import statistics
from uncollapse.records import Interval

__all__ = ["Message", "difference", "estimate"]


@dataclass(frozen=True)
class Message:
    """One sentence.

    Attributes:
        key: Its name in the catalogues of `language`.
        values: Numbers, texts and estimates (mappings with estimate, low and high) by name.
    """

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Both parts as plain JSON types."""
        return {"key": self.key, "values": dict(self.values)}


def estimate(record: Any) -> dict[str, float | None] | None:
    """An estimate with its interval from a record or an `Estimate`; None where there is none."""
    if record is None:
        return None
    given = record if isinstance(record, Mapping) else vars(record)
    if given.get("estimate") is None:
        return None
    return {name: given.get(name) for name in ("estimate", "low", "high")}


def difference(before: Any, after: Any) -> dict[str, float | None] | None:
    """After minus before, with the interval of Zou & Donner (2008) as `compare` has it."""
    a, b = estimate(before), estimate(after)
    if a is None or b is None:
        return None
    return statistics.difference(Interval.from_dict(a), Interval.from_dict(b)).to_dict()
