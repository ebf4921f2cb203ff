"""What a prediction lets expect of a measurement, and whether it is reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uncollapse.records import Estimate, Margins, Prediction


@dataclass(frozen=True)
class Expected:
    """Instance variance that is predicted for new instances, and its share of the total."""

    share: float
    variance: float


def expected_of(prediction: Prediction | None) -> Expected | None:
    """What is predicted at an optimum that keeps instances apart, else None."""
    if prediction is None:
        return None
    return _attainable(prediction, prediction.phase, prediction.instance_variance)


def expected_per_class(prediction: Prediction) -> list[Expected | None]:
    """The same of every class."""
    own = zip(prediction.phase_per_class, prediction.instance_variance_per_class, strict=True)
    return [_attainable(prediction, phase, variance) for phase, variance in own]


def _attainable(prediction: Prediction, phase: str | None, variance: float) -> Expected | None:
    total = prediction.within_class_variance + prediction.between_class_variance
    if phase != "spread" or total <= 0:
        return None
    more = for_new_instances(prediction) - prediction.within_class_variance
    return Expected(variance / total, variance + more)


def for_new_instances(prediction: Prediction) -> float:
    """Predicted within-class variance as the estimate has it: 1 - mean cosine of two instances.

    The prediction's own is that of the n instances as a whole population, low by 1 - 1/n.
    """
    cosines = [cosine for cosine in prediction.cosines.a if cosine is not None]
    classes = prediction.cosines.multiplicity
    if not cosines or len(cosines) != len(classes):
        return prediction.within_class_variance
    return float(1 - np.average(cosines, weights=classes))


def reached(
    share: Estimate, variance: Estimate, expected: Expected | None, margins: Margins
) -> bool:
    """Whether the share and the variance that it judges are, surely, about those predicted.

    The whole intervals of both lie between `margins.reached` of what is predicted and its
    reciprocal. The share alone is not enough: a total that has shrunk makes the predicted share of
    a spread that is a quarter of the predicted one. Nor is more than predicted a good sign: it is
    spread that the loss does not ask for.
    """
    if expected is None:
        return False
    pairs = ((share, expected.share), (variance, expected.variance))
    return all(
        found.low is not None
        and found.high is not None
        and margins.reached * wanted < found.low
        and found.high < wanted / margins.reached
        for found, wanted in pairs
    )
