"""What changed between two measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from uncollapse.errors import InputError
from uncollapse.records import (
    UNKNOWN,
    Comparison,
    Estimate,
    Interval,
    Measurement,
    Message,
    NumberChange,
    Value,
    severity,
)
from uncollapse.statistics import difference

_VARIANCES = (
    "within_class_variance",
    "instance_variance",
    "view_variance",
    "between_class_variance",
    "total_variance",
    "share",
)
# Names of classes or slices that a reason lists.
_MOST_NAMES = 5
_Pair = tuple[str, Estimate | Interval, Estimate | Interval]


def compare(before: Measurement, after: Measurement, *, tolerance: float = 0.0) -> Comparison:
    """Compare two measurements of two models, or of one at two times.

    The interval of a difference joins those of its ends,

        [d - sqrt((b - b_low)^2 + (a_high - a)^2), d + sqrt((b_high - b)^2 + (a - a_low)^2)]

    for d = b - a (Zou & Donner 2008), as if the two samples were independent; measured on the same
    rows they usually vary together, and then it is too long.

    Args:
        before: The reference.
        after: What is compared with it.
        tolerance: How far the share of instance variance, or a probe's accuracy, may fall, as a
            fraction of what it was.

    Raises:
        InputError: tolerance outside [0, 1).

    Examples:
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> noise = np.random.default_rng(0).standard_normal((150, 16))
        >>> before, after = (measure(np.eye(3, 16)[labels] + s * noise, labels) for s in (0.1, 0.3))
        >>> changes = {change.name: change.direction for change in compare(before, after).changes}
        >>> changes["share"], compare(before, after).regression
        ('rose', False)
    """
    if not 0 <= tolerance < 1:
        raise InputError("tolerance in [0, 1)", f"{tolerance}", "0.1 allows a fall by a tenth")
    pairs: list[_Pair] = [(name, before[name], after[name]) for name in _VARIANCES]
    pairs += [
        (f"probe_{name}", _probe(before, name), _probe(after, name)) for name in ("knn", "logistic")
    ]
    changes = tuple(change for name, a, b in pairs if (change := _change(name, a, b)) is not None)
    classes, slices = (
        _worse(_classes(before), _classes(after)),
        _worse(_slices(before), _slices(after)),
    )
    reasons = _reasons(before, after, classes, slices)
    for change in changes:
        judged = change.name in {"share", "probe_knn", "probe_logistic"}
        if judged and change.high is not None and change.high < -tolerance * abs(change.before):
            name, fall = change.name, Estimate(-change.estimate, -change.high, -(change.low or 0))
            reasons.append(Message("compare.fell", {"name": name.replace("_", " "), "fall": fall}))
    warnings = [*_warnings(before, after), *_lost(pairs)]
    return Comparison(
        before.verdict,
        after.verdict,
        changes,
        classes,
        slices,
        regression=bool(reasons),
        reasons=tuple(map(str, reasons)),
        warnings=tuple(map(str, warnings)),
        reason_messages=tuple(reasons),
        warning_messages=tuple(warnings),
    )


def _reasons(
    before: Measurement, after: Measurement, classes: Sequence[Any], slices: Sequence[str]
) -> list[Message]:
    """Verdicts that fell."""
    reasons = []
    if severity(after.verdict) < min(severity(before.verdict), severity("cannot-tell")):
        ends: dict[str, Value] = {"before": before.verdict, "after": after.verdict}
        reasons.append(Message("compare.verdict", ends))
    for key, names in (("compare.classes", classes), ("compare.slices", slices)):
        if names:
            listed = tuple(map(str, names[:_MOST_NAMES]))
            reasons.append(Message(key, {"count": len(names), "names": listed}))
    return reasons


def _probe(measurement: Measurement, name: str) -> Estimate | Interval:
    read = None if measurement.probe is None else measurement.probe[name]
    return UNKNOWN if read is None else read


def _lost(pairs: Sequence[_Pair]) -> Iterator[Message]:
    """What only one of the two has: not compared, and so no sign that nothing fell."""
    for name, a, b in pairs:
        if (a.estimate is None) != (b.estimate is None):
            side = "before" if b.estimate is None else "after"
            yield Message(f"compare.only-{side}", {"name": name.replace("_", " ")})


def _change(name: str, a: Estimate | Interval, b: Estimate | Interval) -> NumberChange | None:
    if a.estimate is None or b.estimate is None:
        return None
    first = Interval(a.estimate, a.low, a.high)
    change = difference(first, Interval(b.estimate, b.low, b.high))
    return NumberChange(name, a.estimate, b.estimate, **vars(change))


def _classes(measurement: Measurement) -> dict[Any, str]:
    return {entry.label: entry.verdict for entry in measurement.classes}


def _slices(measurement: Measurement) -> dict[str, str]:
    return {
        f"{name}={value}": entry.verdict
        for name, column in (measurement.slices or {}).items()
        for value, entry in column.values.items()
    }


def _worse(before: dict[Any, str], after: dict[Any, str]) -> tuple[Any, ...]:
    """Names whose verdict fell to at-risk or collapsed."""
    return tuple(
        name
        for name, verdict in after.items()
        if verdict in ("collapsed", "at-risk")
        and severity(verdict) < severity(before.get(name, verdict))
    )


def _warnings(before: Measurement, after: Measurement) -> Iterator[Message]:
    for name in ("layer", "split", "dimension", "views", "groups", "confidence"):
        a, b = before.conditions[name], after.conditions[name]
        if a != b:
            yield Message("compare.differs", {"name": name, "before": a, "after": b})
    labels = {str(c.label) for c in before.classes} ^ {str(c.label) for c in after.classes}
    if labels:
        yield Message("compare.classes-differ", {"count": len(labels)})
