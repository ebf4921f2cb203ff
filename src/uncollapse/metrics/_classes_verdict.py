"""The verdict of every class, by its own share and its own retention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uncollapse.metrics._evidence import is_kept, labels_lost, retention_values
from uncollapse.metrics._expected import Expected, expected_of, expected_per_class, reached
from uncollapse.metrics._few import KIND, UNSEEN, missed, shown_class
from uncollapse.metrics.classes import Classes
from uncollapse.metrics.variance import Decomposition
from uncollapse.metrics.verdict import judge_share
from uncollapse.records import (
    ClassMeasurement,
    Margins,
    Prediction,
    ReferenceComparison,
    Value,
    Verdict,
    sentence,
)


def judge_classes(
    classes: Classes,
    levels: Decomposition,
    margins: Margins,
    prediction: Prediction | None,
    reference: ReferenceComparison | None,
) -> Iterator[ClassMeasurement]:
    """Every class with the verdict of its own share and of its own retention, and why."""
    kept = {} if reference is None else {one.label: one.retention for one in reference.classes}
    lost = reference is not None and labels_lost(reference.probe, margins)
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
        elif verdict == "collapsed" and missed(moments.units) > UNSEEN:
            key = "class.rare"
        judged = level.within if level.instance.estimate is None else level.instance
        is_reached = reached(level.share, judged, predicted, margins)
        if verdict == "not-collapsed" and is_reached and not lost:
            verdict, key = "healthy", "class.reached"
        values: dict[str, Value] = {
            "low": low,
            "high": high,
            "predicted": attainable,
            "units": moments.units,
            "kind": KIND,
            "missed": missed(moments.units),
        }
        if reference is not None and (own := kept.get(name)) is not None:
            verdict, key = _by_retention(verdict, key, is_kept(own, margins), lost)
            values |= retention_values(reference.name, own, margins)
        told = shown_class(level, levels.variances.total_variance)
        reason = sentence(key, {"share": told.share, **values})
        estimates = told.within, told.instance, told.view, told.share
        yield ClassMeasurement(name, moments.samples, verdict, reason, *estimates)


def _by_retention(verdict: Verdict, key: str, kept: bool | None, lost: bool) -> tuple[Verdict, str]:
    """The verdict of a class and the key of its reason, given whether its structure is kept.

    Where finer labels are lost over all classes (they outrank retention), none is healthy by it.
    """
    if kept is None or (verdict == "collapsed" and not kept):
        return verdict, key
    if not kept:
        return "at-risk", "class.lost"
    if verdict == "collapsed":
        return "at-risk", "class.kept-small"
    return (verdict, "class.kept-labels") if lost else ("healthy", "class.kept")
