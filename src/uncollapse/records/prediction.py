"""What theory predicts, and how simulations minimise the loss and what they reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

from uncollapse.errors import InputError
from uncollapse.records import scalars
from uncollapse.records.codec import Document, Part, check_choice
from uncollapse.records.network import NetworkPrediction
from uncollapse.records.setting import Setting

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


Model = Literal["vectors", "mlp"]
Optimiser = Literal["lbfgs", "sgd", "adam"]
Schedule = Literal["cosine", "constant"]
Initial = Literal["random", "collapsed", "ssem"]


@dataclass(frozen=True, kw_only=True)
class SimulationOptions(Part):
    """How the loss is minimised, and over what.

    lbfgs needs an objective without chance: full batches, or so few possible batches that all are
    summed. A cosine schedule ends at 0 with the last step. Vectors start at random on the sphere;
    "collapsed" in the simplex of the classes; "ssem" in the simplex of simplices. Both are rotated
    at random, and without noise (Gaussian, then put back on the sphere) their symmetry is never
    left. The network has ReLU units, and is a linear map at depth 0; instances scatter around their
    class centre with deviation 1 in each dimension.

    Attributes:
        model: Free vectors, or a network on Gaussian classes.
        optimiser: How the loss is minimised. [default: lbfgs for vectors and full batches, else
            adam]
        learning_rate: Learning rate of sgd and adam, above 0. [default: sgd 1, adam 0.01; a tenth
            of it for a network]
        momentum: Momentum of sgd, 0 to below 1.
        schedule: Course of the learning rate.
        steps: Steps of the optimiser, from 1. [default: at most 3000 for lbfgs, else 2000]
        initial: Start of free vectors.
        initial_variance: Within-class variance of the ssem start, between 0 and 1.
        initial_noise: Length of the noise on a collapsed or ssem start, from 0.
        width: Units of a hidden layer of the network, 1 to 4096.
        depth: Hidden layers of the network, 0 to 32.
        input_dimension: Dimension of the Gaussian classes, 1 to 4096.
        separation: Length of a class centre, in deviations of its instances, from 0.
        augmentation: Deviation of a view's noise, in deviations of the instances, from 0.
        fresh_views: New views at every step; evaluate on others.
        collapsed_below: A variance up to this counts as none in the phase, 0 to below 1.

    Raises:
        InputError: A value is out of its range, or options do not go together.

    Examples:
        >>> SimulationOptions(model="mlp", width=32).depth
        2
    """

    model: Model = "vectors"
    optimiser: Optimiser | None = None
    learning_rate: float | None = None
    momentum: float = 0.9
    schedule: Schedule = "cosine"
    steps: int | None = None
    initial: Initial = "random"
    initial_variance: float = 0.5
    initial_noise: float = 0.01
    width: int = 64
    depth: int = 2
    input_dimension: int = 32
    separation: float = 3.0
    augmentation: float = 0.5
    fresh_views: bool = False
    collapsed_below: float = 1e-3

    def __post_init__(self) -> None:
        _check_numbers(self)
        network = self.model == "mlp"
        if network and self.initial != "random":
            raise InputError(
                "a network that starts from random weights",
                f"initial = {self.initial!r} with a network",
                "collapsed and ssem are starts of free vectors",
            )
        if self.fresh_views and not network:
            raise InputError(
                "fresh views of a network's inputs",
                "fresh_views with free vectors",
                "free vectors have no inputs to augment: take the mlp",
            )
        if self.fresh_views and self.optimiser == "lbfgs":
            raise InputError(
                "an objective without chance for lbfgs",
                "fresh views at every step",
                "take sgd or adam, or fixed views",
            )


def _check_numbers(options: SimulationOptions) -> None:
    rules: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("a positive number", lambda v: v > 0, "learning_rate"),
        ("a number in [0, 1)", lambda v: 0 <= v < 1, "momentum collapsed_below"),
        ("a whole number from 1", lambda v: v >= 1, "steps"),
        ("a number between 0 and 1", lambda v: 0 < v < 1, "initial_variance"),
        ("a number from 0", lambda v: v >= 0, "initial_noise separation augmentation"),
        ("a whole number from 1 to 4096", lambda v: 1 <= v <= 4096, "width input_dimension"),
        ("a whole number from 0 to 32", lambda v: 0 <= v <= 32, "depth"),
    )
    for expected, holds, names in rules:
        for name in names.split():
            value = getattr(options, name)
            if value is not None and not (math.isfinite(value) and holds(value)):
                raise InputError(f"{name} as {expected}", f"{name} = {value!r}", "change it")
    check_choice(options, "model", get_args(Model), "choose one")
    check_choice(options, "optimiser", (*get_args(Optimiser), None), "choose one")
    check_choice(options, "schedule", get_args(Schedule), "choose one")
    check_choice(options, "initial", get_args(Initial), "choose one")


Stopped = Literal["converged", "precision", "steps", "diverged"]


@dataclass(frozen=True, kw_only=True)
class Reached(PopulationVariances):
    """Where one run ended, over the whole population of embeddings, in float64.

    Its phase takes a variance up to `collapsed_below` as none. It stopped "converged" (gradient of
    lbfgs below 1e-10), at "precision" (lbfgs found no lower loss that rounding would show), after
    all "steps", or "diverged" (a number was no longer finite; the values are those before).
    """

    seed: scalars.Count = 0  # of data, start and batches
    loss: float  # its expectation over the sampler's batches, in nats
    loss_error: scalars.NotNegative | None  # standard error; None where all batches were summed
    loss_batches: scalars.PositiveCount  # that it is the mean of
    optimiser: Optimiser
    learning_rate: scalars.Positive | None  # None for lbfgs
    steps: scalars.Count  # done
    stopped: Stopped
    seconds: scalars.NotNegative


@dataclass(frozen=True, kw_only=True)
class SimulationRun(Part):
    """One run: what was minimised and how, from which seed, what is predicted and was reached."""

    setting: Setting
    options: SimulationOptions
    seed: scalars.Count
    prediction: Prediction
    reached: Reached

    def __post_init__(self) -> None:
        object.__setattr__(self, "reached", replace(self.reached, seed=self.seed))

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types; the prediction without thresholds, the seed once."""
        record = super().to_dict()
        # They are the business of `predict`, where they are wanted more often and computed once.
        for name in [
            name for name in record["prediction"] if name.endswith(("_threshold", "_range"))
        ]:
            del record["prediction"][name]
        del record["reached"]["seed"]
        return record


@dataclass(frozen=True)
class Spread(Part):
    """Of a number over runs; no deviation of one run."""

    mean: float
    sd: scalars.NotNegative | None
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class PointSummary(Part):
    """The runs of one point of a grid: what varies there, phases by their counts, numbers."""

    varied: dict[str, int | float | None]
    repeats: scalars.PositiveCount
    phases: dict[Phase, scalars.Count]
    loss: Spread
    within_class_variance: Spread
    instance_variance: Spread
    view_variance: Spread
    between_class_variance: Spread


@dataclass(frozen=True, kw_only=True)
class SimulationRecord(Document):
    """What `uncollapse simulate --json` prints: every run, and a summary by point of the grid."""

    kind: ClassVar[str] = "simulation"
    interrupted: bool
    runs: tuple[SimulationRun, ...]
    summary: tuple[PointSummary, ...]
