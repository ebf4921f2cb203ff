"""What theory predicts, as a record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from uncollapse.records.codec import Document, NotNegative, Part, Positive

Phase = Literal["spread", "collapse", "view-splitting"]


@dataclass(frozen=True)
class BlockCosines(Part):
    """Inner products of an optimum by blocks of classes of equal size; None where no pair exists.

    Attributes:
        counts: Instances of each class of a block.
        multiplicity: Classes of each block.
        s: Of two views of an instance, by block.
        a: Of two instances of a class, by block.
        b: Of two different classes, a matrix of blocks; on its diagonal, of the same block.
    """

    counts: tuple[int, ...] = ()
    multiplicity: tuple[int, ...] = ()
    s: tuple[float | None, ...] = ()
    a: tuple[float | None, ...] = ()
    b: tuple[tuple[float | None, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class PopulationVariances(Part):
    """Phase and variances over the whole population of embeddings.

    Variances are on the unit sphere, in [0, 1] (plug-in quantities), each class weighing the same;
    view + instance = within, and within + between = 1 - squared norm of the mean of class means.

    Attributes:
        phase: "spread" if instances of every class keep apart; "collapse" if those of some class
            become one point; "view-splitting" if they do so only after averaging their views.
        phase_per_class: The same for each class; None for a class of one instance, which has
            nothing to collapse.
        within_class_variance: 1 - squared norm of the class mean, mean over classes.
        within_class_variance_per_class: The same for each class.
        instance_variance: The part of it between instances (views averaged).
        instance_variance_per_class: The same for each class.
        view_variance: The part of it between views of one instance.
        view_variance_per_class: The same for each class.
        between_class_variance: Variance of the class means, each class weighing the same.
    """

    phase: Phase
    phase_per_class: tuple[Phase | None, ...]
    within_class_variance: float
    within_class_variance_per_class: tuple[float, ...]
    instance_variance: float
    instance_variance_per_class: tuple[float, ...]
    view_variance: float
    view_variance_per_class: tuple[float, ...]
    between_class_variance: float


@dataclass(frozen=True, kw_only=True)
class Prediction(PopulationVariances, Document):
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
        notes: What the reader must know to use the numbers.

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
    alpha_threshold: float | None = None
    temperature_threshold: Positive | None = None
    view_splitting_threshold: float | None = None
    certificate_gap: NotNegative
    notes: tuple[str, ...]


def worst_phase(phases: Iterable[Phase | None]) -> Phase:
    """The phase of all classes together: one collapsed class is a collapse to know of."""
    ranks: tuple[Phase, ...] = ("collapse", "view-splitting", "spread")
    return min((phase for phase in phases if phase), key=ranks.index, default="spread")
