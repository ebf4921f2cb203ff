"""The public benchmark: what every method reached on every data set under every damage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from uncollapse.records import scalars
from uncollapse.records.codec import Document, Part
from uncollapse.records.pilot_trial import PredictedVariance
from uncollapse.records.scalars import Interval
from uncollapse.records.stress import Damage
from uncollapse.records.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class BenchmarkScores(Part):
    """What one embedding of one run shows on test rows.

    Attributes:
        finer: The finer label inside the classes, nearest mean of ten examples, balanced accuracy.
        training_label: Balanced accuracy of the training label, linear probe on the run's own rows.
        worst_class: Least recall of the training label of all classes.
        worst_slice: Least recall of it of all finer labels (and slices) in a class.
        retention: Of the structure inside the classes, against the untouched base.
        instance_variance: Inside classes; unbiased, on unit vectors.
        share: Of the total variance.
        verdict: As `uncollapse measure` says it.
    """

    finer: scalars.Portion | None = None
    training_label: scalars.Portion | None = None
    worst_class: scalars.Portion | None = None
    worst_slice: scalars.Portion | None = None
    retention: scalars.AboveChance | None = None
    instance_variance: scalars.Variance | None = None
    share: float | None = None
    verdict: Verdict = "cannot-tell"


@dataclass(frozen=True, kw_only=True)
class BenchmarkRun(Document):
    """The file that a run leaves: its scores by the damage of test rows and by embedding.

    Attributes:
        measured: By damage ("clean" test rows, and those that only change test rows) and embedding.
        predicted: What theory says of the run; None where it says nothing.
        arguments: Of the loss, as they were chosen on validation rows.
        of: Hash of the files of data set and method, as far as the run depends on them.
    """

    kind: ClassVar[str] = "benchmark-run"
    data_set: str
    method: str
    damage: Damage
    seed: scalars.Count
    measured: dict[str, dict[str, BenchmarkScores]]
    predicted: PredictedVariance | None = None
    arguments: dict[str, float | str | bool] = field(default_factory=dict)
    of: str = ""
    wrong_labels: scalars.Count = 0
    steps: scalars.Count = 0
    seconds: scalars.NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult(Document):
    """A benchmark's raw numbers: column by column, an entry per embedding of a run.

    `columns` holds the numbers of `BenchmarkScores` by their names; None where one was not
    measured.

    Attributes:
        predicted_variance: Variance between instances that theory predicts of the run.
        phase: What theory predicts; "" where it says nothing.
        arguments: By data set and method, as they were chosen on validation rows.
        seconds: Of all runs, on one thread.
    """

    kind: ClassVar[str] = "benchmark"
    data_set: tuple[str, ...]
    method: tuple[str, ...]
    damage: tuple[str, ...]
    seed: tuple[scalars.Count, ...]
    embedding: tuple[str, ...]
    verdict: tuple[Verdict, ...]
    phase: tuple[str, ...]
    predicted_variance: tuple[float | None, ...]
    columns: dict[str, tuple[float | None, ...]]
    arguments: dict[str, dict[str, dict[str, float | str | bool]]]
    seconds: scalars.NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class MethodRank(Part):
    """Where a method stands.

    Attributes:
        rank: Mean over data sets, each the mean over its damages; 1 is the best. Student's interval
            with data sets as its units.
        score: Mean over data sets and damages of what is ranked.
        alike: Methods from which it is not distinguished: the interval of the difference of ranks,
            for all pairs at once, holds 0.
    """

    method: str
    title: str
    embedding: str
    rank: Interval
    score: float
    alike: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PhaseAgreement(Part):
    """Under how many damages of a data set spread or collapse was as theory predicts.

    Attributes:
        compared: Pairs of method and damage of which theory speaks.
        agreed: Of these, predicted as measured.
        misses: The others, as "method under damage: W measured for W predicted".
    """

    data_set: str
    compared: scalars.Count
    agreed: scalars.Count
    misses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BenchmarkTable(Document):
    """Ranks of methods, by each of some numbers, and how often theory's phase was right.

    Attributes:
        ranks: By the number that is ranked, the methods, the best first.
        cells: Data sets with their damages that every method has.
        phases: By data set.
        seeds: Of a cell, at most.
    """

    kind: ClassVar[str] = "benchmark-table"
    ranks: dict[str, tuple[MethodRank, ...]]
    cells: dict[str, tuple[str, ...]]
    phases: tuple[PhaseAgreement, ...]
    seeds: scalars.Count
    confidence: scalars.Fraction = 0.95
