"""Verdicts, which of two is worse, and the margins they are judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from uncollapse.errors import InputError
from uncollapse.records.codec import Part

Verdict = Literal["healthy", "at-risk", "collapsed", "cannot-tell"]
ProbeVerdict = Literal["information", "no-information", "cannot-tell"]

WORST_FIRST = ("collapsed", "at-risk", "no-information", "cannot-tell", "information", "healthy")


def severity(verdict: str) -> int:
    """The place of a verdict among all, 0 the worst.

    Examples:
        >>> severity("collapsed") < severity("cannot-tell") < severity("healthy")
        True
    """
    return WORST_FIRST.index(verdict)


@dataclass(frozen=True)
class Margins(Part):
    """Where healthy ends and collapse begins.

    Attributes:
        collapsed: Collapsed when the whole interval of the share is below this.
        healthy: Healthy only when the whole interval of the share is above this.
        collapsed_of_predicted: The same two as fractions of the share that is predicted for a
        healthy_of_predicted: setting that keeps instances apart; the smaller of each pair counts.
        lowest_of_declared: But a prediction lowers the first two to no less than this part of them:
            a spread that is predicted to be next to nothing is next to nothing.
        noise: At risk when instance variance is below this fraction of view variance.
        constant: Total variance below which it is said that all embeddings lie nearly at one point.
            It does not turn the verdict: the share is free of scale.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> labels, noise = np.arange(150) % 3, np.random.default_rng(0).standard_normal((150, 16))
        >>> rows = np.eye(3, 16)[labels] + 0.05 * noise
        >>> measure(rows, labels).verdict
        'healthy'
        >>> measure(rows, labels, margins=Margins(healthy=0.2)).verdict
        'at-risk'
    """

    collapsed: float = 0.01
    healthy: float = 0.05
    collapsed_of_predicted: float = 0.1
    healthy_of_predicted: float = 0.5
    lowest_of_declared: float = 0.1
    noise: float = 0.1
    constant: float = 0.01

    def __post_init__(self) -> None:
        for low, high in (
            ("collapsed", "healthy"),
            ("collapsed_of_predicted", "healthy_of_predicted"),
        ):
            if not 0 < self[low] <= self[high] < 1:
                raise InputError(
                    f"margins with 0 < {low} <= {high} < 1",
                    f"{self[low]} and {self[high]}",
                    "give shares of the total variance",
                )

    def for_share(self, predicted: float | None) -> tuple[float, float]:
        """The collapsed and healthy margins, given the predicted share."""
        if predicted is None or predicted <= 0:
            return self.collapsed, self.healthy
        return (
            self._lowered(self.collapsed, self.collapsed_of_predicted * predicted),
            self._lowered(self.healthy, self.healthy_of_predicted * predicted),
        )

    def _lowered(self, declared: float, wanted: float) -> float:
        return min(declared, max(wanted, self.lowest_of_declared * declared))
