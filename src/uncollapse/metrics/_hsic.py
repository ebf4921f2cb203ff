"""HSIC of two Gram matrices inside a class without bias, in sums over the class's instances.

With instances x_i of one embedding and y_i of another, K_ij = x_i . x_j and L_ij = y_i . y_j off
the diagonal, and 0 on it,

    HSIC(K, L) = [ tr KL + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1 ] / (n(n-3))

(Song et al. 2012, equation 5) is the U-statistic of E K_ij L_ij - 2 E K_ij L_ik + E K_ij L_kl over
different instances. It does not change when all x_i are moved by one vector, so callers centre
them: the sums then keep their digits where a class is nearly one point.

Its sums follow from K and L themselves, or from sums over the instances in d and e dimensions;
which costs less depends on n.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from uncollapse.metrics.features import Floats, Integers

# Instances of a class that are left out in turn; their spread stands for that of all.
LEFT_OUT = 256
# What takes as long as so many multiplications of a matrix product: what is done once with each
# number of an instance (it is divided, centred, squared), and with each pair of instances.
_PER_NUMBER, _PER_PAIR = 100, 20


def gram_cost(n: Floats | float, d: int, e: int) -> Floats:
    """Multiplications for K and L of n instances, and what follows from them."""
    return np.asarray(n * (d + e) * _PER_NUMBER + n * n * ((d + e) / 2 + _PER_PAIR))


def product_cost(n: Floats | float, d: int, e: int) -> Floats:
    """Multiplications for the sums over n instances; sum x_i x_i' is known."""
    products = n * (d * e + e * e / 2) + np.minimum(n, LEFT_OUT) * (d * d + d * e + e * e)
    return np.asarray(n * (d + e) * _PER_NUMBER + products)


def hsic(n: float, trace: Floats, row_sums: Floats, k: Floats, l: Floats) -> Floats:  # noqa: E741  (K, L)
    """HSIC from tr KL, 1'KL1, 1'K1 and 1'L1; of fewer than four instances it is not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = trace + k * l / np.float64((n - 1) * (n - 2)) - 2 * row_sums / np.float64(n - 2)
        return np.asarray(whole / np.float64(n * (n - 3)))


@dataclass(frozen=True)
class Gram:
    """K of a class in one embedding."""

    matrix: Floats  # (n, n), 0 on the diagonal
    row_sums: Floats  # (n,)
    squares: Floats  # (n,) |x_i|^2

    @classmethod
    def of(cls, rows: Floats) -> Gram:
        """Of centred rows."""
        gram = rows @ rows.T
        squares = gram.diagonal().copy()
        np.fill_diagonal(gram, 0)
        return cls(gram, gram.sum(axis=0), squares)


def gram_hsics(K: Gram, L: Gram, some: Integers) -> tuple[Floats, Floats]:
    """HSIC(K, L), HSIC(K, K) and HSIC(L, L) of all instances, and without each of some of them."""
    n, sides = len(K.matrix), (K, L)
    pairs = ((0, 1), (0, 0), (1, 1))
    left, right = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    sums = np.stack([each.row_sums for each in sides])
    along = np.stack([[each.matrix @ other for other in sums] for each in sides])
    kl_i = np.stack([np.einsum("ij,ij->i", sides[a].matrix, sides[b].matrix) for a, b in pairs])
    k_i, l_i = sums[left], sums[right]
    trace, row_sums, k, l = (each.sum(axis=1) for each in (kl_i, k_i * l_i, k_i, l_i))  # noqa: E741  (K, L)
    whole = hsic(n, trace, row_sums, k, l)
    # What row i adds to the row sums of the others.
    added = (along[left, right] + along[right, left])[:, some]
    k_i, l_i, kl_i = k_i[:, some], l_i[:, some], kl_i[:, some]
    trace, row_sums = trace[:, None] - 2 * kl_i, row_sums[:, None] - k_i * l_i - added + kl_i
    return whole, hsic(n - 1, trace, row_sums, k[:, None] - 2 * k_i, l[:, None] - 2 * l_i)


@dataclass(frozen=True)
class Instances:
    """Instances of a class in one embedding, centred, with their squared lengths."""

    rows: Floats  # (n, d)
    squares: Floats  # (n,) |x_i|^2

    @classmethod
    def of(cls, rows: Floats) -> Instances:
        """Of centred rows."""
        return cls(rows, np.einsum("ij,ij->i", rows, rows))

    def take(self, some: Integers) -> Instances:
        """Some of them."""
        return Instances(self.rows[some], self.squares[some])


@dataclass(frozen=True)
class PairSums:
    """Sums over the instances of a class that HSIC of two embeddings is made of."""

    n: float
    x: Floats  # S = sum x_i
    y: Floats  # T = sum y_i
    product: Floats  # M = sum x_i y_i'
    x_weighted: Floats  # P = sum |y_i|^2 x_i
    y_weighted: Floats  # Q = sum |x_i|^2 y_i
    squares: Floats  # sum |x_i|^2, sum |y_i|^2, sum |x_i|^2 |y_i|^2

    @classmethod
    def of(cls, x: Instances, y: Instances, product: Floats | None = None) -> PairSums:
        """Of the instances in both embeddings; `product` is M where it is known."""
        p, q = x.squares, y.squares
        squares = np.array([p.sum(), q.sum(), p @ q])
        S, P = x.rows.sum(axis=0), q @ x.rows
        T, Q = (S, P) if y is x else (y.rows.sum(axis=0), p @ y.rows)
        M = x.rows.T @ y.rows if product is None else product
        return cls(len(p), S, T, M, P, Q, squares)

    def value(self) -> Floats:
        """HSIC of all instances."""
        return hsic(self.n, *self._totals)

    @cached_property
    def _along(self) -> tuple[Floats, Floats]:
        """MT and M'S, which are one where both embeddings are."""
        along = self.product @ self.y
        return along, along if self.x is self.y else self.x @ self.product

    @cached_property
    def _totals(self) -> tuple[Floats, Floats, Floats, Floats]:
        """tr KL, 1'KL1, 1'K1, 1'L1.

        |M|^2 - sum |x_i|^2 |y_i|^2;   S'MT - S.P - T.Q + sum |x_i|^2 |y_i|^2, which is
        sum_i (x_i.S - |x_i|^2)(y_i.T - |y_i|^2);   |S|^2 - sum |x_i|^2;   |T|^2 - sum |y_i|^2.
        """
        p, q, pq = self.squares
        S, T, M = self.x, self.y, self.product
        rows = S @ self._along[0] - S @ self.x_weighted - T @ self.y_weighted + pq
        return np.einsum("ij,ij", M, M) - pq, rows, S @ S - p, T @ T - q

    def without_each(self, some: Instances, others: Instances) -> Floats:
        """HSIC without one instance, for each of some of them, given in both embeddings."""
        trace, row_sums, k, l = self._totals  # noqa: E741  (K, L)
        (x, p), (y, q) = (some.rows, some.squares), (others.rows, others.squares)
        # Sums of row i of K and of L, and of K * L.
        k_i = x @ self.x - p
        l_i = k_i if others is some else y @ self.y - q
        kl_i = np.einsum("ij,ij->i", x @ self.product, y) - p * q
        # What row i adds to the row sums of the others.
        along_y, along_x = self._along
        added = x @ (along_y - self.x_weighted) - p * l_i
        added = added + (added if others is some else y @ (along_x - self.y_weighted) - q * k_i)
        return hsic(
            self.n - 1,
            trace - 2 * kl_i,
            row_sums - k_i * l_i - added + kl_i,
            k - 2 * k_i,
            l - 2 * l_i,
        )
