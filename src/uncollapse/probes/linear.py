"""Multinomial logistic regression (scikit-learn) on features at one scale, at several penalties.

For a penalty l,

    minimise over W, b:   sum_i w_i log(1/softmax(x_i W + b)[y_i]) / sum_i w_i  +  l/2 ||W||^2

on features that are centred and divided by one number, their root mean square, so that a penalty
means the same at every layer. scikit-learn's `LogisticRegression` has this optimum at C = 1/(l N);
for two classes it penalises the difference of both weights, so at C = 2/(l N). 45 penalties at
50,000 rows, 512 dimensions and 100 classes take it 106 to 115 s of one core (benchmarks/probe.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.probes._task import Integers, SplitRows, Task, balanced_accuracy, reading
from uncollapse.records import ChosenValues, ProbeOptions, ProbeReading

Rows = NDArray[np.floating[Any]]

# Above this many multiplications per evaluation, products are taken in float32.
_SINGLE_ABOVE = 5e7
_MOST_STEPS = 1000


@dataclass(frozen=True)
class LinearModel:
    """scikit-learn's regression, fitted on scaled features, for features as they came."""

    regression: Any
    mean: Rows  # (d,) of the features
    scale: float  # root mean square of the centred features

    def predict(self, rows: Rows) -> Integers:
        """Class of each row."""
        with _unchecked():
            return np.asarray(self.regression.predict((rows - self.mean) / self.scale), np.int64)


def _unchecked() -> AbstractContextManager[None]:
    """No checks of numbers and options, known here: a fifth of the time of a fit to few rows."""
    from sklearn import config_context

    context: AbstractContextManager[None] = config_context(
        assume_finite=True, skip_parameter_validation=True
    )
    return context


def need_sklearn() -> None:
    """Raise the user's error when scikit-learn is not there."""
    try:
        import sklearn  # noqa: F401  (only whether it is there)
    except ImportError as error:
        raise InputError(
            "scikit-learn, which the within-class probe uses",
            "an environment without it",
            "pip install 'uncollapse[measure]'",
        ) from error


def fit_logistic(
    regression: Any, rows: Rows, labels: Integers, strengths: Iterable[float]
) -> Iterator[LinearModel]:
    """scikit-learn's `LogisticRegression` on the features at one scale, at each strength C."""
    from sklearn.exceptions import ConvergenceWarning

    mean = rows.mean(axis=0, dtype=np.float64)
    scale = max(float(np.sqrt(np.mean((rows - mean) ** 2))), 1e-300)
    scaled = ((rows - mean) / scale).astype(rows.dtype)
    for regression.C in strengths:
        with warnings.catch_warnings(), _unchecked():
            # A weak penalty on separable data has no finite optimum to converge to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(scaled, labels)
        yield LinearModel(copy(regression), mean, scale)


def fit_at_penalties(
    train: SplitRows,
    penalties: Iterable[float],
    options: ProbeOptions,
    start: LinearModel | None = None,
) -> Iterator[LinearModel]:
    """The optimum at each penalty, each from the one before (or from another model)."""
    from sklearn.linear_model import LogisticRegression

    count, classes = len(train.labels), int(train.labels.max()) + 1
    single = 1.0 * train.features.size * classes > _SINGLE_ABOVE
    regression: Any = LogisticRegression(
        class_weight="balanced" if options.balanced else None,
        tol=options.tolerance,
        max_iter=_MOST_STEPS,
        warm_start=True,
    )
    if start is not None:
        regression = copy(start.regression).set_params(tol=options.tolerance)
    strengths = ((2 if classes == 2 else 1) / (l2 * count) for l2 in penalties)
    rows: Rows = train.features.astype(np.float32 if single else np.float64)
    return fit_logistic(regression, rows, train.labels, strengths)


def linear(task: Task, options: ProbeOptions) -> tuple[ProbeReading, list[str]]:
    """Logistic regression on the features, the penalty chosen on the validation rows.

    Of equals the stronger penalty. Second comes what the reader must know.
    """
    path = sorted(options.l2, reverse=True)
    models = list(fit_at_penalties(task.train, path, options))
    rows, truth = task.validation.features, task.validation.labels
    values = [balanced_accuracy(model.predict(rows) == truth, truth) for model in models]
    best = int(np.argmax(values))
    l2, model = path[best], models[best]
    if options.refit:
        model = next(fit_at_penalties(task.refit, [l2], options, model))
    notes = []
    if len(path) > 1 and l2 in (path[0], path[-1]):
        notes.append(f"linear: the chosen penalty {l2:.3g} is at the end of the path")
    guess, chosen = model.predict(task.test.features), ChosenValues(l2=l2)
    return reading("linear", task, guess, chosen, values[best], options.confidence), notes
