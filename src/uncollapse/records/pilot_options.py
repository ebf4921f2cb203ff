"""What a pilot is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from uncollapse.errors import InputError

Layer = Literal["projector", "backbone"]
Deploy = Literal["projector", "backbone", "any"]
Goal = Literal["least-change", "best"]
DIALS = ("alpha", "temperature", "batch", "views", "augmentation", "keep", "epochs")
ObjectiveName = Literal["auto", "within-class", "downstream", "retention", "other-view"]


@dataclass(frozen=True, kw_only=True)
class PilotOptions:
    """How a pilot is run and what it counts as worth a change; two seeds or more.

    The objective is "within-class", "downstream", "retention" or "other-view" (see
    `uncollapse.pilot.goal`).

    Attributes:
        goal: The smallest single change that helps, or as many changes as help most.
        budget: Wall-clock seconds that the plan may take with this many workers, above 0.
        seeds: Seeds of whole runs, and fresh ones to confirm by.
        workers: Processes of one thread each, at least 1.
        layer: Layer that is deployed today, where the start is measured.
        deploy: What can be deployed: "projector", where a small vector is the point, "backbone",
            or "any"; candidates are judged there. [default: the layer's]
        objective: What is to improve; auto takes the first that the data allow.
        dials: What may change: alpha, temperature, batch, views, augmentation, keep or, of the goal
            "best", epochs; may be repeated. [default: all]
        margin: Accepted loss of training-label accuracy, 0 to below 1.
        least_gain: Gain of the objective worth a change, between 0 and 1.
        half_width: Half-width of one seed's 95 % interval, between 0 and 1; sets the rows used.
        confidence: Of every interval.

    Examples:
        >>> PilotOptions(budget=1200, seeds=3).layer
        'projector'
    """

    goal: Goal = "least-change"
    budget: float = 1200.0
    seeds: int = 3
    workers: int = 1
    layer: Layer = "projector"
    deploy: Deploy | None = None
    objective: ObjectiveName = "auto"
    dials: tuple[str, ...] = ()
    margin: float = 0.01
    least_gain: float = 0.02
    half_width: float = 0.05
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name, good, wanted in (
            ("goal", self.goal in get_args(Goal), "least-change or best"),
            ("budget", self.budget > 0, "above 0 seconds"),
            ("seeds", self.seeds >= 2, "2 or more, as intervals come from them"),
            ("workers", self.workers >= 1, "1 or more"),
            ("layer", self.layer in get_args(Layer), "projector or backbone"),
            (
                "deploy",
                self.deploy is None or self.deploy in get_args(Deploy),
                "projector, backbone or any",
            ),
            (
                "objective",
                self.objective in get_args(ObjectiveName),
                "auto, within-class, downstream, retention or other-view",
            ),
            ("dials", {*self.dials} <= {*DIALS}, f"of {', '.join(DIALS)}"),
            ("margin", 0 <= self.margin < 1, "in [0, 1)"),
            ("least_gain", 0 < self.least_gain < 1, "in (0, 1)"),
            ("half_width", 0 < self.half_width < 1, "in (0, 1)"),
            ("confidence", 0 < self.confidence < 1, "in (0, 1)"),
        ):
            if not good:
                raise InputError(
                    f"{name} {wanted}", f"{getattr(self, name)!r}", "see docs/pilot.md"
                )

    @property
    def deployed(self) -> Deploy:
        """What can be deployed."""
        return self.deploy or self.layer

    @property
    def judged(self) -> tuple[Layer, ...]:
        """Layers at which a trained setting may be deployed."""
        return ("projector", "backbone") if self.deployed == "any" else (self.deployed,)
