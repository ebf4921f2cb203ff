"""The two classifiers of the within-class probe: weighted cosine neighbours and logistic.

Both see a class's own scale: residuals from the training mean, divided by their root mean square.
So what they find does not depend on the size of the spread, only on its structure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError

__all__ = [
    "NeighbourIndex",
    "exact_neighbours",
    "fit_logistic",
    "knn_votes",
    "need_sklearn",
    "one_thread",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# (train (n, d), queries (m, d), k) -> cosines (m, k) and positions in train (m, k), best first.
NeighbourIndex = Callable[[Floats, Floats, int], tuple[Floats, Integers]]


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


def one_thread() -> AbstractContextManager[Any]:
    """One thread for hundreds of small fits: on a busy machine threads wait for each other."""
    import sklearn.linear_model
    import sklearn.neighbors  # noqa: F401  (its libraries must be there to be limited)
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1)
    return limits


def exact_neighbours(train: Floats, queries: Floats, k: int) -> tuple[Floats, Integers]:
    """The k nearest by cosine, by comparing with all.

    Distances are taken after subtracting the mean, which changes none of them, and not as
    1 - cosine: at a variance of 1e-12 that difference has no digits left.
    """
    from sklearn.neighbors import NearestNeighbors

    mean = train.mean(axis=0)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(train - mean)
    distances, found = search.kneighbors(queries - mean)
    return 1 - distances**2 / 2, np.asarray(found, dtype=np.int64)


def knn_votes(
    cosines: Floats, neighbours: Integers, labels: Integers, spread: float, temperature: float
) -> Integers:
    """Label with the largest sum of weights exp(cosine/(temperature * spread)), over its frequency.

    Args:
        cosines: (m, k) cosines of the nearest, best first.
        neighbours: (m, k) their positions in the training set.
        labels: (n,) labels of the training set, 0..K-1.
        spread: Variance of the training set, which makes the temperature free of scale.
        temperature: Of the weights.
    """
    weights = np.exp((cosines - cosines[:, :1]) / (temperature * max(spread, 1e-300)))
    counts = np.bincount(labels)
    votes = np.zeros((len(cosines), len(counts)))
    np.add.at(votes, (np.arange(len(cosines))[:, None], labels[neighbours]), weights)
    return np.asarray(np.argmax(votes / np.maximum(counts, 1), axis=1))


def fit_logistic(train: Floats, labels: Integers, strength: float) -> Callable[[Floats], Integers]:
    """Multinomial logistic regression with an L2 penalty of 1/strength, labels weighing equally."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean = train.mean(axis=0)
    scale = max(float(np.sqrt(np.mean((train - mean) ** 2))), 1e-300)
    model: Any = LogisticRegression(C=strength, class_weight="balanced", max_iter=200, tol=1e-3)
    with warnings.catch_warnings():
        # A weak penalty on separable data has no finite optimum to converge to.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((train - mean) / scale, labels)
    return lambda rows: np.asarray(model.predict((rows - mean) / scale), dtype=np.int64)
