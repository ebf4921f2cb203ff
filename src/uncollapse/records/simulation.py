"""What simulations reached, as records that go to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from uncollapse.records.codec import Document, Part
from uncollapse.records.prediction import Phase, PopulationVariances, Prediction
from uncollapse.records.ranges import Count, NotNegative, PositiveCount
from uncollapse.records.setting import Setting
from uncollapse.records.simulation_options import Optimiser, SimulationOptions

Stopped = Literal["converged", "precision", "steps", "diverged"]
# Thresholds are the business of `predict`, where they are wanted more often and computed once.
_LEFT_OUT = ("alpha_threshold", "temperature_threshold", "view_splitting_threshold")


@dataclass(frozen=True, kw_only=True)
class Reached(PopulationVariances):
    """Where one run ended, over the whole population of embeddings, in float64.

    Attributes:
        phase, ..., between_class_variance: See `uncollapse.records.PopulationVariances`; a variance
            up to `collapsed_below` counts as none.
        seed: Of the run: data, start, batches.
        loss: Expectation of the loss over the sampler's batches, in nats.
        loss_error: Standard error of it; None where all batches were summed.
        loss_batches: Batches that it is the mean of.
        optimiser: That was taken.
        learning_rate: That was taken; None for lbfgs.
        steps: Steps done.
        stopped: "converged" (gradient of lbfgs below 1e-10), "precision" (lbfgs found no lower
            loss that rounding would show), "steps" (all were done), or "diverged" (a number was no
            longer finite; the values are those before).
        seconds: Wall time.
    """

    seed: int = 0
    loss: float
    loss_error: float | None
    loss_batches: PositiveCount
    optimiser: Optimiser
    learning_rate: float | None
    steps: Count
    stopped: Stopped
    seconds: NotNegative


@dataclass(frozen=True, kw_only=True)
class SimulationRun(Part):
    """One run: what was minimised and how, from which seed, what is predicted and was reached."""

    setting: Setting
    options: SimulationOptions
    seed: int
    prediction: Prediction
    reached: Reached

    def __post_init__(self) -> None:
        object.__setattr__(self, "reached", replace(self.reached, seed=self.seed))

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types; the prediction without thresholds, the seed once."""
        record = super().to_dict()
        for name in _LEFT_OUT:
            del record["prediction"][name]
        del record["reached"]["seed"]
        return record


@dataclass(frozen=True)
class Spread(Part):
    """Of a number over runs; no deviation of one run."""

    mean: float
    sd: NotNegative | None
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class PointSummary(Part):
    """The runs of one point of a grid: what varies there, phases by their counts, numbers."""

    varied: dict[str, int | float | None]
    repeats: PositiveCount
    phases: dict[Phase, int]
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
