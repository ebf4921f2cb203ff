"""The same measures per slice: site, machine, demographic attribute.

Preventing collapse can make a bias visible or hide it. So three things are shown: how the variance
and the probe's accuracy differ between slices, and how well the slice itself can be read off the
embedding inside a class (leakage).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uncollapse import records
from uncollapse.metrics._expected import expected_of
from uncollapse.metrics._few import shown, shown_class, units_of
from uncollapse.metrics._gaps import accuracy, gaps
from uncollapse.metrics.classes import Classes, classes_of
from uncollapse.metrics.features import Floats
from uncollapse.metrics.variance import decompose
from uncollapse.metrics.verdict import Known, judge, judge_share
from uncollapse.probes import WithinClassOptions, probe_within_classes
from uncollapse.records import Margins
from uncollapse.samples import Sample, select, with_copies


def measure_slices(
    sample: Sample,
    hits: dict[str, Floats],
    margins: Margins,
    prediction: records.Prediction | None,
    options: WithinClassOptions | None,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, records.SliceColumn] | None:
    """What each slice column shows; None when there is none.

    Hits say of each row whether its finer label was read right out of fold, by probe. Options are
    those of the probe of leakage.
    """
    if not sample.slices:
        return None
    expected = expected_of(prediction)
    low, high = margins.for_share(None if expected is None else expected.share)
    margins = replace(margins, collapsed=low, healthy=high)
    count = sum(len(column.names) for column in sample.slices.values())
    # The level of one slice at which what is said of all of them holds at once (Bonferroni).
    certain = 1 - (1 - confidence) / max(count, 1)
    columns = {}
    for name, column in sample.slices.items():
        values = {
            str(value): _one_slice(sample, column.codes == code, margins, confidence, certain, hits)
            for code, value in enumerate(column.names)
        }
        columns[name] = records.SliceColumn(
            values,
            missing_rows=int(np.count_nonzero(column.codes < 0)),
            gap=gaps(sample, column, values, hits, confidence),
            leakage=None if options is None else probe_within_classes(sample, column, options, rng),
        )
    return columns


def _one_slice(
    sample: Sample,
    rows: NDArray[np.bool_],
    margins: Margins,
    confidence: float,
    certain: float,
    hits: dict[str, Floats],
) -> records.SliceMeasurement:
    """Variances, verdict and probe accuracy of the rows of one slice."""
    count = int(rows.sum())
    each = ((name, accuracy(sample, rows, right, confidence)) for name, right in hits.items())
    read = {name: interval for name, interval in each if interval is not None}
    probe = records.SliceProbe(**read) if read else None
    # What is a copy among all rows may be a collapsed slice.
    classes = classes_of(with_copies(select(sample, rows))).of_several_units()
    if len(classes.names) == 1:
        return _one_class(sample, classes, margins, (confidence, certain), (count, probe))
    if not classes.names:
        reason = records.sentence("slice.few")
        return records.SliceMeasurement(count, 0, "cannot-tell", reason=reason, probe=probe)
    levels = decompose(classes.units, confidence=confidence)
    told = shown(levels, units_of(classes.units))
    verdict, reasons = judge(levels, classes.names, margins, known=Known(told=told))
    certainly = verdict == "collapsed"
    if certainly:
        surer = decompose(classes.units, confidence=certain)
        # Whether so few units agree by chance does not depend on how many other slices there are.
        surer = replace(surer, enough_units=levels.enough_units)
        certainly = judge(surer, classes.names, margins)[0] == "collapsed"
    return records.SliceMeasurement(
        count,
        len(classes.names),
        verdict,
        certainly,
        reason=f"{reasons[0].code}: {reasons[0].text}",
        within_class_variance=told.variances.within_class_variance,
        instance_variance=told.variances.instance_variance,
        share=told.share,
        probe=probe,
        units=units_of(classes.units),
    )


def _one_class(
    sample: Sample,
    part: Classes,
    margins: Margins,
    confidence: tuple[float, float],
    read: tuple[int, records.SliceProbe | None],
) -> records.SliceMeasurement:
    """A slice of one class: its variance, as a share of the total of all rows of all classes."""
    whole = classes_of(sample).of_several_units()
    at = whole.names.index(part.names[0])
    units = [*whole.units[:at], part.units[0], *whole.units[at + 1 :]]
    levels, surer = (decompose(units, confidence=one) for one in confidence)
    level = levels.per_class[at]
    told = shown_class(level, levels.variances.total_variance)
    bounds = margins.for_share(None)
    verdict = judge_share(level.share, bounds, level.enough_units)
    certainly = judge_share(surer.per_class[at].share, bounds, level.enough_units) == "collapsed"
    key = "class.no-interval" if level.share.low is None else "slice.one-class"
    values: dict[str, records.Value] = {"share": told.share, "low": bounds[0], "high": bounds[1]}
    return records.SliceMeasurement(
        read[0],
        1,
        verdict,
        certainly,
        reason=records.sentence(key, values),
        share=told.share,
        probe=read[1],
        units=part.units[0].units,
    )
