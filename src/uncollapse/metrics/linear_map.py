"""Linear maps of an embedding that need no labels: centring and whitening."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.samples import to_numpy, unit_rows

RIDGE = 0.01


@dataclass(frozen=True)
class LinearMap:
    """z -> (z / |z| - mean) matrix: called with rows (..., d) it gives (..., d) float32.

    Attributes:
        mean: (d,) float64, of unit rows.
        matrix: (d, d) float64, symmetric.

    Examples:
        >>> rows = np.random.default_rng(0).standard_normal((50, 3))
        >>> centre = LinearMap(mean=np.full(3, 0.1), matrix=np.eye(3))
        >>> centre(rows).shape
        (50, 3)
    """

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]

    def __call__(self, rows: Any) -> NDArray[np.float32]:
        """The rows mapped, not normalised."""
        values, _ = to_numpy(rows)
        flat = unit_rows(values.reshape(-1, values.shape[-1])) - self.mean
        return (flat @ self.matrix).reshape(values.shape).astype(np.float32)


def fit_linear_map(
    embeddings: Any, kind: Literal["centred", "whitened"] = "whitened", *, ridge: float = RIDGE
) -> LinearMap:
    """The map that centres or whitens an embedding, fitted on rows without their labels.

    With the mean m and the covariance C = V diag(l) V' of unit rows,

        centred:   z -> z/|z| - m
        whitened:  z -> (z/|z| - m) V diag(1 / sqrt(l + ridge max l)) V'

    so that no direction is enlarged more than sqrt(1 + 1/ridge) times (10 by default) against the
    widest one. A collapsed embedding has few wide directions, those between its classes, and many
    narrow ones, in which what is left of the instances lies: whitening shows it to a distance. What
    is not there any more, it cannot bring back; noise it enlarges as well.

    Args:
        embeddings: (N, d) training rows, N at least 2; any lengths above 0.
        kind: "centred" or "whitened".
        ridge: Above 0; the default was chosen on validation rows of digits and solar cells.

    Raises:
        InputError: Fewer than two rows, another kind, a ridge of 0 or less.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> rows = rng.standard_normal((500, 3)) * [3, 1, 1]
        >>> linear = fit_linear_map(rows, ridge=1e-9)
        >>> np.round(np.cov(linear(rows).T), 2) + 0
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 1.]])
    """
    values, _ = to_numpy(embeddings)
    if values.ndim != 2 or len(values) < 2:
        raise InputError("two rows (N, d) or more", f"shape {values.shape}", "give more rows")
    if kind not in ("centred", "whitened"):
        raise InputError("centred or whitened", repr(kind), "name one of them")
    if not ridge > 0:
        raise InputError("a ridge above 0", f"{ridge}", "raise it")
    rows = unit_rows(values)
    mean = rows.mean(axis=0)
    if kind == "centred":
        return LinearMap(mean, np.eye(rows.shape[1]))
    variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(rows.T)))
    variances = np.maximum(variances, 0)
    widest = float(variances.max()) or 1.0
    scale = 1 / np.sqrt(variances + ridge * widest)
    return LinearMap(mean, directions * scale @ directions.T)
