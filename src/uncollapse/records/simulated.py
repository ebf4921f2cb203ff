"""How simulations minimise the loss, and what they reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

from uncollapse.errors import InputError
from uncollapse.records import scalars
from uncollapse.records.codec import Document, Part, check_choice
from uncollapse.records.prediction import Phase, PopulationVariances, Prediction
from uncollapse.records.setting import Setting

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
