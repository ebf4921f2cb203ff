"""What is expected of a trained network, and what was measured beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from uncollapse.records import scalars
from uncollapse.records.codec import Part
from uncollapse.records.verdict import Message

Side = Literal["below", "consistent", "above"]
# Networks began to spread at so many times the alpha that the model says (docs/networks.md).
BEGAN_LATER = 1.7


@dataclass(frozen=True, kw_only=True)
class Expected(Part):
    """What is expected of a quantity, and the ends of its interval."""

    estimate: scalars.Portion
    low: scalars.Portion
    high: scalars.Portion

    def __str__(self) -> str:
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def side(self, low: float, high: float) -> Side:
        """Where a measurement lies that may be anything from `low` to `high`."""
        if high < self.low:
            return "below"
        return "above" if low > self.high else "consistent"


@dataclass(frozen=True, kw_only=True)
class NetworkComparison(Part):
    """What a network showed beside what was expected of one like it."""

    measured: float
    expected: Expected
    side: Side

    def __str__(self) -> str:
        said = {"below": ", below it", "consistent": "", "above": ", above it"}[self.side]
        return f"predicted {self.expected}, measured {self.measured:.2f}{said}"


@dataclass(frozen=True, kw_only=True)
class NetworkPrediction(Part):
    """What a network like those of a calibration is expected to show at a setting.

    Attributes:
        within_class_variance, between_class_variance: As in `NetworkRun`.
        alpha_where_spread_begins: The alpha, all else the same, at which the variance inside
            classes is twice that at alpha 0; None where it is at no alpha. Too low: networks began
            at `BEGAN_LATER` times the estimate, in the median of 18 cases (docs/networks.md).
        confidence: Of the intervals.
        layer: Of the embeddings that it is about.
        differs: In what the calibration's runs were made under other conditions.
        notes: The same in words: what the reader must know to use the numbers.

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
        >>> print(expected.beside(within=0.23, between=0.35)["within_class_variance"])
        predicted 0.10 [0.05, 0.20], measured 0.23, above it
    """

    within_class_variance: Expected
    between_class_variance: Expected
    alpha_where_spread_begins: Expected | None
    confidence: scalars.Fraction
    layer: str = "projector"
    differs: tuple[Message, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def spread_begins(self) -> str:
        """Where the spread begins, in words, with how far such an estimate was off."""
        if self.alpha_where_spread_begins is None:
            return "its spread begins at no alpha"
        return (
            f"its spread begins at alpha {self.alpha_where_spread_begins}, probably later: views "
            f"are not in the model, and networks began at {BEGAN_LATER:g} times the estimate "
            "(median of 18 cases)"
        )

    def beside(self, *, within: float, between: float) -> dict[str, NetworkComparison]:
        """Both variances as they were measured, beside what is expected of them."""
        found = {"within_class_variance": within, "between_class_variance": between}
        return {
            name: NetworkComparison(
                measured=value, expected=self[name], side=self[name].side(value, value)
            )
            for name, value in found.items()
        }
