"""Batches with their labels: all ways to draw them, or a sample."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from scipy.special import gammaln, logsumexp

from uncollapse.records import BalancedBatch, RandomBatch, Setting
from uncollapse.theory._labels import Labels
from uncollapse.theory._program import Array, IntArray
from uncollapse.theory._terms import ENUMERATED, SAMPLED_BATCHES, SAMPLED_NUMBERS, compositions_of


def draws_of(setting: Setting, labels: Labels, seed: int) -> tuple[Array, Array, bool]:
    """Instances by true class and label (K, m, m), probabilities, and whether it is a sample."""
    counts, batch, m = setting.counts, setting.batch, len(setting.counts)
    Q, rng = labels.matrix(m), np.random.default_rng(seed)
    most = int(np.clip(SAMPLED_NUMBERS / m**2, 20, SAMPLED_BATCHES))
    if isinstance(batch, BalancedBatch):
        joint = counts[:, None] * Q
        R = (joint / np.maximum(joint.sum(0), 1e-300)).T
        k, in_batch = batch.classes or m, batch.per_class
        every = comb(m, k) <= ENUMERATED
        chosen = combinations(range(m), k) if every else _choices(rng, m, k, most)
        given = np.zeros((comb(m, k) if every else most, m), dtype=np.int64)
        for row, classes in enumerate(chosen):
            given[row, list(classes)] = in_batch
        chance = np.full(len(given), 1 / len(given))
        N, probability, sampled = _split(given, chance, R, most, rng)
        return N.transpose(0, 2, 1), probability, sampled or not every
    if isinstance(batch, RandomBatch):
        drawn, chance, sampled = compositions_of(setting, seed)
        N, probability, more = _split(drawn.astype(np.int64), chance, Q, most, rng)
        return N, probability, sampled or more
    return _split(counts[None], np.ones(1), Q, most, rng)


def _choices(rng: np.random.Generator, m: int, k: int, times: int) -> Iterator[Any]:
    return (rng.choice(m, k, replace=False) for _ in range(times))


def _split(
    given: IntArray, chance: Array, Q: Array, most: int, rng: np.random.Generator
) -> tuple[Array, Array, bool]:
    """Each row's counts (K, m), split over columns by the rows of Q: all ways, or a sample."""
    m = len(Q)
    reach = [np.flatnonzero(row) for row in Q]
    # log C(n + r - 1, r - 1) by class: the ways to split its n over r columns.
    spots = np.array([len(columns) - 1.0 for columns in reach])
    ways = gammaln(given + spots + 1) - gammaln(spots + 1) - gammaln(given + 1.0)
    if logsumexp(ways.sum(1)) > np.log(ENUMERATED / m):
        rows = rng.choice(len(given), most, p=chance)
        sample = np.stack([rng.multinomial(given[rows, c], Q[c]) for c in range(m)], axis=1)
        return sample.astype(np.float64), np.full(most, 1 / most), True
    out, probability = [], []
    for row, part in zip(given, chance, strict=True):
        N, p = np.zeros((1, m, m)), np.array([part])
        for c in range(m):
            pieces, likely = _compositions(int(row[c]), Q[c, reach[c]])
            N = np.repeat(N, len(pieces), axis=0)
            p = np.repeat(p, len(pieces)) * np.tile(likely, len(p))
            N[:, c, reach[c]] = np.tile(pieces, (len(N) // len(pieces), 1))
        out.append(N)
        probability.append(p)
    return np.concatenate(out), np.concatenate(probability), False


def _compositions(count: int, chances: Array) -> tuple[Array, Array]:
    """All ways to split a count over places, (L, places), and their multinomial probabilities."""
    places = len(chances)
    if places == 1:
        return np.array([[float(count)]]), np.ones(1)
    bars = np.array(list(combinations(range(count + places - 1), places - 1)), dtype=np.int64)
    bars = bars.reshape(-1, places - 1)
    edges = np.hstack(
        [np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), count + places - 1)]
    )
    pieces = np.diff(edges, axis=1) - 1.0
    log_p = gammaln(count + 1.0) - gammaln(pieces + 1).sum(1) + pieces @ np.log(chances)
    return pieces, np.exp(log_p)
