"""How the probes are run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.records.codec import Part

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# (train (n, d), queries (m, d), k) -> cosines (m, k) and positions in train (m, k), best first.
NeighbourIndex = Callable[[Floats, Floats, int], tuple[Floats, Integers]]

PROBES = (
    "linear",
    "knn",
    "few-shot",
    "within-class linear",
    "within-class knn",
    "within-class few-shot",
)


@dataclass(frozen=True)
class WithinClassOptions(Part):
    """How finer labels are read inside classes.

    Attributes:
        folds: Every unit is tested once; one of the other folds is the validation split on which
            hyperparameters are chosen (`measure`; `probe` has its own splits).
        neighbours: Numbers of neighbours to choose from.
        temperatures: Temperatures of the neighbours' weights to choose from.
        strengths: Inverse L2 penalties to choose from.
        permutations: Permutations of the finer labels within each class.
        most_rows: Rows of a class that are used, drawn at random; None: 1000 (`measure`), or 2000
            of each split (`probe`).
        least_units: Independent units that a finer label needs in a class to take part.
        margin: No information is claimed only when both probes are below this, interval and all.
        index: Finds the nearest neighbours; None: by comparing with all. Not in the JSON.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import ProbeOptions, measure
        >>> digit = np.arange(200) % 4
        >>> rows = np.eye(4, 8)[digit] + 0.3 * np.random.default_rng(0).standard_normal((200, 8))
        >>> options = ProbeOptions(within=WithinClassOptions(neighbours=(5,), permutations=5))
        >>> measure(rows, digit % 2, fine_labels=digit, probe=options).probe.knn.estimate > 0.9
        True
    """

    folds: int = 5
    neighbours: tuple[int, ...] = (1, 5, 20)
    temperatures: tuple[float, ...] = (0.1, 1.0)
    strengths: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    permutations: int = 20
    most_rows: int | None = None
    least_units: int = 10
    margin: float = 0.2
    index: NeighbourIndex | None = None

    def __post_init__(self) -> None:
        if self.folds < 3 or self.least_units < self.folds or self.permutations < 0:
            raise InputError(
                "probe options with folds >= 3, least_units >= folds and permutations >= 0",
                f"folds {self.folds}, least_units {self.least_units}, "
                f"permutations {self.permutations}",
                "leave them at their defaults",
            )

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, without the index."""
        return {key: value for key, value in super().to_dict().items() if key != "index"}


@dataclass(frozen=True)
class ProbeOptions(Part):
    """How probes are run.

    Attributes:
        l2: Penalties of the linear probe to choose from (of the mean loss on scaled features).
        balanced: Whether classes weigh the same in the linear probe's loss; else rows do.
        refit: Whether linear probe and neighbours use training and validation rows together once
            the hyperparameters are chosen.
        neighbours: Numbers of neighbours to choose from; inside classes too, where they are given
            and `within` is not.
        temperatures: Temperatures of their weights exp(cosine/temperature), likewise.
        shots: Training rows per class of the few-shot probe; None: those of 1, 5 and 10 that every
            class has.
        draws: Draws of the shots, from 2.
        within: Of the probe inside classes.
        probes: Which to run.
        tolerance: Largest slope of the linear probe's objective at which it is taken as optimal.
        confidence: Confidence of every interval, between 0 and 1.
        folds, strengths, permutations, most_rows, least_units, margin, index: Of `within`, to be
            given without it.

    Examples:
        >>> ProbeOptions(shots=(1, 5), permutations=0).within.permutations
        0
    """

    l2: tuple[float, ...] = tuple(float(v) for v in np.logspace(-7, 2, 45))
    balanced: bool = False
    refit: bool = True
    neighbours: tuple[int, ...] = (1, 5, 10, 20, 50, 100, 200)
    temperatures: tuple[float, ...] = (0.02, 0.07, 0.2, 1.0)
    shots: tuple[int, ...] | None = None
    draws: int = 20
    within: WithinClassOptions = WithinClassOptions()
    probes: tuple[str, ...] = PROBES
    tolerance: float = 1e-5
    confidence: float = 0.95
    folds: InitVar[int | None] = None
    strengths: InitVar[tuple[float, ...] | None] = None
    permutations: InitVar[int | None] = None
    most_rows: InitVar[int | None] = None
    least_units: InitVar[int | None] = None
    margin: InitVar[float | None] = None
    index: InitVar[NeighbourIndex | None] = None

    def __post_init__(self, *of_within: Any) -> None:
        self._check()
        given = dict(zip(_OF_WITHIN, of_within, strict=True))
        if self.within is ProbeOptions.within:
            for name in ("neighbours", "temperatures"):
                # Told by identity from the default.
                if self[name] is not getattr(ProbeOptions, name):
                    given[name] = self[name]
        given = {name: value for name, value in given.items() if value is not None}
        if given:
            object.__setattr__(self, "within", replace(self.within, **given))

    def _check(self) -> None:
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


_OF_WITHIN = (
    "folds", "strengths", "permutations", "most_rows", "least_units", "margin", "index",
)  # fmt: skip

# Its name in `uncollapse.probes` before the two were one.
ProbeSettings = ProbeOptions
