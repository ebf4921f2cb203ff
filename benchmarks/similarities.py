"""Alternatives to retention: how alike two embeddings of the same rows are, inside classes.

Each takes rows x (n, d) and y (n, e) of one class, of unit length, and gives one number; 1 means
the same structure (up to rotation, or to a linear map).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NEIGHBOURS = 10
_RIDGE = 1e-2


def _centred(rows: Floats) -> Floats:
    return rows - rows.mean(axis=0)


def _nearest(rows: Floats) -> NDArray[np.bool_]:
    """(n, n) whether j is one of the nearest of i by cosine."""
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    chosen = np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    mask = np.zeros(cosines.shape, dtype=bool)
    np.put_along_axis(mask, chosen, True, axis=1)
    return mask


def overlap(x: Floats, y: Floats) -> float:
    """Part of the ten nearest rows that are the same (mutual k-NN; Huh et al. 2024)."""
    return float((_nearest(x) & _nearest(y)).sum(axis=1).mean() / NEIGHBOURS)


def cknna(x: Floats, y: Floats) -> float:
    """CKA over pairs that are neighbours in both (Huh et al. 2024, arXiv 2405.07987)."""
    grams = [_double_centred(rows @ rows.T) for rows in (x, y)]
    masks = [_nearest(x), _nearest(y)]

    def aligned(i: int, j: int) -> float:
        return float(np.sum(grams[i] * grams[j] * (masks[i] & masks[j])))

    return aligned(0, 1) / np.sqrt(aligned(0, 0) * aligned(1, 1))


def _double_centred(gram: Floats) -> Floats:
    gram = gram - gram.mean(axis=0)
    return gram - gram.mean(axis=1, keepdims=True)


def procrustes(x: Floats, y: Floats) -> float:
    """What is left of the variance by the best rotation: ||X'Y||_* / (||X||_F ||Y||_F)."""
    x, y = _centred(x), _centred(y)
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return float(nuclear / (np.linalg.norm(x) * np.linalg.norm(y)))


def readable(x: Floats, y: Floats) -> float:
    """R squared of y by ridge regression on x, fitted on one half and tested on the other."""
    half = len(x) // 2
    found = []
    for fit, tested in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        mean_x, mean_y = x[fit].mean(axis=0), y[fit].mean(axis=0)
        rows, wanted = x[fit] - mean_x, y[fit] - mean_y
        gram = rows @ rows.T
        gram += np.eye(len(gram)) * _RIDGE * np.trace(gram) / len(gram)
        guess = (x[tested] - mean_x) @ rows.T @ np.linalg.solve(gram, wanted)
        missed = np.sum((y[tested] - mean_y - guess) ** 2)
        found.append(1 - missed / np.sum((y[tested] - y[tested].mean(axis=0)) ** 2))
    return float(np.mean(found))


def cka_biased(x: Floats, y: Floats) -> float:
    """Linear CKA with the usual, biased HSIC (Kornblith et al. 2019)."""
    x, y = _centred(x), _centred(y)
    both = np.sum((x.T @ y) ** 2)
    return float(both / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


ALTERNATIVES: dict[str, Callable[[Floats, Floats], float]] = {
    "overlap": overlap,
    "cknna": cknna,
    "procrustes": procrustes,
    "reference from embedding": readable,
    "embedding from reference": lambda x, y: readable(y, x),
    "biased CKA": cka_biased,
}


def inside_classes(
    x: Floats, y: Floats, labels: NDArray[np.str_], most: int = 500
) -> dict[str, float]:
    """Every alternative, mean over classes of at most so many rows drawn from each."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in ALTERNATIVES}
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))[:most]
        for name, measure in ALTERNATIVES.items():
            found[name].append(measure(x[rows], y[rows]))
    return {name: float(np.mean(values)) for name, values in found.items()}
