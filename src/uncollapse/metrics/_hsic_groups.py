"""HSIC without bias where instances are drawn in groups: pairs inside a group do not count.

The same as in `_hsic`, the means taken over instances of different groups:

    HSIC = mean K_ij L_ij - 2 mean K_ij L_ik + mean K_ij L_kl

With S_g and T_g the sums of x_i and y_i over group g, the sums over distinct groups follow from
those over pairs of groups; a group that is left out takes its part of each away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from uncollapse.metrics._hsic import gram_cost, product_cost
from uncollapse.metrics.features import Floats, Integers

# What is done with each pair of instances besides those products, as `_hsic` counts it; and how
# many times its products the sums over groups are.
_PER_GROUPED_PAIR, _TERMS = 60, 8


@dataclass(frozen=True)
class _Terms:
    """Sums over ordered pairs of groups g, h and instances i of g; whole, or without each group."""

    trace: Floats  # sum_{g != h} sum_{i in g, j in h} K_ij L_ij
    crossed: Floats  # sum_{g != h} sum_{i in g} (x_i . S_h)(y_i . T_h)
    row_sums: Floats  # sum_i (x_i . (S - S_g))(y_i . (T - T_g))


def summed(values: Floats, codes: Integers) -> Floats:
    """Sums over the instances of each group."""
    if values.ndim == 1:
        return np.asarray(np.bincount(codes, values), dtype=np.float64)
    count = len(codes)
    groups = (np.ones(count), codes, np.arange(count + 1))
    member = sparse.csc_array(groups, shape=(int(codes.max()) + 1, count))
    return np.asarray(member @ values)


def _dots(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", a, b))


def _inner_squares(x: Floats, y: Floats, codes: Integers) -> Floats:
    """|M_g|^2 = sum over pairs i, j of group g of (x_i . x_j)(y_i . y_j)."""
    if codes.max() + 1 == len(codes):
        return summed(_dots(x, x) * _dots(y, y), codes)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return np.array([_inner_square(x[rows], y[rows]) for rows in parts])


def _inner_square(x: Floats, y: Floats) -> float:
    if len(x) < x.shape[1]:
        return float(np.sum((x @ x.T) * (y @ y.T)))
    return float(np.sum((x.T @ y) ** 2))


def _terms(x: Floats, y: Floats, codes: Integers) -> tuple[_Terms, _Terms]:
    """The sums over all groups, and without each of them."""
    x_g, y_g = summed(x, codes), summed(y, codes)
    M, N, S, T = x.T @ y, x_g.T @ y_g, x.sum(axis=0), y.sum(axis=0)
    # x_i . S_g and y_i . T_g of the instance's own group, and of the other groups together.
    own_x, own_y = _dots(x, x_g[codes]), _dots(y, y_g[codes])
    rest_x, rest_y = x @ S - own_x, y @ T - own_y
    inside, by_group = _inner_squares(x, y, codes), _dots(x_g @ M, y_g)
    paired = summed(_dots(x @ M, y), codes) - inside
    # sum_{i in g} (x_i . S_g)(y_i . T_g), and the same with the sums of the other groups.
    own = summed(own_x * own_y, codes)
    other = summed(_dots(x @ N, y), codes) - own
    rows = summed(rest_x * rest_y, codes)
    # What group g adds to the row sums of the others.
    spread = x_g @ (x.T @ rest_y) - summed(own_x * rest_y, codes)
    spread += y_g @ (y.T @ rest_x) - summed(own_y * rest_x, codes)
    whole = _Terms(np.sum(M * M) - inside.sum(), other.sum(), rows.sum())
    return whole, _Terms(
        whole.trace - 2 * paired,
        whole.crossed - other - (by_group - own),
        whole.row_sums - rows - spread + by_group - own,
    )


def _grams_terms(K: _Grouped, L: _Grouped, codes: Integers) -> tuple[_Terms, _Terms]:
    """The same sums as `_terms`, from K and L."""
    paired = summed(_dots(K.matrix, L.matrix), codes)
    products = K.by_group * L.by_group
    other, by_others = summed(products.sum(axis=1), codes), products.sum(axis=0)
    rest_x, rest_y = K.row_sums, L.row_sums
    rows = summed(rest_x * rest_y, codes)
    spread = rest_y @ K.by_group + rest_x @ L.by_group
    whole = _Terms(paired.sum(), other.sum(), rows.sum())
    return whole, _Terms(
        whole.trace - 2 * paired,
        whole.crossed - other - by_others,
        whole.row_sums - rows - spread + by_others,
    )


@dataclass(frozen=True)
class _Grouped:
    """K of instances, 0 inside groups, and its sums over the instances of each group."""

    matrix: Floats  # (n, n)
    by_group: Floats  # (n, groups)
    row_sums: Floats  # (n,)

    @classmethod
    def of(cls, rows: Floats, codes: Integers) -> _Grouped:
        """Of centred rows in these groups."""
        gram = rows @ rows.T
        gram[codes[:, None] == codes] = 0
        return cls(gram, summed(gram, codes).T, gram.sum(axis=0))

    def summed(self, codes: Integers) -> _Grouped:
        """Of groups as instances of sums."""
        gram = summed(self.by_group, codes)
        return _Grouped(gram, gram, gram.sum(axis=0))

    @property
    def pairs(self) -> tuple[Floats, Floats]:
        """The sum of K, and without each instance."""
        whole = self.row_sums.sum()
        return whole, whole - 2 * self.row_sums


def grouped_gram_cost(n: Floats | float, d: int, e: int) -> Floats:
    """Multiplications of `grouped_hsics` from K and L of n instances."""
    return np.asarray(gram_cost(n, d, e) + n * n * _PER_GROUPED_PAIR)


def grouped_product_cost(n: Floats | float, d: int, e: int) -> Floats:
    """Multiplications of `grouped_hsics` from sums over n instances."""
    return np.asarray(_TERMS * product_cost(n, d, e))


def grouped_hsics(x: Floats, y: Floats, codes: Integers) -> list[tuple[Floats, Floats]]:
    """HSIC(K, L), (K, K) and (L, L) of all instances, and without each group (codes from 0)."""
    n, d, e = len(x), x.shape[1], y.shape[1]
    if grouped_gram_cost(n, d, e) < grouped_product_cost(n, d, e):
        return _by_grams(_Grouped.of(x, codes), _Grouped.of(y, codes), codes)
    x_g, y_g = summed(x, codes), summed(y, codes)
    alone = np.arange(len(x_g))
    k, l = _pairs(x_g), _pairs(y_g)  # noqa: E741  (K, L)
    return [
        _hsic(_terms(*rows, codes), _terms(*groups, alone), *sums, codes)
        for rows, groups, sums in (
            ((x, y), (x_g, y_g), (k, l)),
            ((x, x), (x_g, x_g), (k, k)),
            ((y, y), (y_g, y_g), (l, l)),
        )
    ]


def _by_grams(K: _Grouped, L: _Grouped, codes: Integers) -> list[tuple[Floats, Floats]]:
    K_g, L_g = K.summed(codes), L.summed(codes)
    alone = np.arange(len(K_g.matrix))
    return [
        _hsic(
            _grams_terms(*rows, codes),
            _grams_terms(*groups, alone),
            groups[0].pairs,
            groups[1].pairs,
            codes,
        )
        for rows, groups in (((K, L), (K_g, L_g)), ((K, K), (K_g, K_g)), ((L, L), (L_g, L_g)))
    ]


def _pairs(x_g: Floats) -> tuple[Floats, Floats]:
    """sum_{g != h} x_g . x_h over all groups, and without each of them."""
    total, own = x_g.sum(axis=0), _dots(x_g, x_g)
    whole = np.sum(total**2) - own.sum()
    return whole, whole - 2 * (x_g @ total - own)


def _hsic(
    rows: tuple[_Terms, _Terms],
    groups: tuple[_Terms, _Terms],
    k: tuple[Floats, Floats],
    l: tuple[Floats, Floats],  # noqa: E741  (K, L)
    codes: Integers,
) -> tuple[Floats, Floats]:
    """HSIC of all instances, and without each group.

    Groups as instances of sums: the products of four different groups come of these.
    """
    counts = np.bincount(codes).astype(np.float64)
    powers = [np.asarray(np.sum(counts**r)) for r in (1, 2, 3, 4)]
    powers_without = [total - counts**r for r, total in zip((1, 2, 3, 4), powers, strict=True)]
    return (
        _combined(rows[0], groups[0], k[0] * l[0], powers),
        _combined(rows[1], groups[1], k[1] * l[1], powers_without),
    )


def _combined(rows: _Terms, groups: _Terms, product: Floats, powers: list[Floats]) -> Floats:
    """The three means over instances of two, three and four different groups."""
    s, s2, s3, s4 = powers
    pairs = s**2 - s2
    triples = s**3 - 3 * s * s2 + 2 * s3
    quadruples = s**4 - 6 * s**2 * s2 + 8 * s * s3 + 3 * s2**2 - 6 * s4
    four = product - 4 * groups.row_sums + 2 * groups.trace
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (
            rows.trace / pairs - 2 * (rows.row_sums - rows.crossed) / triples + four / quadruples
        )
    return np.asarray(value)
