"""HSIC of two Gram matrices inside a class without bias, in sums over the class's instances.

With instances x_i of one embedding and y_i of another, K_ij = x_i . x_j and L_ij = y_i . y_j off
the diagonal, and 0 on it,

    HSIC(K, L) = [ tr KL + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1 ] / (n(n-3))

(Song et al. 2012, equation 5) is the U-statistic of E K_ij L_ij - 2 E K_ij L_ik + E K_ij L_kl over
different instances. It does not change when all x_i are moved by one vector, so callers centre
them: the sums then keep their digits where a class is nearly one point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from uncollapse.metrics.moments import Floats


def hsic(n: float, trace: Floats, row_sums: Floats, k: Floats, l: Floats) -> Floats:  # noqa: E741  (K, L)
    """HSIC from tr KL, 1'KL1, 1'K1 and 1'L1; of fewer than four instances it is not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = trace + k * l / np.float64((n - 1) * (n - 2)) - 2 * row_sums / np.float64(n - 2)
        return np.asarray(whole / np.float64(n * (n - 3)))


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
    def of(cls, x: Floats, y: Floats) -> PairSums:
        """Of instances (n, d) and (n, e)."""
        p, q = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
        squares = np.array([p.sum(), q.sum(), p @ q])
        return cls(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ y, q @ x, p @ y, squares)

    def value(self) -> Floats:
        """HSIC of all instances."""
        return hsic(self.n, *self._totals())

    def _totals(self) -> Iterator[Floats]:
        """tr KL, 1'KL1, 1'K1, 1'L1.

        |M|^2 - sum |x_i|^2 |y_i|^2;   S'MT - S.P - T.Q + sum |x_i|^2 |y_i|^2, which is
        sum_i (x_i.S - |x_i|^2)(y_i.T - |y_i|^2);   |S|^2 - sum |x_i|^2;   |T|^2 - sum |y_i|^2.
        """
        p, q, pq = self.squares
        S, T, M = self.x, self.y, self.product
        yield np.sum(M * M) - pq
        yield S @ M @ T - S @ self.x_weighted - T @ self.y_weighted + pq
        yield S @ S - p
        yield T @ T - q

    def without_each(self, x: Floats, y: Floats) -> Floats:
        """HSIC without one instance, for each of some of the instances."""
        trace, row_sums, k, l = self._totals()  # noqa: E741  (K, L)
        S, T, M = self.x, self.y, self.product
        p, q = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
        # Sums of row i of K and of L, and of K * L.
        k_i, l_i = x @ S - p, y @ T - q
        kl_i = np.einsum("ij,ij->i", x @ M, y) - p * q
        # What row i adds to the row sums of the others.
        others = x @ (M @ T - self.x_weighted) - p * l_i + y @ (S @ M - self.y_weighted) - q * k_i
        return hsic(
            self.n - 1,
            trace - 2 * kl_i,
            row_sums - k_i * l_i - others + kl_i,
            k - 2 * k_i,
            l - 2 * l_i,
        )
