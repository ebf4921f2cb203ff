"""Numbers that are looked up in several places: a case's judged layer, its probes, its cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from uncollapse.records import ClassMeasurement, Estimate, Interval, Measurement, Prediction
from uncollapse.report.inputs_model import Case, Measured
from uncollapse.report.intervals import interval_of
from uncollapse.statistics import mean_interval

__all__ = [
    "LEVELS",
    "MOST_CLASSES",
    "ClassRow",
    "ProbeRow",
    "class_rows",
    "has_views",
    "judged",
    "judged_cases",
    "label_reading",
    "predicted_level",
    "probe_rows",
    "seconds",
    "within_reading",
]

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


def judged(case: Case, layer: str | None = None) -> Measured | None:
    """The measurement that the report is about: of the layer, the projector, or the first."""
    for wanted in (layer, "projector"):
        for measured in case.measured:
            if wanted is not None and measured.layer == wanted:
                return measured
    return case.measured[0] if case.measured else None


def judged_cases(cases: Sequence[Case], layer: str | None) -> list[tuple[Case, Measurement]]:
    """The cases that were measured, each with its measurement of the layer."""
    pairs = [(case, judged(case, layer)) for case in cases]
    return [(case, measured.measurement) for case, measured in pairs if measured is not None]


def has_views(measurement: Measurement) -> bool:
    """Whether view noise was told from the spread between instances."""
    return measurement.instance_variance.estimate is not None


def predicted_level(prediction: Prediction | None, level: str) -> float | None:
    """A part of the variance as it is predicted; None without a prediction."""
    if prediction is None:
        return None
    if level == "total":
        return prediction.within_class_variance + prediction.between_class_variance
    return float(prediction[LEVELS[level]])


@dataclass(frozen=True)
class ClassRow:
    """One class of one case.

    Attributes:
        case: Where it was measured.
        measured: What was found in the class.
        value: Its instance variance, or within-class variance where there are no views.
        predicted: The same as it is predicted; None where it is not.
    """

    case: Case
    measured: ClassMeasurement
    value: Estimate
    predicted: float | None

    @property
    def rank(self) -> float:
        """The value, to sort by; what is not known comes last."""
        return float("inf") if self.value.estimate is None else self.value.estimate


def class_rows(cases: Sequence[Case], layer: str | None) -> list[ClassRow]:
    """Measured and predicted variance of each class of each case."""
    rows = []
    for case, measurement in judged_cases(cases, layer):
        part = LEVELS["instance" if has_views(measurement) else "within"]
        prediction, classes = measurement.prediction, measurement.classes
        predicted = () if prediction is None else prediction[f"{part}_per_class"]
        if len(predicted) != len(classes):
            predicted = (None,) * len(classes)
        rows += [
            ClassRow(case, measured, getattr(measured, part), value)
            for measured, value in zip(classes, predicted, strict=True)
        ]
    return rows


@dataclass(frozen=True)
class ProbeRow:
    """What one probe read of one target at one layer.

    Attributes:
        data, layer, target, role, probe: As the probe's record has them.
        shots: Of the few-shot probe; None otherwise.
        score: Above chance (0 chance, 1 perfect).
        accuracy: The plain accuracy.
        rows: Test rows.
        notes: What the record says of the target.
    """

    data: str
    layer: str
    target: str
    role: str
    probe: str
    shots: int | None
    score: Interval
    accuracy: Interval
    rows: int
    notes: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str, str, int | None]:
        """What two rows must share to be compared."""
        return self.data, self.layer, self.target, self.probe, self.shots


def probe_rows(case: Case) -> Iterator[ProbeRow]:
    """Every reading of every probe record of a case; means over its runs where it has several.

    What not every run has is left out.
    """
    if not case.runs:
        yield from _rows_of_run(case)
        return
    by_key = [{row.key: row for row in _rows_of_run(run)} for run in case.runs]
    for key, first in by_key[0].items():
        rows = [run[key] for run in by_key if key in run]
        if len(rows) == len(by_key):
            yield replace(
                first,
                score=mean_interval([row.score.estimate for row in rows]),
                accuracy=mean_interval([row.accuracy.estimate for row in rows]),
                notes=tuple(dict.fromkeys(note for row in rows for note in row.notes)),
            )


def _rows_of_run(run: Case) -> Iterator[ProbeRow]:
    for target in (target for record in run.probes for target in record.targets):
        for reading in target.readings:
            yield ProbeRow(
                target.data,
                target.layer,
                target.target,
                target.role,
                reading.probe,
                reading.details.shots,
                reading.score.chance_corrected,
                reading.score.accuracy,
                target.sizes.test,
                target.notes,
            )


def within_reading(case: Case, layer: str) -> Interval | None:
    """How well finer labels are read inside a class: the probe's record, else the measurement's."""
    for probe in ("within-class linear", "within-class knn"):
        for row in probe_rows(case):
            if row.probe == probe and not row.data and layer in ("", row.layer):
                return row.score
    for measured in case.measured:
        found = measured.measurement.probe
        if layer in ("", measured.layer) and found is not None:
            return interval_of(found.logistic)
    return None


def label_reading(case: Case, layer: str) -> Interval | None:
    """Accuracy of the training label by the linear probe."""
    for row in probe_rows(case):
        if (row.role, row.probe, row.data) == ("label", "linear", "") and layer in ("", row.layer):
            return row.accuracy
    return None


def seconds(case: Case) -> float | None:
    """Training time of a run, which its journal adds up; None where it is not recorded."""
    return case.history[-1].seconds if case.history else None
