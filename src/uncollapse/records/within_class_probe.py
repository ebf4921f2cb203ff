"""What the within-class probe found, as a record."""

from __future__ import annotations

from dataclasses import dataclass

from uncollapse.records.codec import Part
from uncollapse.records.probe_options import WithinClassOptions
from uncollapse.records.ranges import Count, Fraction
from uncollapse.records.score import Interval
from uncollapse.records.verdict import ProbeVerdict


@dataclass(frozen=True)
class PermutationNull(Part):
    """What the probe reads of labels that were permuted within each class.

    Attributes:
        observed: The statistic of the true labels.
        mean, high: Mean and largest of the permuted.
        permutations: How many there were.
        p_value: Part of all (the true one counted) that is at least `observed`.
    """

    observed: float
    mean: float
    high: float
    permutations: Count
    p_value: Fraction


@dataclass(frozen=True)
class ProbedClassScore(Part):
    """What was read inside one class.

    Attributes:
        label: Of the class.
        fine_labels: How many finer labels it has.
        rows: How many rows took part.
        knn, logistic: Balanced accuracy, corrected for chance.
    """

    label: bool | int | float | str
    fine_labels: Count
    rows: Count
    knn: float
    logistic: float


@dataclass(frozen=True)
class WithinClassProbe(Part):
    """How well a finer label is read inside each class: 0 is chance, 1 is perfect.

    Attributes:
        verdict: "information", "no-information" or "cannot-tell".
        summary: The numbers in one line.
        knn, logistic: Mean over classes; None where no class could be probed.
        null: The same for permuted labels; None where none were asked for.
        classes: One entry per class that was probed.
        skipped_classes: Classes without enough finer labels.
        options: Of the probe.
    """

    verdict: ProbeVerdict
    summary: str
    knn: Interval | None
    logistic: Interval | None
    null: PermutationNull | None
    classes: tuple[ProbedClassScore, ...]
    skipped_classes: Count
    options: WithinClassOptions
