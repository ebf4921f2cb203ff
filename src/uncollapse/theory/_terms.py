"""From a setting to its `Program`: the anchors of the batches and their weights."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import combinations
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
    batch = setting.batch
    classes = batch.classes if isinstance(batch, BalancedBatch) else None
    some = classes is not None and classes < len(setting.counts)
    if isinstance(batch, RandomBatch):
        if len(size) == 1:
            return _symmetric_terms(setting, batch.size)
        if setting.alpha == 1:
            return _exchangeable_terms(setting, size, multiplicity, batch.size)
    if len(size) > 1 and (some or isinstance(batch, RandomBatch)):
        return _composed_terms(setting, size, seed)
    own = np.full_like(size, batch.per_class) if isinstance(batch, BalancedBatch) else size
    present = np.array([float(classes or 0)]) if some else multiplicity
    return _weighted(setting, np.arange(len(size)), own, others_of(present, own), present)


def _pairs(reduction: Reduction, own: Array) -> Array:
    """An anchor class's part of the supervised normaliser Y."""
    if reduction == "pairs":
        return own * (own - 1)
    return np.where(own > 1, own, 0.0)


def _weighted(
    setting: Setting,
    block: Any,
    own: Array,
    others: Array,
    times: Array,
    probability: Any = 1.0,
    draw: Any = None,
) -> Terms:
    """Terms with the weights of their batch; `times` anchors' classes share a term."""
    where = np.zeros(len(own), dtype=np.int64) if draw is None else draw
    pairs = times * _pairs(setting.reduction, own)
    total = np.bincount(where, times * own)[where]
    normaliser = np.bincount(where, pairs)[where]
    if setting.reduction == "anchors" and setting.anchors_without_positives == "zero":
        normaliser = total
    supervised = np.divide(pairs, normaliser, out=np.zeros_like(own), where=normaliser > 0)
    return Terms(
        block,
        own,
        others,
        (1 - setting.alpha) * probability * supervised,
        setting.alpha * probability * times * own / total,
        draw,
    )


def _symmetric_terms(setting: Setting, B: int) -> Terms:
    """Random batches of balanced classes: one term per count of the anchor's class."""
    m, n = len(setting.counts), int(setting.counts[0])
    counts, probability = class_count_distribution(m, n, B)
    own, chance = counts[counts > 0], probability[counts > 0]
    self_supervised = setting.alpha * m * chance * own / B
    supervised = np.where(own > 1, m * chance * own / B, 0.0)
    dropped = setting.anchors_without_positives == "drop" and counts[0] < 2
    if setting.reduction == "pairs" or dropped:
        supervised = _shares(m, n, B, setting.reduction)
    others = (B - own)[:, None]
    block = np.zeros(len(own), dtype=np.int64)
    return Terms(block, own, others, (1 - setting.alpha) * supervised, self_supervised)


@lru_cache(maxsize=64)
def _shares(classes: int, per_class: int, size: int, reduction: Reduction) -> Array:
    """Expected share of the anchors with b of their class in L_sup, for every b >= 1.

    Kept, because neither alpha nor the temperature enter and searches vary only those.
    """
    counts, _ = class_count_distribution(classes, per_class, size)
    pairs = _pairs(reduction, counts)
    return (classes * pairs * inverse_normaliser(classes, per_class, size, pairs))[counts > 0]


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
    compositions, probability = _compositions(
        setting.with_(alpha=1.0, temperature=1.0, views=2), seed
    )
    block = np.searchsorted(size, setting.counts)
    draw, cls = np.nonzero(compositions)
    own = compositions[draw, cls]
    by_block = np.zeros((len(compositions), len(size)))
    for g in range(len(size)):
        by_block[:, g] = compositions[:, block == g].sum(1)
    others = by_block[draw]
    others[np.arange(len(own)), block[cls]] -= own
    order = np.argsort(block[cls], kind="stable")
    draw, own, times = draw[order], own[order], np.ones(len(own))
    return _weighted(setting, block[cls][order], own, others[order], times, probability[draw], draw)


@lru_cache(maxsize=8)
def _compositions(setting: Setting, seed: int) -> tuple[Array, Array]:
    """Batches as instances by class (K, m), all with probabilities or a sample of equal ones."""
    counts, batch = setting.counts, setting.batch
    m, sampled, rng = len(counts), is_sampled(setting), np.random.default_rng(seed)
    held = min(m, batch.size) if isinstance(batch, RandomBatch) else m
    sample = int(np.clip(SAMPLED_NUMBERS / (held * len(np.unique(counts))), 20, SAMPLED_BATCHES))
    if isinstance(batch, BalancedBatch):
        k = batch.classes or m
        if sampled:
            chosen = np.array([rng.choice(m, k, replace=False) for _ in range(sample)])
        else:
            chosen = np.array(list(combinations(range(m), k)))
        out = np.zeros((len(chosen), m))
        np.put_along_axis(out, chosen, float(batch.per_class), axis=1)
        return out, np.full(len(chosen), 1 / len(chosen))
    assert isinstance(batch, RandomBatch)
    if not sampled:
        out = _all_compositions(counts, batch.size)
        log_ways = (gammaln(counts + 1.0) - gammaln(out + 1) - gammaln(counts - out + 1)).sum(1)
        probability = np.exp(log_ways - log_ways.max())
        return out, probability / probability.sum()
    if counts.sum() >= 10**9:
        raise InputError(
            "fewer than 1e9 instances for random batches of unequal classes",
            f"{counts.sum()} instances",
            "divide all class counts by the same number: only their ratios matter here",
        )
    drawn = rng.multivariate_hypergeometric(counts, batch.size, size=sample, method="marginals")
    return drawn.astype(float), np.full(sample, 1 / sample)


def is_sampled(setting: Setting) -> bool:
    """Whether a setting of unequal classes has too many compositions to enumerate."""
    batch = setting.batch
    if isinstance(batch, BalancedBatch):
        return comb(len(setting.counts), batch.classes or 0) > ENUMERATED
    if isinstance(batch, RandomBatch):
        return _composition_count(setting.counts, batch.size) > ENUMERATED
    return False


def _composition_count(counts: Any, size: int) -> int:
    """Number of compositions of a batch, or more than ENUMERATED as soon as that is clear."""
    ways = np.zeros(size + 1)
    ways[0] = 1
    for count in counts:
        cumulative = np.cumsum(ways)
        shifted = np.concatenate([np.zeros(min(count, size) + 1), cumulative])[: size + 1]
        ways = np.minimum(cumulative - (shifted if count < size else 0), 1e15)
    return int(min(ways[size], 10**12))


def _all_compositions(counts: Any, size: int) -> Array:
    """All b with 0 <= b_c <= n_c and sum size, (K, m)."""
    rows: list[tuple[tuple[int, ...], int]] = [((), size)]
    for c, count in enumerate(counts):
        after = int(np.sum(counts[c + 1 :]))
        rows = [
            ((*head, b), left - b)
            for head, left in rows
            for b in range(max(0, left - after), min(int(count), left) + 1)
        ]
    return np.array([head for head, _ in rows], dtype=float)
