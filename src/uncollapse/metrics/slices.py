"""The same measures per slice: site, machine, demographic attribute.

Preventing collapse can make a bias visible or hide it. So three things are shown: how the variance
and the probe's accuracy differ between slices, and how well the slice itself can be read off the
embedding inside a class (leakage).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import comb
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from uncollapse import records
from uncollapse.metrics._expected import expected_of
from uncollapse.metrics.moments import Floats, Integers, classes_of
from uncollapse.metrics.variance import decompose
from uncollapse.metrics.verdict import judge
from uncollapse.probes import WithinClassOptions, probe_within_classes
from uncollapse.records import Estimate, Gap, Interval, Margins
from uncollapse.samples import Sample, select
from uncollapse.statistics import t_quantile


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
            gap=_gaps(values, confidence),
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
    probe = _accuracy(sample, rows, hits, confidence) if hits else None
    classes = classes_of(select(sample, rows)).of_several_units()
    if len(classes.names) < 2:
        reason = records.sentence("slice.few")
        return records.SliceMeasurement(count, 0, "cannot-tell", reason=reason, probe=probe)
    levels = decompose(classes.units, confidence=confidence)
    verdict, reasons = judge(levels, classes.names, margins)
    certainly = verdict == "collapsed"
    if certainly:
        surer = decompose(classes.units, confidence=certain)
        certainly = judge(surer, classes.names, margins)[0] == "collapsed"
    return records.SliceMeasurement(
        count,
        len(classes.names),
        verdict,
        certainly,
        reason=f"{reasons[0].code}: {reasons[0].text}",
        within_class_variance=levels.variances.within_class_variance,
        instance_variance=levels.variances.instance_variance,
        share=levels.share,
        probe=probe,
    )


def _accuracy(
    sample: Sample, rows: NDArray[np.bool_], hits: dict[str, Floats], confidence: float
) -> records.SliceProbe | None:
    """Chance-corrected accuracy of the finer labels in a slice, from out-of-fold predictions."""
    assert sample.fine_labels is not None  # else there are no hits
    labels, fine = sample.labels.codes, sample.fine_labels.codes
    independent = sample.groups or sample.instances
    units = np.arange(len(fine)) if independent is None else independent.codes
    probed = ~np.isnan(next(iter(hits.values())))
    used = rows & probed
    if not used.any():
        return None
    cells = np.unique(np.stack([labels[probed], fine[probed]]), axis=1)
    counts = np.bincount(cells[0])
    columns = np.stack([labels, fine, units])[:, used]
    return records.SliceProbe(
        **{
            name: _weighted(right[used], columns, counts, confidence)
            for name, right in hits.items()
        }
    )


def _weighted(
    right: Floats, columns: Integers, fine_counts: Integers, confidence: float
) -> Interval:
    """Every (class, finer label) cell weighs the same in its class; units are independent."""
    labels, fine, units = columns
    estimate, deviations = 0.0, np.zeros(len(right))
    classes = np.unique(labels)
    for label in classes:
        cells = np.unique(fine[labels == label])
        K = int(fine_counts[label])
        for cell in cells:
            rows = (labels == label) & (fine == cell)
            recall, scale = right[rows].mean(), (1 - 1 / K) * len(cells) * len(classes)
            estimate += (recall - 1 / K) / scale
            deviations[rows] = (right[rows] - recall) / (scale * rows.sum())
    _, codes = np.unique(units, return_inverse=True)
    summed = np.bincount(codes, weights=deviations)
    count = len(summed)
    if count < 3:
        return Interval(float(estimate))
    variance = summed @ summed * count / (count - 1)
    half = t_quantile(count - 1, confidence) * float(np.sqrt(variance))
    return Interval(float(estimate), float(estimate - half), float(estimate + half))


def _gaps(values: dict[str, records.SliceMeasurement], confidence: float) -> records.SliceGaps:
    """The largest difference between two slices, for variance and for each probe."""
    probes = {key: value.probe for key, value in values.items() if value.probe is not None}
    return records.SliceGaps(
        _gap({key: value.within_class_variance for key, value in values.items()}, confidence),
        _gap({key: value.instance_variance for key, value in values.items()}, confidence),
        _gap({key: probe.knn for key, probe in probes.items()}, confidence),
        _gap({key: probe.logistic for key, probe in probes.items()}, confidence),
    )


def _gap(entries: Mapping[str, Estimate | Interval | None], confidence: float) -> Gap | None:
    """The largest of all differences, with an interval that holds for all of them (Bonferroni)."""
    known = [
        (entry.estimate or 0.0, entry.half_width, key)
        for key, entry in sorted(entries.items())
        if entry is not None and entry.half_width is not None
    ]
    if len(known) < 2:
        return None
    low = min(known, key=itemgetter(0))
    high = max((entry for entry in known if entry is not low), key=itemgetter(0))
    alpha, pairs = 1 - confidence, comb(len(known), 2)
    factor = float(ndtri(1 - alpha / (2 * pairs)) / ndtri(1 - alpha / 2))
    half = factor * float(np.hypot(low[1], high[1]))
    estimate = high[0] - low[0]
    return Gap(estimate, estimate - half, estimate + half, smallest=low[2], largest=high[2])
