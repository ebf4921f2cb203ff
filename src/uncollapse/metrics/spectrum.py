"""How many dimensions the embedding uses, over all instances and inside a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics.moments import ClassMoments
from uncollapse.records import ClassSpectrum, number

Floats = NDArray[np.float64]


def effective_rank(weights: Floats) -> float:
    """exp(entropy) of weights scaled to sum to 1 (Roy & Vetterli 2007)."""
    positive = weights[weights > 0]
    p = positive / positive.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


# Multiplications that the matrix of second moments of all instances may cost.
_MOST_MULTIPLICATIONS = 4e10


def rankme(classes: Sequence[ClassMoments]) -> float | None:
    """exp(entropy) of the singular values of all instances, uncentred (Garrido et al. 2023).

    Where the instances of a class are kept one by one and their second moments would cost more than
    4e10 multiplications, every k-th of them stands for all.
    """
    d = classes[0].dimension
    kept = sum(len(m.rows) for m in classes if m.rows is not None)
    step = max(1, int(np.ceil(kept * d**2 / _MOST_MULTIPLICATIONS)))
    second = np.zeros((d, d))
    thinned = []
    for m in classes:
        if m.rows is None:
            second += m.covariance() * (m.units - 1) + m.units * np.outer(m.mean, m.mean)
        else:
            rows = m.rows[::step, :d]
            thinned.append(rows * np.sqrt(m.units / len(rows)))
    if thinned:
        together = np.concatenate(thinned)
        second += together.T @ together
    return number(effective_rank(np.sqrt(np.clip(np.linalg.eigvalsh(second), 0, None))))


def class_spectrum(classes: Sequence[ClassMoments]) -> ClassSpectrum:
    """Shape of the spread inside a class, mean over classes.

    `participation` is (tr Sigma)^2 / tr Sigma^2 with both debiased; `effective_rank` is
    exp(entropy) of the sample covariance's eigenvalues, at most the class's instances - 1;
    `largest_share` is the share of the first 1, 2, 5 and 10 of them.
    """
    participation, ranks, shares = [], [], []
    for moments in classes:
        eigenvalues = moments.eigenvalues()
        total = float(eigenvalues.sum())
        if not total > 1e-15:
            continue
        squared = moments.squared_spread()
        if squared > 0:
            participation.append(total**2 / squared)
        ranks.append(effective_rank(eigenvalues))
        shares.append([float(eigenvalues[:k].sum()) / total for k in (1, 2, 5, 10)])
    if not ranks:
        return ClassSpectrum(None, None, None)
    firsts = np.mean(shares, axis=0).tolist()
    return ClassSpectrum(
        participation=number(np.mean(participation)) if participation else None,
        effective_rank=number(np.mean(ranks)),
        largest_share=dict(zip(("1", "2", "5", "10"), firsts, strict=True)),
    )


def uniformity_of(rows: Floats, t: float = 2.0) -> float:
    """Log of the mean over pairs of exp(-t ||x - y||^2) (Wang & Isola 2020, equation 6)."""
    n = len(rows)
    potential = np.exp(-2 * t * (1 - rows @ rows.T))
    return float(np.log((potential.sum() - np.trace(potential)) / (n * (n - 1))))
