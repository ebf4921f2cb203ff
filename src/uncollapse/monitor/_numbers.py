"""A measurement as numbers for a logger, and as a warning; without torch."""

from __future__ import annotations

import warnings

from uncollapse.records import Measurement

_VERDICT_NUMBERS = {
    "collapsed": 0.0,
    "at-risk": 1.0,
    "not-collapsed": 2.0,
    "healthy": 3.0,
    "cannot-tell": -1.0,
}
_LOGGED = (
    "instance_variance",
    "view_variance",
    "within_class_variance",
    "between_class_variance",
    "share",
)


class CollapseWarning(UserWarning):
    """The model under training is collapsed, or could not be measured.

    Examples:
        >>> import warnings
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", CollapseWarning)  # what warns now stops the training
        ...     warn_of(measure(np.eye(3, 16)[labels], labels), "step 100")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        uncollapse.monitor._numbers.CollapseWarning: step 100: class collapse ...
    """


def as_numbers(measurement: Measurement, prefix: str = "") -> dict[str, float]:
    """What a logger takes: the variances and the share that exist, and the verdict as a number.

    Args:
        measurement: It.
        prefix: Put before every name.

    Returns:
        `instance_variance` and `view_variance` (where there are views), `within_class_variance`,
        `between_class_variance`, `share`; `verdict` is 0 for collapsed, 1 at-risk,
        2 not-collapsed, 3 healthy, -1 cannot-tell.
    """
    numbers = {
        prefix + name: value
        for name in _LOGGED
        if (value := measurement[name].estimate) is not None
    }
    return numbers | {prefix + "verdict": _VERDICT_NUMBERS[measurement.verdict]}


def warn_of(measurement: Measurement, when: str, stacklevel: int = 2) -> None:
    """Warn with the deciding reason if the model is collapsed.

    Args:
        measurement: It.
        when: Of the training, such as "step 100".
        stacklevel: Of the warning.
    """
    if measurement.verdict != "collapsed":
        return
    reason = measurement.reasons[0]
    warnings.warn(
        f"{when}: class collapse ({reason.code}): {reason.text}. {reason.advice}",
        CollapseWarning,
        stacklevel=stacklevel + 1,
    )
