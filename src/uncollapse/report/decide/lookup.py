"""Numbers that are looked up in several places: a case's judged layer, its classes, its probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from uncollapse import records, statistics
from uncollapse.metrics import compare
from uncollapse.records import Interval, Margins, Measurement, Prediction, Reason, severity
from uncollapse.report.inputs_model import Case, Measured, known_layer
from uncollapse.report.numbers import Number
from uncollapse.report.read.settings import mean_record
from uncollapse.tables import USUAL_EMBEDDINGS

# Classes that a table or a picture of them shows, those with the least variance.
MOST_CLASSES = 24
# The parts of the variance by their short names, as attributes.
LEVELS = {
    "between": "between_class_variance",
    "within": "within_class_variance",
    "instance": "instance_variance",
    "view": "view_variance",
    "total": "total_variance",
}
# Codes of reasons that the share alone gives, and what a headline says of the share with them.
BY_SHARE = {
    "UC101": "collapsed",
    "UC201": "at-risk",
    "UC301": "cannot-tell",
    "UC302": "cannot-tell",
    "UC401": "healthy",
    "UC402": "not-collapsed",
}
# Codes that have a headline of their own.
HEADLINES = {
    "UC102", "UC103", "UC202", "UC203", "UC204", "UC205", "UC206", "UC207", "UC208", "UC209",
    "UC210", "UC211", "UC212", "UC303", "UC304", "UC305", "UC403", "UC404", "UC405",
}  # fmt: skip
# The first digit of the codes that a verdict rests on.
_DIGIT = {
    "collapsed": "1",
    "at-risk": "2",
    "cannot-tell": "3",
    "not-collapsed": "4",
    "healthy": "4",
}
# Those that rest on what is known of information.
_KNOWN = {"UC403", "UC404", "UC405"}
# Those of a comparison with a reference by finer labels.
BY_FINER = {"UC210", "UC304", "UC404"}
# The key of a headline that says the first reason.
BY_REASON = "headline.by-reason"


def interval_of(number: Number | None) -> Interval | None:
    """A number with its interval; None where there is none."""
    if number is None or number.estimate is None:
        return None
    return Interval(number.estimate, number.low, number.high)


def difference(before: Number | None, after: Number | None) -> Interval | None:
    """After minus before, as `compare` has it; None where one of them does not exist."""
    first, second = interval_of(before), interval_of(after)
    return None if first is None or second is None else statistics.difference(first, second)


def share_change(before: Measured | None, after: Measured | None) -> tuple[Interval | None, bool]:
    """What the share has changed by, and whether the rows are the same and were paired."""
    if before is None or after is None:
        return None, False
    comparison = compare(before.measurement, after.measurement)
    changes = {change.name: change for change in comparison.changes}
    return interval_of(changes.get("share")), comparison.paired


def judged(case: Case, layer: str | None) -> Measured | None:
    """The measurement that the report is about: of the layer, the projector, or the first."""
    by_layer: dict[str | None, Measured] = {m.layer: m for m in reversed(case.measured)}
    first = case.measured[0] if case.measured else None
    return by_layer.get(layer) or by_layer.get("projector", first)


def judged_cases(cases: Sequence[Case], layer: str | None) -> list[tuple[Case, Measurement]]:
    """The cases that were measured, each with its measurement of the layer."""
    pairs = [(case, judged(case, layer)) for case in cases]
    return [(case, measured.measurement) for case, measured in pairs if measured is not None]


def has_views(measurement: Measurement) -> bool:
    """Whether view noise was told from the spread between instances."""
    return measurement.instance_variance.estimate is not None


def deciding(measurement: Measurement) -> Reason | None:
    """The first reason that the verdict rests on: the first of all, but for older records."""
    digit = _DIGIT[measurement.verdict]
    fitting = (reason for reason in measurement.reasons if reason.code[2] == digit)
    return next(fitting, next(iter(measurement.reasons), None))


def is_known(measurement: Measurement) -> bool:
    """Whether the verdict rests on evidence about information."""
    reason = deciding(measurement)
    return reason is not None and reason.code in _KNOWN


def judging_margins(measurement: Measurement) -> tuple[float, float]:
    """Where the share counts as collapsed and as at risk: as the verdict had it."""
    for reason in measurement.reasons:
        low, high = (reason.values or {}).get("low"), (reason.values or {}).get("high")
        if reason.code in BY_SHARE and isinstance(low, float) and isinstance(high, float):
            return low, high
    return (measurement.conditions.margins or Margins()).for_share(None)


def named_layer(measured: Measured) -> str:
    """The layer, or the column of the embedding where its name says which it is."""
    if layer := known_layer(measured.layer):
        return layer
    name = measured.columns.get("embedding", "") or measured.layer
    several = "," in name or ".." in name
    return "" if name in ("", *USUAL_EMBEDDINGS) or several else name


def predicted_level(prediction: Prediction | None, level: str) -> float | None:
    """A part of the variance as it is predicted; None without a prediction."""
    if prediction is None:
        return None
    if level == "total":
        return prediction.within_class_variance + prediction.between_class_variance
    return float(prediction[LEVELS[level]])


def network_of(prediction: Prediction | None) -> records.NetworkPrediction | None:
    """What is predicted for a network like it; None without a calibration."""
    return None if prediction is None else prediction.network


class ClassRow(NamedTuple):
    """One class of one case, with its instance variance (within-class where there are no views)."""

    case: Case
    measured: records.ClassMeasurement
    value: records.Estimate
    predicted: float | None
    predicted_total: float | None = None

    @property
    def predicted_share(self) -> float | None:
        """Its predicted variance over the predicted total of all classes."""
        if self.predicted is None or not self.predicted_total:
            return None
        return self.predicted / self.predicted_total

    @property
    def rank(self) -> tuple[int, float]:
        """To sort by, the worst first: verdict, then share; what is not known comes last."""
        share = self.measured.share.estimate
        return severity(self.measured.verdict), float("inf") if share is None else share


def class_rows(cases: Sequence[Case], layer: str | None) -> list[ClassRow]:
    """Measured and predicted variance of each class of each case."""
    rows = []
    for case, measurement in judged_cases(cases, layer):
        part = LEVELS["instance" if has_views(measurement) else "within"]
        prediction, classes = measurement.prediction, measurement.classes
        predicted = () if prediction is None else prediction[f"{part}_per_class"]
        total = predicted_level(prediction, "total")
        if len(predicted) != len(classes):
            predicted = (None,) * len(classes)
        rows += [
            ClassRow(case, measured, getattr(measured, part), value, total)
            for measured, value in zip(classes, predicted, strict=True)
        ]
    return rows


class ProbeRow(NamedTuple):
    """What one probe read of one target at one layer: a part of the probe's record."""

    target: records.TargetProbe
    reading: records.ProbeReading

    @property
    def key(self) -> tuple[str, str, str, str, int | None]:
        """What two rows must share to be compared."""
        target, reading = self
        return target.data, target.layer, target.target, reading.probe, reading.details.shots


def probe_rows(case: Case) -> list[ProbeRow]:
    """Every reading of every probe record of a case; means of what all its runs have."""
    runs = [
        [
            ProbeRow(target, reading)
            for record in run.probes
            for target in record.targets
            for reading in target.readings
        ]
        for run in case.each
    ]
    by_key = [{row.key: row for row in rows} for rows in runs]
    shared = [[rows[row.key] for rows in by_key if row.key in rows] for row in runs[0]]
    return [_mean_row(rows) for rows in shared if len(rows) == len(runs)]


def _mean_row(rows: Sequence[ProbeRow]) -> ProbeRow:
    """The first with the mean score, and the notes of all."""
    target, reading = rows[0]
    notes = dict.fromkeys(note for row in rows for note in row.target.notes)
    score = mean_record([row.reading.score for row in rows]) if len(rows) > 1 else reading.score
    return ProbeRow(replace(target, notes=tuple(notes)), replace(reading, score=score))


def _score(case: Case, layer: str, probe: str, role: str | None = None) -> records.Score | None:
    """The first reading of the run's own data by a probe, at a layer ("" for any)."""
    for target, reading in probe_rows(case):
        own = not target.data and layer in ("", target.layer) and role in (None, target.role)
        if own and reading.probe == probe:
            return reading.score
    return None


def within_reading(case: Case, layer: str) -> Interval | None:
    """How well finer labels are read inside a class: the probe's record, else the measurement's."""
    score = _score(case, layer, "within-class linear") or _score(case, layer, "within-class knn")
    if score is not None:
        return score.chance_corrected
    for measured in case.measured:
        probe_inside = measured.measurement.probe
        if layer in ("", measured.layer) and probe_inside is not None:
            return interval_of(probe_inside.logistic)
    return None


def few_shot(case: Case, layer: str) -> tuple[int, Interval] | None:
    """Finer kinds recognised inside the classes: the most examples of each, balanced accuracy."""
    readings = [
        (reading.details.shots, interval_of(reading.score.balanced_accuracy))
        for target, reading in probe_rows(case)
        if reading.probe == "within-class few-shot"
        and not target.data
        and layer in ("", target.layer)
    ]
    known = [(shots, score) for shots, score in readings if shots and score is not None]
    return max(known, key=lambda pair: pair[0], default=None)


def few_shots(
    before: Case, after: Case, layer: str
) -> tuple[int | None, tuple[Interval | None, Interval | None]]:
    """The same of two cases, where both had as many examples."""
    first, last = few_shot(before, layer), few_shot(after, layer)
    if first is None and last is None:
        first, last = _beside_one_reference(before, after, layer)
    if first is None or last is None or first[0] != last[0]:
        return None, (None, None)
    return first[0], (first[1], last[1])


_Shots = tuple[int, Interval] | None


def _beside_one_reference(before: Case, after: Case, layer: str) -> tuple[_Shots, _Shots]:
    """Few shots of two measurements that were held against the same reference on the same rows.

    Each has the interval of its difference from the reference, around the reference's accuracy;
    that is the same number on both sides and cancels in what the two are apart.
    """
    probes = []
    for case in (before, after):
        measured = judged(case, layer)
        against = None if measured is None else measured.measurement.reference
        probes.append(None if against is None else against.probe)
    first, last = probes
    if first is None or last is None or first.reference != last.reference:
        return None, None
    placed = [
        (
            probe.shots,
            Interval(
                probe.embedding,
                *(
                    None if end is None else probe.reference + end
                    for end in (probe.difference.low, probe.difference.high)
                ),
            ),
        )
        for probe in (first, last)
    ]
    return placed[0], placed[1]


def label_reading(case: Case, layer: str) -> Interval | None:
    """Accuracy of the training label by the linear probe."""
    score = _score(case, layer, "linear", "label")
    return None if score is None else score.accuracy
