"""What changed between two measurements, as a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from uncollapse.records.codec import Document, Part
from uncollapse.records.reason import Message
from uncollapse.records.verdict import Verdict


@dataclass(frozen=True)
class NumberChange(Part):
    """One number before and after.

    Attributes:
        name: Of the number.
        before, after: The estimates.
        estimate: After minus before.
        low, high: Interval of the difference; None where one of the two has none.
    """

    name: str
    before: float
    after: float
    estimate: float
    low: float | None
    high: float | None

    @property
    def direction(self) -> str:
        """Either "fell", "rose", "no change seen" (zero in the interval) or "cannot-tell"."""
        if self.low is None or self.high is None:
            return "cannot-tell"
        return "fell" if self.high < 0 else "rose" if self.low > 0 else "no change seen"

    def to_dict(self) -> dict[str, Any]:
        """One key per attribute, and the direction."""
        return super().to_dict() | {"direction": self.direction}


@dataclass(frozen=True)
class Comparison(Document):
    """What changed from one measurement to the next.

    Attributes:
        verdict_before, verdict_after: The two verdicts.
        changes: Every number that both have.
        classes_worse: Labels whose own verdict fell to at-risk or collapsed.
        slices_worse: The same of slices, as "column=value".
        regression: Whether something got worse: the verdict, a class, a slice, the spread, or what
            a probe reads.
        reasons: What got worse, in words; empty when nothing did.
        warnings: Conditions that differ, so that the two may not be comparable.
        reason_messages, warning_messages: The same two as messages, in the same order; empty in
            older files.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import compare, measure
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> rows = np.random.default_rng(0).standard_normal((150, 16))
        >>> comparison = compare(measure(rows, labels), measure(np.eye(3, 16)[labels], labels))
        >>> comparison.regression, comparison.reasons[0]
        (True, 'the verdict fell from healthy to collapsed')
        >>> comparison.classes_worse
        (0, 1, 2)
    """

    kind: ClassVar[str] = "comparison"

    verdict_before: Verdict
    verdict_after: Verdict
    changes: tuple[NumberChange, ...]
    classes_worse: tuple[bool | int | float | str, ...]
    slices_worse: tuple[str, ...]
    regression: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    reason_messages: tuple[Message, ...] = ()
    warning_messages: tuple[Message, ...] = ()
