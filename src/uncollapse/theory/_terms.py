"""From a setting to its `Program`: the anchors of the batches and their weights."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import combinations, islice
from math import comb
from typing import Any

import numpy as np
from scipy.special import gammaln

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, FullBatch, RandomBatch, Reduction, Setting
from uncollapse.theory._program import Array, Program, Terms, others_of
from uncollapse.theory._random_batches import class_count_distribution, inverse_normaliser

# Compositions are enumerated up to this many, and sampled beyond.
ENUMERATED = 20_000
# Numbers that the terms of sampled batches may hold, and the batches sampled at most.
SAMPLED_NUMBERS = 4_000_000
SAMPLED_BATCHES = 2_000


def plain_batch(setting: Setting) -> Setting:
    """The setting; a random batch of all instances is the full batch."""
    batch = setting.batch
    if isinstance(batch, RandomBatch) and batch.size == setting.instances:
        return setting.with_(batch=FullBatch())
    return setting


def program_of(setting: Setting, seed: int = 0) -> Program:
    """The convex program of a setting; the seed is that of sampled batches."""
    setting = plain_batch(setting)
    counts = setting.counts
    if setting.balanced:
        # Without sorting: there may be millions of classes.
        size, multiplicity = np.array([float(counts[0])]), np.array([float(len(counts))])
    else:
        size, multiplicity = (x.astype(float) for x in np.unique(counts, return_counts=True))
    terms = _terms(setting, size, multiplicity, seed)
    include = setting.self_pairs == "include"
    return Program(size, multiplicity, setting.views, setting.temperature, include, terms)


def reweighted(program: Program, alpha: float, to: float) -> Program:
    """The program at another alpha, from one strictly between 0 and 1; weights are linear in it."""
    terms = program.terms
    changed = replace(
        terms,
        supervised=terms.supervised * ((1 - to) / (1 - alpha)),
        self_supervised=terms.self_supervised * (to / alpha),
    )
    return replace(program, terms=changed)


def _terms(setting: Setting, size: Array, multiplicity: Array, seed: int) -> Terms:
    batch, own, present = setting.batch, size, multiplicity
    if isinstance(batch, RandomBatch):
        if len(size) == 1:
            return _symmetric_terms(setting, batch.size)
        if setting.alpha == 1:
            return _exchangeable_terms(setting, size, multiplicity, batch.size)
        return _composed_terms(setting, size, seed)
    if isinstance(batch, BalancedBatch):
        own = np.full_like(size, batch.per_class)
        if (batch.classes or len(setting.counts)) < len(setting.counts):
            if len(size) > 1:
                return _composed_terms(setting, size, seed)
            present = np.array([float(batch.classes or 0)])
    return _weighted(setting, np.arange(len(size)), own, others_of(present, own), present)


def _pairs(reduction: Reduction, own: Array) -> Array:
    """An anchor class's part of the supervised normaliser Y."""
    return own * (own - 1) if reduction == "pairs" else np.where(own > 1, own, 0.0)


def _weighted(
    setting: Setting,
    block: Any,
    own: Array,
    others: Array,
    times: Array,
    draws: tuple[Any, Any] | None = None,
) -> Terms:
    """Terms with their weights in the batch; `times` anchors' classes share a term.

    Draws: the batch that each term belongs to and its probability; one batch where left out.
    """
    where, probability = draws or (np.zeros(len(own), dtype=np.int64), 1.0)
    pairs = times * _pairs(setting.reduction, own)
    total = np.bincount(where, times * own)[where]
    normaliser = np.bincount(where, pairs)[where]
    if setting.reduction == "anchors" and setting.anchors_without_positives == "zero":
        normaliser = total
    supervised = np.divide(pairs, normaliser, out=np.zeros_like(own), where=normaliser > 0)
    supervised = (1 - setting.alpha) * probability * supervised
    return Terms(block, own, others, supervised, setting.alpha * probability * times * own / total)


def _symmetric_terms(setting: Setting, B: int) -> Terms:
    """Random batches of balanced classes: one term per count of the anchor's class."""
    m, n = len(setting.counts), int(setting.counts[0])
    counts, probability = class_count_distribution(m, n, B)
    own, chance = counts[counts > 0], probability[counts > 0]
    share = m * chance * own / B
    supervised = np.where(own > 1, share, 0.0)
    dropped = setting.anchors_without_positives == "drop" and counts[0] < 2
    if setting.reduction == "pairs" or dropped:
        supervised = _shares(m, n, B, setting.reduction)
    block, others = np.zeros(len(own), dtype=np.int64), (B - own)[:, None]
    self_supervised = setting.alpha * m * chance * own / B
    return Terms(block, own, others, (1 - setting.alpha) * supervised, self_supervised)


@lru_cache(maxsize=64)
def _shares(classes: int, per_class: int, size: int, reduction: Reduction) -> Array:
    """Expected share of the anchors with b of their class in L_sup, for every b >= 1.

    Kept, because neither alpha nor the temperature enter and searches vary only those.
    """
    counts, _ = class_count_distribution(classes, per_class, size)
    pairs = _pairs(reduction, counts)
    inverse = inverse_normaliser(classes, per_class, size, counts, pairs)
    return (classes * pairs * inverse)[counts > 0]


def _exchangeable_terms(setting: Setting, size: Array, multiplicity: Array, B: int) -> Terms:
    """alpha = 1, random batches: one term per block with the expected counts around an anchor.

    The optimum is then the simplex of all instances, where every batch has the same denominator:
    the loss and its gradient there are exact, so the certificate is.
    """
    drawn = (B - 1) / (setting.instances - 1)
    others = others_of(multiplicity, size) * drawn
    share = multiplicity * size / setting.instances
    own = 1 + (size - 1) * drawn
    return Terms(np.arange(len(size)), own, others, np.zeros_like(share), share)


def _composed_terms(setting: Setting, size: Array, seed: int) -> Terms:
    """One term for every class that is present in a composition, sorted by block."""
    # Neither alpha, temperature nor views enter, and searches vary those.
    compositions, probability, sampled = _compositions(
        setting.with_(alpha=1.0, temperature=1.0, views=2), seed
    )
    block = np.searchsorted(size, setting.counts)
    by_block = np.stack([compositions[:, block == g].sum(1) for g in range(len(size))], axis=1)
    draw, cls = np.nonzero(compositions)
    order = np.argsort(block[cls], kind="stable")
    draw, cls = draw[order], cls[order]
    own, others = compositions[draw, cls], by_block[draw]
    others[np.arange(len(own)), block[cls]] -= own
    times, draws = np.ones(len(own)), (draw, probability[draw])
    terms = _weighted(setting, block[cls], own, others, times, draws)
    return replace(terms, draw=draw) if sampled else terms


@lru_cache(maxsize=8)
def _compositions(setting: Setting, seed: int) -> tuple[Array, Array, bool]:
    """Batches as instances by class (K, m), their probabilities, and whether they are a sample."""
    counts, batch, rng = setting.counts, setting.batch, np.random.default_rng(seed)
    m, total = len(counts), counts.sum()
    held = min(m, batch.size) if isinstance(batch, RandomBatch) else m
    sample = int(np.clip(SAMPLED_NUMBERS / (held * len(np.unique(counts))), 20, SAMPLED_BATCHES))
    if isinstance(batch, BalancedBatch):
        k = batch.classes or m
        sampled = comb(m, k) > ENUMERATED
        if sampled:
            chosen = np.array([rng.choice(m, k, replace=False) for _ in range(sample)])
        else:
            chosen = np.array(list(combinations(range(m), k)))
        out = np.zeros((len(chosen), m))
        np.put_along_axis(out, chosen, float(batch.per_class), axis=1)
        return out, np.full(len(chosen), 1 / len(chosen)), sampled
    assert isinstance(batch, RandomBatch)
    every = _all_compositions(counts, batch.size)
    if every is not None:
        log_ways = (gammaln(counts + 1.0) - gammaln(every + 1) - gammaln(counts - every + 1)).sum(1)
        probability = np.exp(log_ways - log_ways.max())
        return every, probability / probability.sum(), False
    if total >= 10**9:
        raise InputError(
            "fewer than 1e9 instances for random batches of unequal classes",
            f"{total} instances",
            "divide all class counts by the same number: only their ratios matter here",
        )
    drawn = rng.multivariate_hypergeometric(counts, batch.size, size=sample, method="marginals")
    return drawn.astype(float), np.full(sample, 1 / sample), True


def _all_compositions(counts: Any, size: int) -> Array | None:
    """All b with 0 <= b_c <= n_c and sum size, (K, m); None of more than ENUMERATED.

    Every beginning has an end, so more beginnings than that are more compositions.
    """
    rows: list[tuple[tuple[int, ...], int]] = [((), size)]
    for c, count in enumerate(counts):
        after = int(np.sum(counts[c + 1 :]))
        longer = (
            ((*head, b), left - b)
            for head, left in rows
            for b in range(max(0, left - after), min(int(count), left) + 1)
        )
        rows = list(islice(longer, ENUMERATED + 1))
        if len(rows) > ENUMERATED:
            return None
    return np.array([head for head, _ in rows], dtype=float)
