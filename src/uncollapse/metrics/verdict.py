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
from uncollapse.metrics._direction_reasons import another_direction, one_direction
from uncollapse.metrics._evidence import Evidence, evidence_of
from uncollapse.metrics._expected import (
    Expected,
    expected_of,
    for_new_instances,
    reached,
)
from uncollapse.metrics._few import KIND, RARE_KIND, UNSEEN, missed
from uncollapse.metrics._network import beside_network
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
    units: int | None = None  # of the whole; None for a part
    told: Decomposition | None = None  # the variances as they are shown, of few units
    direction: records.FirstDirection | None = None
    layer: str | None = None
    same_views: bool = False  # whether there were views, and they coincide


NOTHING = Known()


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
    if (evidence is None or evidence.says_nothing) and by_share == "not-collapsed":
        evidence = _reached(levels, expected, margins) or evidence
    kept = None if evidence is None else evidence.kept
    lost = [evidence.reason] if evidence is not None and kept is False else []
    findings = [
        *([] if kept else one_direction(by_share, known.direction, bounds[1])),
        *_findings(levels, names, margins, bounds[0], known.slices),
        *([] if kept else _optimum(prediction, "UC203")),
        *_probed(known.probe, "no-information", "UC205"),
    ]
    verdict, reasons = by_share, [_share(by_share, levels, bounds, expected, known)]
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
    return verdict, (
        *reasons,
        *beside,
        *optimum,
        *_besides(levels, margins, prediction, known),
    )


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
    known: Known,
) -> Reason:
    views = levels.has_views
    level = "instances" if views else "within"
    values: dict[str, Value] = {"low": bounds[0], "high": bounds[1]}
    if expected is not None:
        values["predicted"] = expected.share
    if verdict == "cannot-tell" and levels.share.low is None:
        return Reason.from_code("UC301", **values)
    told = known.told or levels
    values["share"] = told.share
    if verdict == "cannot-tell":
        variant = level if levels.enough_units else f"few-{level}"
        if variant != level and known.units is not None:
            variant = f"rare-{level}"
            values |= {"units": known.units, "kind": KIND, "missed": missed(known.units)}
        return Reason.from_code("UC302", variant, **values)
    if verdict == "not-collapsed":
        return Reason.from_code("UC402", level, **values)
    within = levels.variances.within_class_variance
    if views and within.low is not None and within.low > bounds[1]:
        code = "UC102" if verdict == "collapsed" else "UC206"
        return Reason.from_code(code, **values, within=told.variances.within_class_variance)
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
    surely = [end is not None and end < collapsed for end in high]
    units = [level.units for level in levels.per_class]
    yield from _collapsed("UC204", names, surely, units, collapsed)
    parts = by_slice(slices)
    surely = [part.certainly_collapsed for part in parts.values()]
    units = [part.units or part.count for part in parts.values()]
    yield from _collapsed("UC208", list(parts), surely, units, collapsed)


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
    code: str,
    parts: Sequence[Any],
    collapsed: Sequence[bool],
    units: Sequence[int],
    margin: float,
) -> list[Reason]:
    """The reason that parts of the whole (classes, slices) are collapsed, if any is."""
    names = [str(part) for part in compress(parts, collapsed)]
    if not names:
        return []
    listed = (*names[:MOST_NAMES], *(["..."] if len(names) > MOST_NAMES else []))
    values: dict[str, Value] = {"count": len(names), "all": len(parts), "names": listed}
    fewest, variant = min(compress(units, collapsed)), ""
    if missed(fewest) > UNSEEN:
        variant = "few"
        values |= {"units": fewest, "kind": KIND, "missed": missed(fewest)}
    return [Reason.from_code(code, variant, **values, margin=margin)]


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
    levels: Decomposition,
    margins: Margins,
    prediction: Prediction | None,
    known: Known,
) -> Iterator[Reason]:
    """What the reader must know besides."""
    told = known.told or levels
    if known.units is not None and told.share.low is None and levels.share.low is not None:
        unseen = missed(known.units, RARE_KIND)
        yield Reason.from_code("UC509", units=known.units, kind=RARE_KIND, missed=unseen)
    elif known.units is not None and levels.hides_total:
        yield Reason.from_code("UC509", "total")
    yield from another_direction(known.direction, len(levels.per_class))
    yield from _constant(levels, margins.constant, "UC504")
    if levels.variances.view_variance.estimate is None:
        yield Reason.from_code("UC513" if known.same_views else "UC501")
    between = told.variances.between_class_variance
    least = between.estimate if between.low is None else between.low
    if least is not None and least <= 0:
        yield Reason.from_code("UC502", between=between)
    if prediction is not None:
        within, expected = told.variances.within_class_variance, for_new_instances(prediction)
        side = _side(within, expected)
        yield Reason.from_code("UC503", side, measured=within, predicted=expected)
        if prediction.network is not None:
            yield from beside_network(prediction.network, within, known.layer)


def _side(measured: records.Estimate, expected: float) -> str:
    if measured.low is None or measured.high is None:
        return "beside"
    if measured.high < expected:
        return "below"
    return "above" if measured.low > expected else "consistent"
