"""The expected loss as a function of the Gram matrix, and the proof of an optimum.

Proof (`duality_gap`): for C = grad F(G) and any y, every feasible G' (N x N, psd, unit diagonal)
has
    F(G') >= F(G) + <C, G' - G>                       convexity
    <C, G'> >= sum y + N min(0, lambda_min(C - diag y))   as trace G' = N
so  F(G) - min F <= <C, G> - sum y + N max(0, -lambda_min(C - diag y)).
No symmetry and no enumeration by symmetry enters the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from free_problem import Problem, batches, pair_weights


@dataclass(frozen=True)
class Rows:
    """F(G) = -<positive, G>/tau + sum_r weight_r log sum_{j in mask_r} exp(G[anchor_r, j]/tau)."""

    positive: np.ndarray  # (N, N)
    anchor: np.ndarray  # (R,) int
    mask: np.ndarray  # (R, N) bool
    weight: np.ndarray  # (R,)


@lru_cache(maxsize=64)
def batch_rows(problem: Problem, by_symmetry: bool) -> Rows:
    classes, instances = problem.labels()
    conventions = {k: v for k, v in problem.conventions.items() if k != "tau"}

    def weighted() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for probability, subset in batches(problem.counts, problem.batch, by_symmetry=by_symmetry):
            members = np.flatnonzero(np.isin(instances, subset))
            W = pair_weights(classes[members], instances[members], **conventions)
            yield members, probability * W

    return gathered(weighted(), classes.size, problem.self_pairs == "include")


def gathered(batches: Iterable[tuple[np.ndarray, np.ndarray]], N: int, self_pairs: bool) -> Rows:
    """Of every batch its members and their pairs' weights, anchors with the same mask together."""
    positive = np.zeros((N, N))
    weights: dict[tuple[int, bytes], float] = {}
    for members, W in batches:
        positive[np.ix_(members, members)] += W
        for anchor, weight in zip(members.tolist(), W.sum(1).tolist(), strict=True):
            mask = np.zeros(N, dtype=bool)
            mask[members] = True
            mask[anchor] = self_pairs
            key = (anchor, mask.tobytes())
            weights[key] = weights.get(key, 0.0) + weight
    keys = sorted(key for key, weight in weights.items() if weight > 0)
    return Rows(
        positive,
        np.array([anchor for anchor, _ in keys]),
        np.array([np.frombuffer(mask, dtype=bool) for _, mask in keys]),
        np.array([weights[key] for key in keys]),
    )


def gram_loss(G: np.ndarray, problem: Problem) -> tuple[float, np.ndarray]:
    """Expected loss of a Gram matrix (N, N) over every batch, and its gradient."""
    rows = batch_rows(problem, by_symmetry=False)
    logits = np.where(rows.mask, G[rows.anchor] / problem.tau, -np.inf)
    top = logits.max(1)
    exponentials = np.exp(logits - top[:, None])
    sums = exponentials.sum(1)
    value = rows.weight @ (top + np.log(sums)) - (rows.positive * G).sum() / problem.tau
    softmax = exponentials * (rows.weight / sums)[:, None]
    starts = np.flatnonzero(np.diff(rows.anchor, prepend=-1))
    gradient = -rows.positive.copy()
    gradient[rows.anchor[starts]] += np.add.reduceat(softmax, starts)
    gradient /= problem.tau
    return float(value), (gradient + gradient.T) / 2


def duality_gap(G: np.ndarray, problem: Problem) -> float:
    """Bound on F(G) - min F for a feasible Gram matrix G, from the multipliers y_i = (C G)_ii."""
    C = gram_loss(G, problem)[1]
    y = (C * G).sum(1)
    lowest = np.linalg.eigvalsh(C - np.diag(y))[0]
    return float((C * G).sum() - y.sum() + len(G) * max(0.0, -lowest))
