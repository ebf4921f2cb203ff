"""Products of class means where a group (one patient, say) has instances in several classes.

Two rows of one group are no independent pair, whether they lie in one class or in two. So
m_c . m_c' is too large for a new group by about the covariance inside groups over their number, and
the mean is taken over pairs of different groups, as inside a class. With S_c the sum and n_c the
number of class c's instances, and t_cg and k_cg the same of its instances in group g,

    b_cc' = N_cc' / D_cc',   N = S_c . S_c' - sum_g t_cg . t_c'g,   D = n_c n_c' - sum_g k_cg k_c'g

Every term is a function of the classes' groups, so what merges those merges this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from uncollapse.metrics.moments import COUNT, ClassMoments, Floats, Integers

# Numbers held at a time while groups are gone through.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Crossing:
    """Products of different classes' means over pairs of different groups.

    Attributes:
        value: sum over c != c' of w_c w_c' b_cc'.
        influences: By group code, with sum of squares the jackknife variance of `value`; None where
            a class has fewer than three groups.
        groups: Number of different groups.
    """

    value: float
    influences: Floats | None
    groups: int


@dataclass(frozen=True)
class _Groups:
    """Every (class, group) as one row: t, k, the class and the group's code."""

    sums: Floats
    counts: Floats
    owner: Integers
    code: Integers

    def batches(self) -> Iterator[Integers]:
        """(groups, k) rows of groups that occur in k classes, for every k of two or more."""
        order = np.lexsort((self.owner, self.code))
        code = self.code[order]
        starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
        lengths = np.diff(np.r_[starts, len(code)])
        for k in np.unique(lengths[lengths > 1]).tolist():
            first = starts[lengths == k]
            step = max(1, _CHUNK // (k * (k + self.sums.shape[1])))
            for at in range(0, len(first), step):
                yield order[first[at : at + step, None] + np.arange(k)]

    def pairs(self, index: Integers) -> tuple[Floats, Floats, Integers, Integers]:
        """t_cg . t_c'g and k_cg k_c'g, each (groups, k, k), and the classes c and c' of each."""
        t, k, c = self.sums[index], self.counts[index], self.owner[index]
        gram = t @ t.transpose(0, 2, 1)
        sizes = k[:, :, None] * k[:, None, :]
        shape = gram.shape
        rows, columns = np.broadcast_to(c[:, :, None], shape), np.broadcast_to(c[:, None], shape)
        return gram, sizes, rows, columns


def groups_cross(classes: Sequence[ClassMoments]) -> bool:
    """Whether units carry names, and one occurs in two classes or more."""
    names = [moments.names for moments in classes if moments.names is not None]
    if len(names) < len(classes):
        return False
    together = np.concatenate(names)
    return len(np.unique(together)) < len(together)


def crossing_products(classes: Sequence[ClassMoments], w: Floats) -> Crossing:
    """The weighted products of class means over pairs of different groups.

    Leaving out group g changes N_cc' by -(t_cg.S_c' + S_c.t_c'g - 2 t_cg.t_c'g) and D_cc' likewise.
    As for a (see `levels`), the mean change of D over the groups of both classes, 2 D/U with U the
    number of these, stands in the denominator: exact for equal groups.

    Args:
        classes: Each of two groups or more, with their rows and names.
        w: (C,) weights.
    """
    groups = _stacked(classes)
    n = np.array([moments.totals[COUNT] for moments in classes])
    S = np.stack([moments.sum for moments in classes])
    N, D, shared = S @ S.T, np.outer(n, n), np.zeros((len(n), len(n)))
    for index in groups.batches():
        gram, sizes, c, other = groups.pairs(index)
        np.subtract.at(N, (c, other), gram)
        np.subtract.at(D, (c, other), sizes)
        np.add.at(shared, (c, other), 1.0)
    # Pairs of one class are a_c's, so they weigh nothing here.
    np.fill_diagonal(D, 1.0)
    weights = np.outer(w, w) / D
    np.fill_diagonal(weights, 0.0)
    value, different = float(np.sum(weights * N)), len(np.unique(groups.code))
    G = np.array([float(moments.units) for moments in classes])
    if G.min() < 3:
        return Crossing(value, None, different)
    inverse = (1 / G[:, None] + 1 / G) / 2
    P = weights * np.sqrt(1 - inverse) / (1 - 2 / (G[:, None] + G - shared))
    return Crossing(value, _influences(groups, P, P * N / D, S, n), different)


def _influences(groups: _Groups, P: Floats, Pb: Floats, S: Floats, n: Floats) -> Floats:
    """sum over c != c' of P_cc' (u_g - b_cc' d_g), by group code."""
    S, n = P @ S, Pb @ n
    of_class = np.split(groups.sums, np.flatnonzero(np.diff(groups.owner)) + 1)
    rows = np.concatenate([t @ direction for t, direction in zip(of_class, S, strict=True)])
    rows -= groups.counts * n[groups.owner]
    found = np.bincount(groups.code, weights=2 * rows)
    for index in groups.batches():
        gram, sizes, c, other = groups.pairs(index)
        both = P[c, other] * gram - Pb[c, other] * sizes
        found[groups.code[index[:, 0]]] -= 2 * both.sum(axis=(1, 2))
    return np.asarray(found)


def _stacked(classes: Sequence[ClassMoments]) -> _Groups:
    sums, counts, codes = [], [], []
    for moments in classes:
        assert moments.rows is not None  # units with names are kept as rows
        assert moments.names is not None  # the caller found that groups cross
        sums.append(moments.rows[:, : moments.dimension])
        counts.append(moments.rows[:, COUNT])
        codes.append(moments.names)
    owner = np.repeat(np.arange(len(classes)), [len(names) for names in codes])
    return _Groups(np.concatenate(sums), np.concatenate(counts), owner, np.concatenate(codes))
