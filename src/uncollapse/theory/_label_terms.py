"""Wrong labels and an alpha by class: the `Program` of what the loss does with true classes.

An instance of true class c carries the label j with probability Q_cj, independently of every other
instance. The loss sees labels, an encoder that cannot know which are wrong sees true classes: what
it minimises is the expectation over which instances carry which label. Denominators know no labels,
so wrong labels change only which pairs are positives, and how much an anchor weighs:

    L = E[sum_c S_c log D_c] - [sum_c A_c a_c + sum_cc' P_cc' b_cc' + T-terms]/tau.

With N_cj instances of class c and label j in a batch and N_j = sum_c N_cj, anchors of label j with
positives weigh w_j = 1/(their number) under "anchors", (N_j - 1)/(positive pairs) under "pairs",

    S_c = E sum_j (1 - alpha_j) w_j N_cj         T_c = E sum_j alpha_j N_cj / B
    P_cc' = E sum_j (1 - alpha_j) w_j N_cj (N_c'j - [c = c']) / (N_j - 1),    A_c = P_cc.

Full and random batches draw instances, whose labels follow; balanced batches draw n_b of each
label, whose true classes follow by Bayes' rule, R_jc = n_c Q_cj / sum_c' n_c' Q_c'j.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binom

from uncollapse.records import BalancedBatch, FullBatch, Setting
from uncollapse.theory._draws import draws_of
from uncollapse.theory._labels import Labels
from uncollapse.theory._program import Array, IntArray, Program, Terms, log, others_of

# An anchor without positives that is rarer than this changes no digit.
NEGLIGIBLE = 1e-13
# Nodes of the integrals over [0, 1]: panels that halve towards 1, of so many Gauss nodes each.
PANELS, NODES = 45, 16


class Labelled(NamedTuple):
    """A program, and the share of L_sup's positives that are of the anchor's true class."""

    program: Program
    same: float
    sampled: int = 0  # batches and labels that the expectation is over; 0 where it is exact


def labelled_program(setting: Setting, labels: Labels, seed: int) -> Labelled:
    """The program of true classes; classes that can be exchanged share a block."""
    counts = setting.counts
    if setting.balanced and len(labels.alpha) == 1 and labels.confusion is None:
        block = np.zeros(len(counts), dtype=np.int64)
        one = _one_block_terms(setting, labels)
        if one is not None:
            return _labelled(setting, labels, block, one)
    else:
        block = _blocks(counts, labels)
    if isinstance(setting.batch, FullBatch) and setting.reduction == "anchors":
        terms = _full_terms(setting, labels, block)
        if terms is not None:
            return _labelled(setting, labels, block, terms)
    terms, sampled = _drawn_terms(setting, labels, block, seed)
    return _labelled(setting, labels, block, terms, sampled)


def _labelled(
    setting: Setting, labels: Labels, block: IntArray, terms: Terms, sampled: int = 0
) -> Labelled:
    first = np.unique(block, return_index=True)[1]
    program = Program(
        size=setting.counts[first].astype(float),
        multiplicity=np.bincount(block).astype(float),
        views=setting.views,
        alpha=setting.alpha,
        temperature=setting.temperature,
        include=setting.self_pairs == "include",
        terms=terms,
        block=block,
    )
    total = float(terms.supervised.sum())
    same = float(program.pull.sum()) / total if total > 0 else 1.0
    if terms.across is not None and not terms.across.any():
        program = replace(program, terms=replace(terms, across=None))
    return Labelled(program, same, sampled)


def _blocks(counts: Any, labels: Labels) -> IntArray:
    """The block of each class, by size; exchangeable classes share one."""
    m = len(counts)
    alpha = np.broadcast_to(labels.alpha, m)
    Q = labels.confusion

    def alike(c: int, k: int) -> bool:
        if counts[c] != counts[k] or alpha[c] != alpha[k]:
            return False
        if Q is None:
            return True
        swapped = np.arange(m)
        swapped[[c, k]] = k, c
        return bool(np.array_equal(Q, Q[np.ix_(swapped, swapped)]))

    heads: list[int] = []
    block = np.zeros(m, dtype=np.int64)
    for c in np.argsort(counts, kind="stable").tolist():
        found = next((g for g, head in enumerate(heads) if alike(head, c)), len(heads))
        if found == len(heads):
            heads.append(c)
        block[c] = found
    return block


def _one_block_terms(setting: Setting, labels: Labels) -> Terms | None:
    """Balanced classes and even noise, exactly; None where it has to be drawn.

    Full batch: the probability that a positive is of the anchor's class, given its label, is
    E[X/(X + Y)] = integral of E[X t^(X-1)] E[t^Y] over 0 < t < 1, X and Y binomial. Balanced
    batches: the squares of R, and the distribution of the anchor's class in the batch around it.
    """
    m, n, eta = len(setting.counts), int(setting.counts[0]), labels.rate
    batch, other = setting.batch, eta / (m - 1)
    if isinstance(batch, BalancedBatch):
        k, in_batch = batch.classes or m, batch.per_class
        own, chance = _own_counts(m, k, in_batch, eta)
        same, size = (1 - eta) ** 2 + eta * other, k * in_batch
    elif isinstance(batch, FullBatch) and setting.reduction == "anchors":
        t, weight = _nodes()
        right, wrong = np.log1p((eta - 1) * t), np.log1p(-other * t)
        everyone = n * right + n * (m - 1) * wrong
        lone = m * n * np.exp((n - 1) * log(eta) + n * (m - 1) * np.log1p(-other))
        if lone + m * n * (m - 1) * np.exp(n * log(eta)) * (eta > 0) > NEGLIGIBLE or n == 1:
            return None
        same = float(weight @ np.exp(everyone - 2 * right)) * (1 - eta) ** 2
        same += float(weight @ np.exp(everyone - 2 * wrong)) * eta * other
        same, own, chance, size = same * (n - 1), np.array([float(n)]), np.ones(1), n * m
    else:
        return None
    alpha = float(labels.alpha[0])
    return Terms(
        block=np.zeros(len(own), dtype=np.int64),
        own=own,
        others=(size - own)[:, None],
        supervised=(1 - alpha) * chance,
        self_supervised=alpha * chance,
        across=np.array([[(1 - alpha) * (1 - same)]]),
    )


def _own_counts(m: int, k: int, in_batch: int, eta: float) -> tuple[Array, Array]:
    """Instances of an anchor's true class in a batch of n_b labels of each of k classes."""
    other = eta / (m - 1)

    def drawn(*parts: tuple[int, float]) -> Array:
        chance = np.zeros(k * in_batch + 1)
        chance[1] = 1.0
        for count, probability in parts:
            pieces = binom.pmf(np.arange(count + 1), count, probability)
            chance = np.convolve(chance, pieces)[: k * in_batch + 1]
        return chance

    right = drawn((in_batch - 1, 1 - eta), ((k - 1) * in_batch, other))
    wrong = drawn((in_batch - 1, other), (in_batch, 1 - eta), (max(k - 2, 0) * in_batch, other))
    absent = drawn((in_batch - 1, other), ((k - 1) * in_batch, other))
    present = (k - 1) / (m - 1)
    chance = (1 - eta) * right + eta * (present * wrong + (1 - present) * absent)
    own = np.flatnonzero(chance > 1e-18)
    return own.astype(float), chance[own] / chance[own].sum()


def _nodes() -> tuple[Array, Array]:
    """1 - t and weights of an integral over 0 < t < 1 of what may be concentrated near t = 1."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    ends = np.append(2.0 ** -np.arange(PANELS), 0.0)
    middle, half = (ends[:-1] + ends[1:]) / 2, (ends[:-1] - ends[1:]) / 2
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def _full_terms(setting: Setting, labels: Labels, block: IntArray) -> Terms | None:
    """Full batch and mean over anchors, exactly; None where an anchor may lack positives.

    P_cc' = n_c (n_c' - [c = c'])/B sum_j (1 - alpha_j) Q_cj Q_c'j
            integral over 0 < t < 1 of prod_k f_kj^n_k / (f_cj f_c'j),   f_kj = 1 - Q_kj (1 - t)
    """
    counts, m = setting.counts.astype(float), len(setting.counts)
    Q, keep = labels.matrix(m), np.broadcast_to(1 - labels.alpha, m)
    t, weight = _nodes()
    if _lone(counts, Q) > NEGLIGIBLE:
        return None
    pairs = np.zeros((m, m))
    for j in range(m):
        logs = np.log1p(-Q[:, j] * np.minimum(t, 1 - 1e-16)[:, None])
        everyone = weight * np.exp(logs @ counts)
        by_class = Q[:, j] * np.exp(-logs)
        pairs += keep[j] * (by_class.T * everyone) @ by_class
    pairs *= counts[:, None] * (counts - np.eye(m)) / counts.sum()
    np.fill_diagonal(pairs, 0.0)
    member = np.eye(int(block.max()) + 1)[block].T
    size, multiplicity = counts[np.unique(block, return_index=True)[1]], member.sum(1)
    share = counts[:, None] * Q / counts.sum()
    return Terms(
        block=np.arange(len(size)),
        own=size,
        others=others_of(multiplicity, size),
        supervised=member @ share @ keep,
        self_supervised=member @ share @ (1 - keep),
        across=member @ pairs @ member.T,
    )


def _lone(counts: Array, Q: Array) -> float:
    """The expected number of labels that exactly one instance carries."""
    # One carrier of class c, and no other: n_c Q_cj prod_k (1 - Q_kj)^(n_k - [k = c]).
    none = np.log(np.maximum(1 - Q, 1e-300))
    return float((counts[:, None] * Q * np.exp(counts @ none - none)).sum())


def _drawn_terms(setting: Setting, labels: Labels, block: IntArray, seed: int) -> tuple[Terms, int]:
    """Terms over batches with their labels, all or a sample of them."""
    N, probability, sampled = draws_of(setting, labels, seed)
    m, B = N.shape[1], N.sum((1, 2))
    alpha = np.broadcast_to(labels.alpha, m)
    carried, own = N.sum(1), N.sum(2)  # by label and by true class, (K, m)
    several = carried > 1
    if setting.reduction == "pairs":
        each, total = carried - 1, (carried * (carried - 1)).sum(1)
    else:
        each = np.ones_like(carried)
        total = np.where(several, carried, 0.0).sum(1)
        if setting.anchors_without_positives == "zero":
            total = B
    each = np.where(several, each, 0.0) / np.maximum(total, 1e-300)[:, None] * probability[:, None]
    each = each * (1 - alpha)
    supervised = (N * each[:, None]).sum(2)
    own_part = (N * (probability / B)[:, None, None] * alpha).sum(2)
    per_pair = each / np.maximum(carried - 1, 1)
    pairs = np.zeros((m, m))
    for j in range(m):
        pairs += (N[:, :, j] * per_pair[:, [j]]).T @ N[:, :, j]
    np.fill_diagonal(pairs, 0.0)
    member = np.eye(int(block.max()) + 1)[block]
    draw, cls = np.nonzero(own)
    others = (own @ member)[draw]
    others[np.arange(len(cls)), block[cls]] -= own[draw, cls]
    rows = np.column_stack([block[cls], own[draw, cls], others])
    known, where = np.unique(rows, axis=0, return_inverse=True)

    def summed(values: Array) -> Array:
        return np.bincount(where.ravel(), values[draw, cls], len(known)).astype(np.float64)

    terms = Terms(
        block=known[:, 0].astype(np.int64),
        own=known[:, 1],
        others=known[:, 2:],
        supervised=summed(supervised),
        self_supervised=summed(own_part),
        across=member.T @ pairs @ member,
    )
    return terms, len(N) if sampled else 0
