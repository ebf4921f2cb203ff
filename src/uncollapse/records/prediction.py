"""What theory predicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from uncollapse.errors import InputError
from uncollapse.records import scalars
from uncollapse.records.codec import Part
from uncollapse.records.network import NetworkPrediction
from uncollapse.records.notebook import Bar, Card, InNotebook, columns
from uncollapse.records.scalars import Interval

Phase = Literal["spread", "collapse", "view-splitting"]


@dataclass(frozen=True)
class BlockCosines(Part):
    """Inner products of an optimum by blocks of classes of equal size; None where no pair exists.

    Of two views of an instance, `s`, of two instances of a class, `a`, and of two different
    classes, `b`, a matrix of blocks, on its diagonal of the same block.
    """

    counts: tuple[scalars.PositiveCount, ...] = ()  # instances of each class of a block
    multiplicity: tuple[scalars.PositiveCount, ...] = ()  # classes of each block
    s: tuple[scalars.Cosine | None, ...] = ()
    a: tuple[scalars.Cosine | None, ...] = ()
    b: tuple[tuple[scalars.Cosine | None, ...], ...] = ()
    block: tuple[scalars.Count, ...] | None = None  # of each class, where its size does not say


@dataclass(frozen=True)
class Range(Part):
    """From where to where a variance may lie."""

    low: scalars.Portion
    high: scalars.Portion


@dataclass(frozen=True, kw_only=True)
class LabelNoise(Part):
    """Wrong labels and what is made of them.

    Attributes:
        rate: Share of wrong labels, even over the other classes; None with a confusion matrix.
        confusion: Share of each true class (row) that carries each label; None with a rate.
        learned: Whether the prediction is of labels learnt by heart (its classes are then those of
            the labels), or of an encoder that cannot know which are wrong (true classes).
        same_class_positives: Share of L_sup's positives that are of the anchor's true class.
        within_true_class_variance: 1 - squared norm of a true class's mean, mean over classes.
    """

    rate: scalars.Fraction | None
    confusion: tuple[tuple[scalars.Fraction, ...], ...] | None
    learned: bool
    same_class_positives: scalars.Portion
    within_true_class_variance: scalars.Portion


@dataclass(frozen=True, kw_only=True)
class PopulationVariances(Part):
    """Phase and variances over the whole population of embeddings.

    Variances are on the unit sphere, in [0, 1] (plug-in quantities), each class weighing the same;
    view + instance = within, and within + between = 1 - squared norm of the mean of class means.
    What ends in `_per_class` is the same for each class.

    Attributes:
        phase: "spread" if instances of every class keep apart; "collapse" if those of some class
            become one point; "view-splitting" if they do so only after averaging their views.
        phase_per_class: None for a class of one instance, which has nothing to collapse.
        within_class_variance: 1 - squared norm of the class mean, mean over classes.
        instance_variance: The part of it between instances (views averaged).
        view_variance: The part of it between views of one instance.
        between_class_variance: Variance of the class means, each class weighing the same.
    """

    phase: Phase
    phase_per_class: tuple[Phase | None, ...]
    within_class_variance: scalars.Portion
    within_class_variance_per_class: tuple[scalars.Portion, ...]
    instance_variance: scalars.Portion
    instance_variance_per_class: tuple[scalars.Portion, ...]
    view_variance: scalars.Portion
    view_variance_per_class: tuple[scalars.Portion, ...]
    between_class_variance: scalars.Portion

    def __post_init__(self) -> None:
        numbers = (self.within_class_variance_per_class, self.instance_variance_per_class)
        counts = {len(each) for each in (*numbers, self.view_variance_per_class)}
        if counts != {len(self.phase_per_class)}:
            found = f"{sorted(counts)} numbers for {len(self.phase_per_class)}"
            raise InputError("a phase and three variances of each class", found, "predict again")


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction(InNotebook, PopulationVariances):
    """The global optimum of the SupCL loss for one setting (see `uncollapse.theory.predict`).

    Attributes:
        phase, ..., between_class_variance: See `uncollapse.records.PopulationVariances`.
        loss: The loss at the optimum, in nats.
        cosines: Inner products of the optimum by blocks of classes of equal size.
        alpha_threshold: Smallest alpha above which no class is collapsed; None if there is none.
        temperature_threshold: Temperatures at this alpha below which no class is collapsed; None if
            there is none.
        view_splitting_threshold: Alpha below which the views of an instance split; None if they
            never do.
        certificate_gap: Proven bound on loss minus global minimum, relative to max(1, |loss|).
        within_class_variance_range, ..., between_class_variance_range: From the least to the
            largest value of the variance over all embeddings whose loss is within 1e-6 of the
            minimum, relative to max(1, |loss|): where the loss hardly feels it, the value alone
            says little. None where it was not computed (more than 8 different class sizes).
        label_noise: The wrong labels that it was predicted for; None without.
        notes: What the reader must know to use the numbers.
        network: What networks of a calibration are expected to show; None without one.

    Examples:
        >>> from uncollapse import Setting, predict
        >>> setting = Setting(classes=10, per_class=50, alpha=0, temperature=0.1)
        >>> prediction = predict(setting)
        >>> prediction.phase, round(prediction.alpha_threshold, 4)
        ('view-splitting', 0.0103)
        >>> Prediction.from_json(prediction.to_json()) == prediction
        True
    """

    kind: ClassVar[str] = "prediction"
    loss: float
    cosines: BlockCosines
    alpha_threshold: scalars.Portion | None = None
    temperature_threshold: scalars.Positive | None = None
    view_splitting_threshold: scalars.Portion | None = None
    certificate_gap: scalars.NotNegative
    within_class_variance_range: Range | None = None
    instance_variance_range: Range | None = None
    view_variance_range: Range | None = None
    between_class_variance_range: Range | None = None
    label_noise: LabelNoise | None = None
    notes: tuple[str, ...]
    network: NetworkPrediction | None = None

    def card(self) -> Card:
        """The phase; a row and a bar for each variance, of the optimum and of a trained network."""
        names = [
            f"{part}_variance" for part in ("within_class", "instance", "view", "between_class")
        ]
        found = [(name, "optimum", self._optimum(name)) for name in names]
        if (network := self.network) is not None:
            for name in ("within_class_variance", "between_class_variance"):
                of = network[name]
                found.append((name, "trained network", Interval(of.estimate, of.low, of.high)))
        return Card(
            f"{self.phase}: variance within classes {self.within_class_variance:.4f}",
            self.notes,
            tuple(
                {"name": name, "of": of} | columns("variance", value) for name, of, value in found
            ),
            "variance on the unit sphere",
            tuple(Bar.of(f"{name}, {of}", value) for name, of, value in found),
        )

    def _optimum(self, name: str) -> Interval:
        """A variance with its range within 1e-6 of the least loss, where that was computed."""
        span = self[f"{name}_range"]
        return Interval(self[name], span and span.low, span and span.high)


def phases_of(
    instance: Iterable[float], view: Iterable[float], counts: Iterable[float], zero: float
) -> list[Phase | None]:
    """The phase of each class from its variances, of which one up to `zero` counts as none."""
    phases: list[Phase | None] = []
    for between_instances, between_views, count in zip(instance, view, counts, strict=True):
        if count < 2:
            phases.append(None)
        elif between_instances > zero:
            phases.append("spread")
        else:
            phases.append("view-splitting" if between_views > zero else "collapse")
    return phases


def worst_phase(phases: Iterable[Phase | None]) -> Phase:
    """The phase of all classes together: one collapsed class is a collapse to know of."""
    ranks: tuple[Phase, ...] = ("collapse", "view-splitting", "spread")
    return min((phase for phase in phases if phase), key=ranks.index, default="spread")
