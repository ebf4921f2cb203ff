"""HSIC without bias where instances are drawn in groups: pairs inside a group do not count.

The same as in `_hsic`, the means taken over instances of different groups:

    HSIC = mean K_ij L_ij - 2 mean K_ij L_ik + mean K_ij L_kl

With S_g and T_g the sums of x_i and y_i over group g, the sums over distinct groups follow from
those over pairs of groups; a group that is left out takes its part of each away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uncollapse.metrics.features import Floats, Integers


@dataclass(frozen=True)
class _Terms:
    """Sums over ordered pairs of groups g, h and instances i of g; whole, or without each group."""

    trace: Floats  # sum_{g != h} sum_{i in g, j in h} K_ij L_ij
    crossed: Floats  # sum_{g != h} sum_{i in g} (x_i . S_h)(y_i . T_h)
    row_sums: Floats  # sum_i (x_i . (S - S_g))(y_i . (T - T_g))


def summed(values: Floats, codes: Integers) -> Floats:
    """Sums over the instances of each group."""
    total = np.zeros((int(codes.max()) + 1, *values.shape[1:]))
    np.add.at(total, codes, values)
    return total


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


def grouped_hsic(x: Floats, y: Floats, codes: Integers) -> tuple[Floats, Floats]:
    """HSIC of all instances (n, d) and (n, e), and without each group (codes from 0)."""
    counts = np.bincount(codes).astype(np.float64)
    x_g, y_g = summed(x, codes), summed(y, codes)
    whole, without = _terms(x, y, codes)
    # Groups as instances of sums: the products of four different groups come of these.
    groups, groups_without = _terms(x_g, y_g, np.arange(len(counts)))
    p, q = _dots(x_g, x_g), _dots(y_g, y_g)
    k, l = (np.sum(s.sum(axis=0) ** 2) - s2.sum() for s, s2 in ((x_g, p), (y_g, q)))  # noqa: E741  (K, L)
    k_without = k - 2 * (x_g @ x_g.sum(axis=0) - p)
    l_without = l - 2 * (y_g @ y_g.sum(axis=0) - q)
    powers = [np.asarray(np.sum(counts**r)) for r in (1, 2, 3, 4)]
    powers_without = [total - counts**r for r, total in zip((1, 2, 3, 4), powers, strict=True)]
    return (
        _combined(whole, groups, k * l, powers),
        _combined(without, groups_without, k_without * l_without, powers_without),
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
