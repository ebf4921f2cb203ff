"""Numbers that are looked up in several places: a case's judged layer, its probes, its cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from uncollapse.report.inputs_model import Case, Measured
from uncollapse.report.messages import estimate
from uncollapse.report.read.over_seeds import over_seeds

__all__ = [
    "MOST_CLASSES",
    "Read",
    "judged",
    "label_reading",
    "readings",
    "seconds",
    "within_reading",
]


# Classes that a table or a picture of them shows, those with the least variance.
MOST_CLASSES = 24


@dataclass(frozen=True)
class Read:
    """One row of a probe's record.

    Attributes:
        data, layer, target, role, probe: As the record has them.
        shots: Of the few-shot probe; None otherwise.
        score: Estimate above chance (0 chance, 1 perfect).
        accuracy: Estimate of the plain accuracy.
        classes, rows: Labels, and test rows.
        notes: What the record says of the target.
    """

    data: str
    layer: str
    target: str
    role: str
    probe: str
    shots: int | None
    score: dict[str, float | None]
    accuracy: dict[str, float | None] | None
    classes: int
    rows: int
    notes: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str, str, int | None]:
        """What two readings must share to be compared."""
        return self.data, self.layer, self.target, self.probe, self.shots


def readings(case: Case) -> Iterator[Read]:
    """Every reading of every probe record of a case; means over its runs where it has several.

    What is garbled is left out, and so is what not every run has.
    """
    if not case.runs:
        yield from _readings(case)
        return
    by_key = [{read.key: read for read in _readings(run)} for run in case.runs]
    for key, first in by_key[0].items():
        reads = [of[key] for of in by_key if key in of]
        if len(reads) == len(by_key):
            yield replace(
                first,
                score=_mean([read.score for read in reads]),
                accuracy=None
                if any(read.accuracy is None for read in reads)
                else _mean([read.accuracy or {} for read in reads]),
                notes=tuple(dict.fromkeys(note for read in reads for note in read.notes)),
            )


def _mean(records: list[dict[str, float | None]]) -> dict[str, float | None]:
    return over_seeds([float(one["estimate"] or 0.0) for one in records])


def _readings(case: Case) -> Iterator[Read]:
    for record in case.probes:
        for target in record.get("targets") or ():
            for one in target.get("readings") or ():
                scores = one.get("score") or {}
                score = estimate(scores.get("chance_corrected"))
                if score is None:
                    continue
                yield Read(
                    str(target.get("data", "")),
                    str(target.get("layer", "")),
                    str(target.get("target", "")),
                    str(target.get("role", "")),
                    str(one.get("probe", "")),
                    (one.get("details") or {}).get("shots"),
                    score,
                    estimate(scores.get("accuracy")),
                    int(target.get("classes") or 0),
                    int((target.get("sizes") or {}).get("test") or 0),
                    tuple(map(str, target.get("notes") or ())),
                )


def judged(case: Case, layer: str | None = None) -> Measured | None:
    """The measurement that the report is about: of the layer, the projector, or the first."""
    for wanted in (layer, "projector"):
        for one in case.measured:
            if wanted is not None and one.layer == wanted:
                return one
    return case.measured[0] if case.measured else None


def within_reading(case: Case, layer: str) -> dict[str, float | None] | None:
    """How well finer labels are read inside a class: the probe's record, else the measurement's."""
    for probe in ("within-class linear", "within-class knn"):
        found = [one for one in readings(case) if one.probe == probe and not one.data]
        here = [one for one in found if one.layer == layer or not layer]
        if here:
            return here[0].score
    for one in case.measured:
        if (one.layer == layer or not layer) and one.found.probe:
            return estimate(one.found.probe.get("logistic"))
    return None


def label_reading(case: Case, layer: str) -> dict[str, float | None] | None:
    """Accuracy of the training label by the linear probe."""
    for one in readings(case):
        same = one.layer == layer or not layer
        if one.role == "label" and one.probe == "linear" and same and not one.data:
            return one.accuracy
    return None


def seconds(case: Case) -> float | None:
    """Training time of a run, which its journal adds up; None where it is not recorded."""
    known: list[Any] = [line.get("seconds") for line in case.history]
    numbers = [float(value) for value in known if isinstance(value, int | float)]
    return numbers[-1] if numbers else None
