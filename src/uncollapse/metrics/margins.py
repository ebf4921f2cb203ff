"""Where healthy ends and collapse begins, and on which side an interval lies.

The judged quantity is the share: variance between instances of a class over total variance (within-
class variance over total, when no views tell instances apart). Its margins are declared, because no
standard threshold exists; a prediction for the run's own setting lowers them when it says that less
spread is attainable.
"""

from __future__ import annotations

from dataclasses import dataclass

from uncollapse.errors import InputError
from uncollapse.metrics.variance import LevelsPerClass
from uncollapse.records import Estimate, Prediction, Verdict

__all__ = [
    "Margins",
    "judge_class",
    "judge_share",
    "predicted_share",
    "predicted_shares",
]


@dataclass(frozen=True)
class Margins:
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
            if not 0 < getattr(self, low) <= getattr(self, high) < 1:
                raise InputError(
                    f"margins with 0 < {low} <= {high} < 1",
                    f"{getattr(self, low)} and {getattr(self, high)}",
                    "give shares of the total variance",
                )

    def for_share(self, predicted: float | None) -> tuple[float, float]:
        """The collapsed and healthy margins, given the predicted share."""
        if predicted is None or predicted <= 0:
            return self.collapsed, self.healthy
        return (
            _between(self.collapsed_of_predicted * predicted, self.collapsed, self),
            _between(self.healthy_of_predicted * predicted, self.healthy, self),
        )


def _between(wanted: float, declared: float, margins: Margins) -> float:
    return min(declared, max(wanted, margins.lowest_of_declared * declared))


def judge_share(share: Estimate, margins: tuple[float, float], told: bool = True) -> Verdict:
    """The verdict of one interval: where it lies against the two margins.

    Where `told` is false there are too few units to call little variance anything but chance.
    """
    if share.low is None or share.high is None or (share.high < margins[1] and not told):
        return "cannot-tell"
    if share.high < margins[0]:
        return "collapsed"
    if share.low > margins[1]:
        return "healthy"
    return "at-risk" if share.high < margins[1] else "cannot-tell"


def judge_class(
    level: LevelsPerClass, margins: Margins, predicted: float | None
) -> tuple[Verdict, str]:
    """The verdict of one class by its own share, and why."""
    bounds = margins.for_share(predicted)
    verdict = judge_share(level.share, bounds, level.told)
    if level.share.low is None:
        return verdict, "no interval: fewer than three independent units, or nothing varies"
    if verdict == "cannot-tell" and not level.told:
        return verdict, f"share {level.share}, but so few units may lie together by chance"
    anchor = "" if predicted is None else f", predicted {predicted:.3g}"
    return verdict, f"share {level.share} against margins {bounds[0]:.3g}, {bounds[1]:.3g}{anchor}"


def predicted_share(prediction: Prediction | None) -> float | None:
    """Instance variance over total variance at an optimum that keeps instances apart, else None."""
    if prediction is None or prediction.phase != "spread":
        return None
    total = prediction.within_class_variance + prediction.between_class_variance
    return prediction.instance_variance / total if total > 0 else None


def predicted_shares(prediction: Prediction | None, classes: int) -> list[float | None]:
    """The same for each class, from its own phase where the prediction knows the classes."""
    if prediction is None or len(prediction.instance_variance_per_class) != classes:
        return [predicted_share(prediction)] * classes
    total = prediction.within_class_variance + prediction.between_class_variance
    return [
        variance / total if phase == "spread" and total > 0 else None
        for variance, phase in zip(
            prediction.instance_variance_per_class, prediction.phase_per_class, strict=True
        )
    ]
