"""Embeddings that realise a prediction: the simplex-to-simplex model, any optimal Gram matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag

from uncollapse.errors import InputError
from uncollapse.records import Prediction, Setting
from uncollapse.theory._program import Array, IntArray

# Beyond this many embeddings the N x N Gram matrix is no longer a small thing.
MOST_EMBEDDINGS = 10_000


class Embeddings(NamedTuple):
    """Unit vectors (N, d) float64 with the class and the instance of each, (N,) int64."""

    vectors: Array
    labels: IntArray
    instances: IntArray


def ssem(
    classes: int, per_class: int, views: int = 1, *, variance: float, dimension: int | None = None
) -> Embeddings:
    """The simplex-to-simplex embedding model (SSEM).

        z_ij = sqrt(1 - delta^2) nu_i + delta w_ij,   delta^2 = V

    nu_1..nu_m are the vertices of a regular simplex; w_i1..w_in those of one per class, orthogonal
    to every nu and to the other classes' w. All views of an instance coincide. The within-class
    variance is V, the between-class variance 1 - V.

    Args:
        classes: m, at least 2.
        per_class: n, at least 1.
        views: p, at least 1.
        variance: V = delta^2 in [0, 1]; 0 where n = 1.
        dimension: d, at least m n - 1 (m - 1 where V = 0); that where left out.

    Returns:
        m n p unit vectors, ordered by class, then instance, then view.

    Raises:
        InputError: Where an argument is out of its range or d is too small.

    Examples:
        >>> vectors, labels, instances = ssem(3, 4, 2, variance=0.25)
        >>> vectors.shape, float(1 - np.sum(vectors[labels == 0].mean(0) ** 2).round(12))
        ((24, 11), 0.25)

    Reference: Lee et al., arXiv:2503.08203, definition of the SSEM; the scale of delta is such
    that delta^2 is the within-class variance.
    """
    m, n = classes, per_class
    if m < 2 or n < 1 or views < 1:
        raise InputError(
            "at least two classes, one instance and one view",
            f"classes = {m}, per_class = {n}, views = {views}",
            "give the counts of the data",
        )
    if not 0 <= variance <= 1 or (n == 1 and variance > 0):
        raise InputError(
            "a variance in [0, 1], 0 where a class has one instance",
            f"variance = {variance!r} with per_class = {n}",
            "give delta squared",
        )
    least = m - 1 + (m * (n - 1) if variance > 0 else 0)
    d = least if dimension is None else dimension
    if d < least:
        raise InputError(
            f"a dimension of at least {least}", f"{d}", "the simplices do not fit into fewer"
        )
    vectors = np.zeros((m * n, d))
    vectors[:, : m - 1] = np.sqrt(1 - variance) * np.repeat(_simplex(m), n, axis=0)
    if variance > 0:
        vectors[:, m - 1 : least] = block_diag(*[np.sqrt(variance) * _simplex(n)] * m)
    instances = np.repeat(np.arange(m * n), views)
    return Embeddings(vectors[instances], instances // n, instances)


def gram(setting: Setting, prediction: Prediction) -> Array:
    """The Gram matrix of a setting's prediction, (N, N), N up to 10,000, in the order of `ssem`."""
    labels, instances = _identity(setting)
    cosines = prediction.cosines
    known = cosines.block
    block = np.asarray(np.searchsorted(cosines.counts, setting.counts) if known is None else known)
    block = block[labels]
    # nan where no pair exists: never seen, as these cells are what the next line fills.
    s, a, b = (np.array(part, dtype=float) for part in (cosines.s, cosines.a, cosines.b))
    out = np.where(labels[:, None] == labels, a[block], b[np.ix_(block, block)])
    out = np.where(instances[:, None] == instances, s[block], out)
    np.fill_diagonal(out, 1.0)
    return np.asarray(out, dtype=np.float64)


def realise(
    setting: Setting, prediction: Prediction, *, dimension: int | None = None
) -> Embeddings:
    """Unit vectors whose Gram matrix is the prediction's, in its rank of dimensions or in more."""
    labels, instances = _identity(setting)
    values, vectors = np.linalg.eigh(gram(setting, prediction))
    kept = values > 1e-9 * values[-1]
    rank = int(kept.sum())
    d = rank if dimension is None else dimension
    if d < rank:
        raise InputError(
            f"a dimension of at least {rank} (the rank of the optimum)",
            f"{d}",
            "the optimum does not fit into fewer dimensions",
        )
    out = np.zeros((len(values), d))
    out[:, :rank] = (vectors * np.sqrt(np.maximum(values, 0)))[:, kept][:, ::-1]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return Embeddings(out, labels, instances)


def _identity(setting: Setting) -> tuple[IntArray, IntArray]:
    counts, p = setting.counts, setting.views
    total = int(counts.sum()) * p
    if total > MOST_EMBEDDINGS:
        raise InputError(
            f"at most {MOST_EMBEDDINGS:,} embeddings",
            f"{total:,}",
            "realise a smaller setting: cosines holds the same numbers by blocks",
        )
    labels = np.repeat(np.arange(len(counts)), counts * p)
    return labels, np.repeat(np.arange(counts.sum()), p)


def _simplex(vertices: int) -> Array:
    """Vertices of a regular simplex on the unit sphere, (k, k - 1)."""
    out = np.zeros((vertices, vertices - 1))
    for i in range(vertices - 1):
        out[i, i] = np.sqrt(1 - np.sum(out[i, :i] ** 2))
        out[i + 1 :, i] = (-1 / (vertices - 1) - out[i + 1 :, :i] @ out[i, :i]) / out[i, i]
    return out
