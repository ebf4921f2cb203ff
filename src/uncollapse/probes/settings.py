"""How probes are run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from uncollapse.errors import InputError
from uncollapse.probes.probed_classes import ProbeOptions

__all__ = ["PROBES", "ProbeSettings"]

PROBES = (
    "linear",
    "knn",
    "few-shot",
    "within-class linear",
    "within-class knn",
    "within-class few-shot",
)


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are run.

    Attributes:
        l2: Penalties of the linear probe to choose from (of the mean loss on scaled features).
        balanced: Whether classes weigh the same in the linear probe's loss; else rows do.
        refit: Whether linear probe and neighbours use training and validation rows together once
            the hyperparameters are chosen.
        neighbours: Numbers of neighbours to choose from.
        temperatures: Temperatures of their weights exp(cosine/temperature) to choose from.
        shots: Training rows per class of the few-shot probe; None: those of 1, 5 and 10 that every
            class has.
        draws: Draws of the shots.
        within: Options of the probe inside classes.
        probes: Which to run.
        tolerance: Of the linear probe's optimum (see `linear_path`).
        confidence: Of every interval.
    """

    l2: tuple[float, ...] = tuple(float(v) for v in np.logspace(-7, 2, 45))
    balanced: bool = False
    refit: bool = True
    neighbours: tuple[int, ...] = (1, 5, 10, 20, 50, 100, 200)
    temperatures: tuple[float, ...] = (0.02, 0.07, 0.2, 1.0)
    shots: tuple[int, ...] | None = None
    draws: int = 20
    within: ProbeOptions = field(default_factory=lambda: ProbeOptions(most_rows=2000))
    probes: tuple[str, ...] = PROBES
    tolerance: float = 1e-4
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not self.l2 or min(self.l2) <= 0:
            raise InputError("L2 penalties above 0", f"{self.l2}", "1e-7 to 100 is usual")
        if not self.neighbours or min(self.neighbours) < 1 or min(self.temperatures) <= 0:
            raise InputError(
                "neighbours of 1 or more and temperatures above 0",
                f"{self.neighbours} and {self.temperatures}",
                "leave them at their defaults",
            )
        if self.shots is not None and (not self.shots or min(self.shots) < 1):
            raise InputError("shots of 1 or more", f"{self.shots}", "1, 5 and 10 are usual")
        if unknown := set(self.probes) - set(PROBES):
            raise InputError(
                f"probes among {', '.join(PROBES)}", f"{sorted(unknown)}", "name these"
            )
        if self.draws < 2:
            raise InputError("two draws or more", f"{self.draws}", "20 is usual")
        if not 0 < self.confidence < 1:
            raise InputError("confidence in (0, 1)", f"{self.confidence}", "0.95 is usual")
