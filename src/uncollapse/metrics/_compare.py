"""What changed between two measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from uncollapse import records
from uncollapse.errors import InputError
from uncollapse.metrics.from_files import measure_files
from uncollapse.metrics.influences import paired_difference, pairing
from uncollapse.metrics.verdict import MOST_NAMES, by_slice
from uncollapse.probes import ProbeOptions
from uncollapse.records import Comparison, Estimate, Interval, Measurement, Message, severity
from uncollapse.statistics import difference
from uncollapse.tables import Columns, Source


def compare(
    before: Measurement | Source,
    after: Measurement | Source,
    *,
    tolerance: float = 0.0,
    columns: Columns | None = None,
) -> Comparison:
    """Compare two measurements of two models, or of one at two times.

    Of the same rows (see `influences`), variances and their share are compared unit by unit: the
    interval is Student's by the jackknife influences of the difference,

        d -+ t(f) sqrt(sum_g (b_g - a_g)^2)

    Else, and for probes, the interval of a difference joins those of its ends,

        [d - sqrt((b - b_low)^2 + (a_high - a)^2), d + sqrt((b_high - b)^2 + (a - a_low)^2)]

    for d = b - a (Zou & Donner 2008), of two independent samples. Rows are the same where both were
    measured in memory and their labels, `instances` (ids) and groups agree; without ids, where the
    labels agree row by row. `paired` says which it is, and `pairing` why.

    Args:
        before: The reference: a measurement; or rows as `measure_files` takes them (a table of
            Arrow, a file), which are measured in memory and without nulls.
        after: What is compared with it.
        tolerance: How far the share of instance variance, or a probe's accuracy, may fall, as a
            fraction of what it was.
        columns: Of rows: what is where in them.

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
    before, after = _measured(before, columns), _measured(after, columns)
    changes: list[records.NumberChange] = []
    warnings = list(_conditions_differ(before, after))
    second = _numbers(after)
    paired, why = pairing(before, after)
    for name, a in _numbers(before).items():
        b = second[name]
        if a.estimate is not None and b.estimate is not None:
            gap = paired_difference(before, after, name) if paired and name in before else None
            if gap is None:
                ends = Interval(a.estimate, a.low, a.high), Interval(b.estimate, b.low, b.high)
                gap = difference(*ends)
            changes.append(records.NumberChange(name, a.estimate, b.estimate, **vars(gap)))
        elif a.estimate is not None or b.estimate is not None:
            # Not compared, and so no sign that nothing fell.
            side = "before" if b.estimate is None else "after"
            warnings.append(Message(f"compare.only-{side}", {"name": name.replace("_", " ")}))
    reasons = []
    if severity(after.verdict) < min(severity(before.verdict), severity("cannot-tell")):
        verdicts: dict[str, records.Value] = {"before": before.verdict, "after": after.verdict}
        reasons.append(Message("compare.verdict", verdicts))
    classes = _worse({c.label: c for c in before.classes}, {c.label: c for c in after.classes})
    slices = _worse(by_slice(before.slices), by_slice(after.slices))
    for key, names in (("compare.classes", classes), ("compare.slices", slices)):
        if names:
            listed = tuple(map(str, names[:MOST_NAMES]))
            reasons.append(Message(key, {"count": len(names), "names": listed}))
    for change in changes:
        judged = change.name in {"share", "probe_knn", "probe_logistic"}
        if judged and change.high is not None and change.high < -tolerance * abs(change.before):
            name, fall = change.name, Estimate(-change.estimate, -change.high, -(change.low or 0))
            reasons.append(Message("compare.fell", {"name": name.replace("_", " "), "fall": fall}))
    return Comparison(
        before.verdict,
        after.verdict,
        tuple(changes),
        classes,
        slices,
        regression=bool(reasons),
        reasons=tuple(map(str, reasons)),
        warnings=tuple(map(str, warnings)),
        reason_messages=tuple(reasons),
        warning_messages=tuple(warnings),
        paired=paired,
        pairing=str(why),
        pairing_message=why,
    )


def _measured(given: Measurement | Source, columns: Columns | None) -> Measurement:
    if isinstance(given, Measurement):
        return given
    probe = ProbeOptions(permutations=0)
    return measure_files(given, columns=columns, stream=False, permutations=0, probe=probe)


def _numbers(measurement: Measurement) -> dict[str, Estimate | Interval]:
    """What is compared: variances, their share, and what the probes read."""
    numbers = dict(measurement.variances.items()) | {"share": measurement.share}
    for name in ("knn", "logistic"):
        read = None if measurement.probe is None else measurement.probe[name]
        numbers[f"probe_{name}"] = records.UNKNOWN if read is None else read
    return numbers


def _worse(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Names of the classes, or slices, whose verdict fell to at-risk or collapsed."""
    return tuple(
        name
        for name, part in after.items()
        if part.verdict in ("collapsed", "at-risk")
        and severity(part.verdict) < severity(before.get(name, part).verdict)
    )


def _conditions_differ(before: Measurement, after: Measurement) -> Iterator[Message]:
    for name in ("layer", "split", "dimension", "views", "groups", "confidence"):
        a, b = before.conditions[name], after.conditions[name]
        if a != b:
            yield Message("compare.differs", {"name": name, "before": a, "after": b})
    labels = {str(c.label) for c in before.classes} ^ {str(c.label) for c in after.classes}
    if labels:
        yield Message("compare.classes-differ", {"count": len(labels)})
