"""Where healthy ends and collapse begins, and on which side an interval lies.

The judged quantity is the share: variance between instances of a class over total variance (within-
class variance over total, when no views tell instances apart). Its margins are declared, because no
standard threshold exists; a prediction for the run's own setting lowers them when it says that less
spread is attainable.
"""

from __future__ import annotations

from uncollapse.metrics.variance import LevelsPerClass
from uncollapse.records import Estimate, Margins, Prediction, Verdict

__all__ = [
    "judge_class",
    "judge_share",
    "predicted_share",
    "predicted_shares",
]


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
