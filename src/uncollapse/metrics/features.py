"""What rows are reduced to, class by class: sums and second moments of independent units.

A unit is what was drawn independently: a row, an instance with its views, or a group of instances.
Unit g of a class is one vector of features that add up over units,

    x_g = (t_g, ||t_g||^2, k_g, k_g^2, r_g, h_g, q_g)

    t_g  sum over the unit's instances of the mean of their views    (d numbers)
    k_g  number of instances
    r_g  sum over its instances with two views or more of their mean cross-view cosine
    h_g  number of those instances
    q_g  sum over its instances of ||mean of the views||^2

Every estimate is a function of the class's total X = sum_g x_g, and to first order its jackknife
influence is linear in x_g. So the totals and a representation of sum_g (x_g - x)(x_g - x)' give
every estimate AND its standard error; both merge exactly between batches, shards and processes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Features after the d of t_g, by position from the end.
EXTRA = 6
SQUARE, COUNT, COUNT_SQUARE, COSINE, COSINE_COUNT, VIEW_MEAN_SQUARE = range(-EXTRA, 0)


def instance_features(rows: Floats, instances: Integers | None) -> Floats:
    """(units, d + 6) features of unit vectors (N, d), each instance its own unit, in code order."""
    means, views = rows, np.ones(len(rows), dtype=np.int64)
    if instances is not None:
        order = np.argsort(instances, kind="stable")
        in_order = instances[order]
        starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
        views = np.diff(np.r_[starts, len(in_order)])
        means = np.add.reduceat(rows[order], starts, axis=0) / views[:, None]
    features = np.zeros((len(means), rows.shape[1] + EXTRA))
    features[:, : rows.shape[1]] = means
    square = np.einsum("ij,ij->i", means, means)
    features[:, SQUARE] = features[:, VIEW_MEAN_SQUARE] = square
    features[:, COUNT] = features[:, COUNT_SQUARE] = 1
    several = views > 1
    p = views[several]
    features[several, COSINE] = (square[several] * p - 1) / (p - 1)
    features[several, COSINE_COUNT] = 1
    return features


def group_features(features: Floats, groups: Integers) -> tuple[Floats, Integers]:
    """Features of groups from those of their instances, and the group code of each."""
    codes, inverse = np.unique(groups, return_inverse=True)
    totals = np.zeros((len(codes), features.shape[1]))
    np.add.at(totals, inverse, features)
    return close_groups(totals), codes


def close_groups(totals: Floats) -> Floats:
    """Set the two features of a group that are not sums over its instances."""
    dimension = totals.shape[1] - EXTRA
    totals[:, SQUARE] = np.einsum("ij,ij->i", totals[:, :dimension], totals[:, :dimension])
    totals[:, COUNT_SQUARE] = totals[:, COUNT] ** 2
    return totals
