"""What changed from one measurement to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from uncollapse.records.codec import Part
from uncollapse.records.notebook import Bar, Card, InNotebook
from uncollapse.records.scalars import Label
from uncollapse.records.verdict import Message, Verdict


@dataclass(frozen=True)
class NumberChange(Part):
    """One number before and after, and `estimate`, after minus before, with its interval.

    No interval where one of the two has none. No change is seen where zero lies in it.
    """

    name: str
    before: float
    after: float
    estimate: float
    low: float | None
    high: float | None
    direction: Literal["fell", "rose", "no change seen", "cannot-tell"] = "cannot-tell"

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None:
            seen = "no change seen"
            if self.high < 0 or self.low > 0:
                seen = "fell" if self.high < 0 else "rose"
            object.__setattr__(self, "direction", seen)


@dataclass(frozen=True, repr=False)
class Comparison(InNotebook):
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
        paired: Whether the variances and their share are compared unit by unit, because the rows
            are the same. Probes are compared as of independent samples.
        pairing: By what the rows are the same, or why they are not paired, in words.
        pairing_message: The same as a message; None in older files.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import compare, measure
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> rows = np.random.default_rng(0).standard_normal((150, 16))
        >>> comparison = compare(measure(rows, labels), measure(np.eye(3, 16)[labels], labels))
        >>> comparison.regression, comparison.reasons[0]
        (True, 'the verdict fell from not-collapsed to collapsed')
        >>> comparison.classes_worse
        (0, 1, 2)
    """

    kind: ClassVar[str] = "comparison"

    verdict_before: Verdict
    verdict_after: Verdict
    changes: tuple[NumberChange, ...]
    classes_worse: tuple[Label, ...]
    slices_worse: tuple[str, ...]
    regression: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    reason_messages: tuple[Message, ...] = ()
    warning_messages: tuple[Message, ...] = ()
    paired: bool = False
    pairing: str = ""
    pairing_message: Message | None = None

    def card(self) -> Card:
        """Both verdicts with what got worse; a row and a bar for every number that both have."""
        names = ("name", "before", "after", "estimate", "low", "high", "direction")
        said = "; ".join(self.reasons) if self.regression else "no regression seen"
        return Card(
            f"{self.verdict_before} -> {self.verdict_after}: {said}",
            tuple(text for text in (self.pairing, *self.warnings) if text),
            tuple({name: change[name] for name in names} for change in self.changes),
            "after less before",
            tuple(Bar(c.name, c.estimate, c.low, c.high) for c in self.changes),
        )
