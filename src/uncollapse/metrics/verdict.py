"""The verdict and its reasons, each with what it was judged by and what to try.

The judged quantity is the share: variance between instances of a class over total variance (within-
class variance over total, when no views tell instances apart). Its margins are declared, because no
standard threshold exists; a prediction for the run's own setting lowers them when it says that less
spread is attainable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from uncollapse import records
from uncollapse.metrics._evidence import Evidence, evidence_of, is_kept, retention_values
from uncollapse.metrics._expected import (
    Expected,
    expected_of,
    expected_per_class,
    for_new_instances,
    reached,
)
from uncollapse.metrics.moments import Classes
from uncollapse.metrics.variance import Decomposition
from uncollapse.records import Margins, Prediction, Reason, SliceColumn, Value, Verdict

# Total variance below which float64 knows no shares of it: one point, and so collapsed.
ONE_POINT = 1e-9
# Names of classes or slices that a reason lists.
MOST_NAMES = 5


def judge_share(
    share: records.Estimate, margins: tuple[float, float], enough_units: bool = True
) -> Verdict:
    """The verdict of one interval: where it lies against the two margins.

    Without enough units, little variance may be nothing but chance. A share says nothing about
    information, so that it is never healthy.
    """
    low, high = share.low, share.high
    if low is None or high is None or (high < margins[1] and not enough_units):
        return "cannot-tell"
    if high < margins[0]:
        return "collapsed"
    if low > margins[1]:
        return "not-collapsed"
    return "at-risk" if high < margins[1] else "cannot-tell"


@dataclass(frozen=True)
class Known:
    """What is known besides the variances."""

    probe: records.WithinClassProbe | None = None
    slices: Mapping[str, SliceColumn] | None = None
    reference: records.ReferenceComparison | None = None


NOTHING = Known()


def judge_classes(
    classes: Classes,
    levels: Decomposition,
    margins: Margins,
    prediction: Prediction | None,
    reference: records.ReferenceComparison | None = None,
) -> Iterator[records.ClassMeasurement]:
    """Every class with the verdict of its own share and of its own retention, and why."""
    kept = {} if reference is None else {one.label: one.retention for one in reference.classes}
    expected: Sequence[Expected | None] = [expected_of(prediction)] * len(classes.names)
    if prediction is not None and len(prediction.instance_variance_per_class) == len(expected):
        expected = expected_per_class(prediction)
    for name, moments, level, predicted in zip(
        classes.names, classes.units, levels.per_class, expected, strict=True
    ):
        attainable = None if predicted is None else predicted.share
        low, high = margins.for_share(attainable)
        verdict = judge_share(level.share, (low, high), level.enough_units)
        key = "class.margins" if attainable is None else "class.margins-predicted"
        if level.share.low is None:
            key = "class.no-interval"
        elif verdict == "cannot-tell" and not level.enough_units:
            key = "class.few"
        judged = level.within if level.instance.estimate is None else level.instance
        if verdict == "not-collapsed" and reached(level.share, judged, predicted, margins):
            verdict, key = "healthy", "class.reached"
        values: dict[str, Value] = {"low": low, "high": high, "predicted": attainable}
        if reference is not None and (own := kept.get(name)) is not None:
            verdict, key = _by_retention(verdict, key, is_kept(own, margins))
            values |= retention_values(reference.name, own, margins)
        reason = records.sentence(key, {"share": level.share, **values})
        estimates = level.within, level.instance, level.view, level.share
        yield records.ClassMeasurement(name, moments.samples, verdict, reason, *estimates)


def _by_retention(verdict: Verdict, key: str, kept: bool | None) -> tuple[Verdict, str]:
    """The verdict of a class and the key of its reason, given whether its structure is kept."""
    if kept is None or (verdict == "collapsed" and not kept):
        return verdict, key
    if not kept:
        return "at-risk", "class.lost"
    return ("at-risk", "class.kept-small") if verdict == "collapsed" else ("healthy", "class.kept")


def judge(
    levels: Decomposition,
    names: Sequence[Any],
    margins: Margins,
    prediction: Prediction | None = None,
    known: Known = NOTHING,
) -> tuple[Verdict, tuple[Reason, ...]]:
    """The overall verdict and its reasons, the deciding one first: see docs/verdict.md."""
    expected = expected_of(prediction)
    bounds = margins.for_share(None if expected is None else expected.share)
    by_share = judge_share(levels.share, bounds, levels.enough_units)
    evidence = evidence_of(known.reference, known.probe, margins)
    if evidence is None and by_share == "not-collapsed":
        evidence = _reached(levels, expected, margins)
    kept = None if evidence is None else evidence.kept
    lost = [evidence.reason] if evidence is not None and kept is False else []
    findings = [
        *_findings(levels, names, margins, bounds[0], known.slices),
        *([] if kept else _optimum(prediction, "UC203")),
        *_probed(known.probe, "no-information", "UC205"),
    ]
    verdict, reasons = by_share, [_share(by_share, levels, bounds, expected)]
    if by_share == "collapsed":
        reasons += lost + findings
    elif lost or findings:
        # Of cannot-tell too: to know less of the whole does not make a finding milder. What turned
        # the verdict is said first, what the share alone would say after it.
        verdict = "at-risk"
        reasons = lost + (reasons + findings if by_share == "at-risk" else findings + reasons)
    elif evidence is not None and kept:
        verdict, reasons = "healthy", [evidence.reason]
    elif evidence is not None:
        reasons = (
            [evidence.reason, *reasons] if by_share != "at-risk" else [*reasons, evidence.reason]
        )
    if one_point := _constant(levels, ONE_POINT, "UC103"):
        verdict, reasons = "collapsed", one_point + reasons
    usable = _probed(known.probe, "information", "UC207") + _small(evidence)
    if verdict == "collapsed" and usable:
        verdict, reasons = "at-risk", usable + reasons
    beside = () if evidence is None else evidence.beside
    optimum = _optimum(prediction, "UC506") if kept else ()
    return verdict, (*reasons, *beside, *optimum, *_besides(levels, margins, prediction))


def _small(evidence: Evidence | None) -> list[Reason]:
    """What to say of a collapsed variance that still holds the reference's structure."""
    if evidence is None or evidence.reason.code != "UC403":
        return []
    return [Reason.from_code("UC211", **(evidence.reason.values or {}))]


def _share(
    verdict: Verdict,
    levels: Decomposition,
    bounds: tuple[float, float],
    expected: Expected | None,
) -> Reason:
    views = levels.has_views
    level = "instances" if views else "within"
    values: dict[str, Value] = {"low": bounds[0], "high": bounds[1]}
    if expected is not None:
        values["predicted"] = expected.share
    if verdict == "cannot-tell" and levels.share.low is None:
        return Reason.from_code("UC301", **values)
    values["share"] = levels.share
    if verdict == "cannot-tell":
        variant = level if levels.enough_units else f"few-{level}"
        return Reason.from_code("UC302", variant, **values)
    if verdict == "not-collapsed":
        return Reason.from_code("UC402", level, **values)
    within = levels.variances.within_class_variance
    if views and within.low is not None and within.low > bounds[1]:
        code = "UC102" if verdict == "collapsed" else "UC206"
        return Reason.from_code(code, **values, within=within)
    return Reason.from_code("UC101" if verdict == "collapsed" else "UC201", level, **values)


def _reached(levels: Decomposition, expected: Expected | None, margins: Margins) -> Evidence | None:
    """That the spread predicted for the setting is there, if it is."""
    if expected is None or not reached(levels.share, levels.judged, expected, margins):
        return None
    low, high = margins.reached * expected.share, expected.share / margins.reached
    variant = "instances" if levels.has_views else "within"
    ends: dict[str, Value] = {"low": low, "high": high, "predicted": expected.share}
    return Evidence(True, Reason.from_code("UC405", variant, share=levels.share, **ends))


def _findings(
    levels: Decomposition,
    names: Sequence[Any],
    margins: Margins,
    collapsed: float,
    slices: Mapping[str, SliceColumn] | None,
) -> Iterator[Reason]:
    """What speaks against an embedding whatever its share: noise, collapsed classes and slices."""
    ratio, view = levels.noise_ratio, levels.variances.view_variance
    whole = levels.share.high
    one_point = whole is not None and whole < collapsed and levels.enough_units
    if not one_point and ratio.high is not None and ratio.high < margins.noise:
        yield Reason.from_code("UC202", ratio=ratio, view=view, margin=margins.noise)
    # By intervals that hold for all classes (or slices) at once: among 1000 healthy classes, 25
    # would be called something else at 95 % each.
    high = [level.certain_high for level in levels.per_class]
    yield from _collapsed(
        "UC204", names, [h is not None and h < collapsed for h in high], collapsed
    )
    parts = by_slice(slices)
    surely = [part.certainly_collapsed for part in parts.values()]
    yield from _collapsed("UC208", list(parts), surely, collapsed)


def _optimum(prediction: Prediction | None, code: str) -> Iterator[Reason]:
    """That the loss of this setting is lowest where nothing is spread, if it is."""
    if prediction is not None and prediction.phase != "spread":
        variance = prediction.instance_variance
        yield Reason.from_code(code, phase=prediction.phase, variance=variance)


def _constant(levels: Decomposition, margin: float, code: str) -> list[Reason]:
    total = levels.variances.total_variance
    if total.high is None or total.high >= margin:
        return []
    return [Reason.from_code(code, total=total, margin=margin)]


def by_slice(columns: Mapping[str, SliceColumn] | None) -> dict[str, records.SliceMeasurement]:
    """The slices of all columns by name, as COLUMN=VALUE."""
    return {
        f"{name}={value}": part
        for name, column in (columns or {}).items()
        for value, part in column.values.items()
    }


def _collapsed(
    code: str, parts: Sequence[Any], collapsed: Sequence[bool], margin: float
) -> list[Reason]:
    """The reason that parts of the whole (classes, slices) are collapsed, if any is."""
    names = [str(part) for part in compress(parts, collapsed)]
    if not names:
        return []
    listed = (*names[:MOST_NAMES], *(["..."] if len(names) > MOST_NAMES else []))
    return [Reason.from_code(code, count=len(names), all=len(parts), names=listed, margin=margin)]


def _probed(probe: records.WithinClassProbe | None, verdict: str, code: str) -> list[Reason]:
    """What the probe read, if it came to this verdict."""
    if probe is None or probe.verdict != verdict or probe.null is None:
        return []
    knn, logistic = (
        None if read is None else records.Estimate(read.estimate, read.low, read.high)
        for read in (probe.knn, probe.logistic)
    )
    return [Reason.from_code(code, knn=knn, logistic=logistic, p_value=probe.null.p_value)]


def _besides(
    levels: Decomposition, margins: Margins, prediction: Prediction | None
) -> Iterator[Reason]:
    """What the reader must know besides."""
    yield from _constant(levels, margins.constant, "UC504")
    if levels.variances.view_variance.estimate is None:
        yield Reason.from_code("UC501")
    between = levels.variances.between_class_variance
    least = between.estimate if between.low is None else between.low
    if least is not None and least <= 0:
        yield Reason.from_code("UC502", between=between)
    if prediction is not None:
        within, expected = levels.variances.within_class_variance, for_new_instances(prediction)
        side = _side(within, expected)
        yield Reason.from_code("UC503", side, measured=within, predicted=expected)


def _side(measured: records.Estimate, expected: float) -> str:
    if measured.low is None or measured.high is None:
        return "beside"
    if measured.high < expected:
        return "below"
    return "above" if measured.low > expected else "consistent"
