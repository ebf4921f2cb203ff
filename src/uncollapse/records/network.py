"""What is expected of a trained network."""

from __future__ import annotations

from dataclasses import dataclass

from uncollapse.records import scalars
from uncollapse.records.codec import Part


@dataclass(frozen=True, kw_only=True)
class Expected(Part):
    """What is expected of a quantity, and the ends of its interval."""

    estimate: scalars.Portion
    low: scalars.Portion
    high: scalars.Portion

    def __str__(self) -> str:
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, kw_only=True)
class NetworkPrediction(Part):
    """What a network like those of a calibration is expected to show at a setting.

    Attributes:
        within_class_variance, between_class_variance: As in `NetworkRun`.
        alpha_where_spread_begins: The alpha, all else the same, at which the variance inside
            classes is twice that at alpha 0; None where it is at no alpha.
        confidence: Of the intervals.
        notes: What the reader must know to use them.

    Examples:
        >>> between = Expected(estimate=0.3, low=0.2, high=0.4)
        >>> expected = NetworkPrediction(
        ...     within_class_variance=Expected(estimate=0.1, low=0.05, high=0.2),
        ...     between_class_variance=between,
        ...     alpha_where_spread_begins=None,
        ...     confidence=0.9,
        ... )
        >>> str(expected.within_class_variance)
        '0.10 [0.05, 0.20]'
    """

    within_class_variance: Expected
    between_class_variance: Expected
    alpha_where_spread_begins: Expected | None
    confidence: scalars.Fraction
    notes: tuple[str, ...] = ()
