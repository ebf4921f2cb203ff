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
from uncollapse.records import BalancedBatch, RandomBatch, Reduction, Setting
from uncollapse.theory.program import Program, Terms, blocks, others_of
from uncollapse.theory.random_batches import class_count_distribution, inverse_normaliser

__all__ = ["SAMPLED_BATCHES", "is_sampled", "program_of", "reweighted"]

Array = np.ndarray[Any, np.dtype[np.float64]]

# Compositions are enumerated up to this many, and sampled beyond.
ENUMERATED = 20_000
# Numbers that the terms of sampled batches may hold, and the batches sampled at most.
SAMPLED_NUMBERS = 4_000_000
SAMPLED_BATCHES = 2_000


def program_of(setting: Setting, seed: int = 0) -> Program:
    """The convex program of a setting.

    Args:
        setting: The problem.
        seed: Seed of the sampled batches, where there are too many to enumerate.
    """
    if setting.balanced:
        size = np.array([float(setting.counts[0])])
        multiplicity = np.array([float(len(setting.counts))])
        block = np.zeros(0, dtype=np.int64)
    else:
        size, multiplicity, block = blocks(setting)
    include = setting.self_pairs == "include"
    terms = _terms(setting, size, multiplicity, block, seed)
    return Program(size, multiplicity, setting.views, setting.temperature, include, terms)


def reweighted(program: Program, alpha: float, to: float) -> Program:
    """The program at another alpha; the terms' weights are linear in it.

    Args:
        program: The program at `alpha`, which must lie strictly between 0 and 1 for a term that
            has weight there to get weight at `to`.
        alpha: Its alpha.
        to: The alpha wanted.
    """
    terms = program.terms
    up = (1 - to) / (1 - alpha) if alpha < 1 else 0.0
    down = to / alpha if alpha > 0 else 0.0
    changed = replace(
        terms,
        supervised=terms.supervised * up,
        self_supervised=terms.self_supervised * down,
    )
    return replace(program, terms=changed)


def _terms(setting: Setting, size: Array, multiplicity: Array, block: Any, seed: int) -> Terms:
    batch = setting.batch
    random = isinstance(batch, RandomBatch) and batch.size < setting.instances
    if len(size) == 1 and random:
        return _symmetric_terms(setting)
    some = isinstance(batch, BalancedBatch) and batch.classes not in (None, len(setting.counts))
    if len(size) > 1 and random and setting.alpha == 1:
        return _exchangeable_terms(setting, size, multiplicity)
    if len(size) > 1 and (random or some):
        compositions, probability = _compositions(setting, seed)
        return _composed_terms(setting, compositions, probability, block, len(size))
    own = np.full_like(size, batch.per_class) if isinstance(batch, BalancedBatch) else size
    present = multiplicity
    if some and isinstance(batch, BalancedBatch):
        present = np.array([float(batch.classes or 0)])
    others = others_of(present, own)
    return _weighted(setting, np.arange(len(size)), own, others, present, np.ones(1), None)


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
    probability: Array,
    draw: Any,
) -> Terms:
    """Terms with the weights of their batch; `times` anchors' classes share a term."""
    where = np.zeros(len(own), dtype=np.int64) if draw is None else draw
    pairs = times * _pairs(setting.reduction, own)
    total = np.bincount(where, times * own)
    normaliser = np.bincount(where, pairs)
    if setting.reduction == "anchors" and setting.anchors_without_positives == "zero":
        normaliser = total
    supervised = np.divide(
        pairs, normaliser[where], out=np.zeros_like(own), where=normaliser[where] > 0
    )
    return Terms(
        np.asarray(block, dtype=np.int64),
        own,
        others,
        (1 - setting.alpha) * probability[where] * supervised,
        setting.alpha * probability[where] * times * own / total[where],
        draw,
    )


def _symmetric_terms(setting: Setting) -> Terms:
    """Random batches of balanced classes: one term per count of the anchor's class."""
    assert isinstance(setting.batch, RandomBatch)
    m, n, B = len(setting.counts), int(setting.counts[0]), setting.batch.size
    counts, probability = class_count_distribution(m, n, B)
    present = counts > 0
    own, chance = counts[present], probability[present]
    self_supervised = setting.alpha * m * chance * own / B
    dropped = setting.anchors_without_positives == "drop" or setting.reduction == "pairs"
    supervised = np.where(own > 1, m * chance * own / B, 0.0)
    if dropped and (setting.reduction == "pairs" or counts[0] < 2):
        supervised = np.array(_shares(m, n, B, setting.reduction))
    others = (B - own)[:, None]
    block = np.zeros(len(own), dtype=np.int64)
    return Terms(block, own, others, (1 - setting.alpha) * supervised, self_supervised, None)


@lru_cache(maxsize=64)
def _shares(classes: int, per_class: int, size: int, reduction: Reduction) -> tuple[float, ...]:
    """Expected share of the anchors with b of their class in L_sup, for every b >= 1.

    Kept, because neither alpha nor the temperature enters and searches vary only those.
    """
    counts, _ = class_count_distribution(classes, per_class, size)
    several, inverse = inverse_normaliser(
        classes, per_class, size, lambda own: _pairs(reduction, own)
    )
    shares = classes * _pairs(reduction, several) * inverse
    expected = dict(zip(several.tolist(), shares.tolist(), strict=True))
    return tuple(expected.get(b, 0.0) for b in counts[counts > 0].tolist())


def _exchangeable_terms(setting: Setting, size: Array, multiplicity: Array) -> Terms:
    """alpha = 1, random batches: one term per block with the expected counts around an anchor.

    The optimum is then the simplex of all instances, where every batch has the same denominator:
    the loss and its gradient there are exact, so the certificate is.
    """
    assert isinstance(setting.batch, RandomBatch)
    drawn = (setting.batch.size - 1) / (setting.instances - 1)
    others = others_of(multiplicity, size) * drawn
    share = multiplicity * size / setting.instances
    block = np.arange(len(size))
    return Terms(block, 1 + (size - 1) * drawn, others, np.zeros_like(share), share, None)


def _composed_terms(
    setting: Setting, compositions: Array, probability: Array, block: Any, blocks_: int
) -> Terms:
    """One term for every class that is present in a composition; equal ones are merged."""
    draw, cls = np.nonzero(compositions)
    own = compositions[draw, cls].astype(float)
    by_block = np.zeros((len(compositions), blocks_))
    for g in range(blocks_):
        by_block[:, g] = compositions[:, block == g].sum(1)
    others = by_block[draw]
    others[np.arange(len(own)), block[cls]] -= own
    order = np.argsort(block[cls], kind="stable")
    draw, own, others, of = draw[order], own[order], others[order], block[cls][order]
    return _weighted(setting, of, own, others, np.ones(len(own)), probability, draw)


def _compositions(setting: Setting, seed: int) -> tuple[Array, Array]:
    """Batches as instances by class (K, m), all with probabilities or a sample of equal ones."""
    return _drawn(setting.with_(alpha=1.0, temperature=1.0, views=2), seed)


@lru_cache(maxsize=8)
def _drawn(setting: Setting, seed: int) -> tuple[Array, Array]:
    """The same, kept: neither alpha, temperature nor views enter, and searches vary those."""
    counts, batch = setting.counts, setting.batch
    m = len(counts)
    rng = np.random.default_rng(seed)
    held = min(m, batch.size) if isinstance(batch, RandomBatch) else m
    sample = int(np.clip(SAMPLED_NUMBERS / (held * len(np.unique(counts))), 20, SAMPLED_BATCHES))
    if isinstance(batch, BalancedBatch):
        k = batch.classes or m
        if not is_sampled(setting):
            chosen = np.array(list(combinations(range(m), k)))
        else:
            chosen = np.array([rng.choice(m, k, replace=False) for _ in range(sample)])
        out = np.zeros((len(chosen), m))
        np.put_along_axis(out, chosen, float(batch.per_class), axis=1)
        return out, np.full(len(chosen), 1 / len(chosen))
    assert isinstance(batch, RandomBatch)
    if not is_sampled(setting):
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
