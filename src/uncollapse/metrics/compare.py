"""What changed between two measurements."""

from __future__ import annotations

from typing import Any

from uncollapse.errors import InputError
from uncollapse.records import (
    UNKNOWN,
    Comparison,
    Estimate,
    Interval,
    Measurement,
    NumberChange,
    severity,
)
from uncollapse.statistics import difference

__all__ = ["compare"]

_VARIANCES = (
    "within_class_variance",
    "instance_variance",
    "view_variance",
    "between_class_variance",
    "total_variance",
    "share",
)
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
    """
    if not 0 <= tolerance < 1:
        raise InputError("tolerance in [0, 1)", f"{tolerance}", "0.1 allows a fall by a tenth")
    pairs: list[_Pair] = [(name, before[name], after[name]) for name in _VARIANCES]
    pairs += [
        (f"probe_{name}", _probe(before, name), _probe(after, name)) for name in ("knn", "logistic")
    ]
    changes = tuple(change for name, a, b in pairs if (change := _change(name, a, b)) is not None)
    reasons = []
    if severity(after.verdict) < min(severity(before.verdict), severity("cannot-tell")):
        reasons.append(f"the verdict fell from {before.verdict} to {after.verdict}")
    worse = _worse(_classes(before), _classes(after))
    slices = _worse(_slices(before), _slices(after))
    for what, names in (("classes", worse), ("slices", slices)):
        if names:
            reasons.append(f"{len(names)} {what} fell: {', '.join(map(str, names[:5]))}")
    for change in changes:
        if change.name in {"share", "probe_knn", "probe_logistic"} and _fell(change, tolerance):
            reasons.append(
                f"{change.name.replace('_', ' ')} fell by {-change.estimate:.4g}"
                f" [{-(change.high or 0):.4g}, {-(change.low or 0):.4g}]"
            )
    return Comparison(
        before.verdict,
        after.verdict,
        changes,
        worse,
        slices,
        bool(reasons),
        tuple(reasons),
        _warnings(before, after) + _lost(pairs),
    )


def _probe(measurement: Measurement, name: str) -> Estimate | Interval:
    read = None if measurement.probe is None else measurement.probe[name]
    return UNKNOWN if read is None else read


def _lost(pairs: list[_Pair]) -> tuple[str, ...]:
    """What only one of the two has: not compared, and so no sign that nothing fell."""
    return tuple(
        f"{name.replace('_', ' ')} is known {'before' if b.estimate is None else 'after'} only,"
        " and so is not compared"
        for name, a, b in pairs
        if (a.estimate is None) != (b.estimate is None)
    )


def _fell(change: NumberChange, tolerance: float) -> bool:
    return change.high is not None and change.high < -tolerance * abs(change.before)


def _change(name: str, a: Estimate | Interval, b: Estimate | Interval) -> NumberChange | None:
    if a.estimate is None or b.estimate is None:
        return None
    first = Interval(a.estimate, a.low, a.high)
    change = difference(first, Interval(b.estimate, b.low, b.high))
    return NumberChange(name, a.estimate, b.estimate, **vars(change))


def _classes(found: Measurement) -> dict[Any, str]:
    return {one.label: one.verdict for one in found.classes}


def _slices(found: Measurement) -> dict[str, str]:
    return {
        f"{name}={value}": entry.verdict
        for name, column in (found.slices or {}).items()
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


def _warnings(before: Measurement, after: Measurement) -> tuple[str, ...]:
    found = []
    for name in ("layer", "split", "dimension", "views", "groups", "confidence"):
        a, b = before.conditions[name], after.conditions[name]
        if a != b:
            found.append(f"{name} differs: {a} and {b}")
    labels = {str(c.label) for c in before.classes} ^ {str(c.label) for c in after.classes}
    if labels:
        found.append(f"{len(labels)} classes are in one of the two only")
    return tuple(found)
