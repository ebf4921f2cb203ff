"""What NC1 would be if the labels had nothing to do with the embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from uncollapse.metrics.secondary import nc1
from uncollapse.records import NC1Null

__all__ = ["nc1_null"]

Floats = NDArray[np.float64]


def nc1_null(
    points: Floats, counts: Sequence[int], permutations: int, rng: np.random.Generator
) -> NC1Null:
    """NC1 with the labels permuted: its mean, its range, and where the true one lies.

    S_w + S_b is the total covariance under every permutation, so each needs only class sums.

    Args:
        points: (N, d) instances in class order.
        counts: Instances of each class.
        permutations: How many.
        rng: Draws them.
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    sizes = np.asarray(counts, dtype=np.float64)
    weights = sizes / sizes.sum()
    mean = points.mean(axis=0)
    centred = points - mean
    total = centred.T @ centred / len(points)

    def value(permuted: NDArray[np.int64]) -> float:
        picks = sparse.csr_matrix((np.ones(len(permuted)), (permuted, np.arange(len(permuted)))))
        means = np.asarray(picks @ centred) / sizes[:, None]

        def within_along(u: Floats) -> Floats:
            between = weights @ (means @ u.T) ** 2
            return np.asarray(np.einsum("ij,ij->i", u @ total, u) - between)

        return nc1(within_along, means, weights)

    observed = value(labels)
    null = np.array([value(rng.permutation(labels)) for _ in range(permutations)])
    return NC1Null(
        mean=float(null.mean()),
        low=float(null.min()),
        high=float(null.max()),
        permutations=permutations,
        p_value=float((1 + np.count_nonzero(null <= observed)) / (1 + permutations)),
    )
