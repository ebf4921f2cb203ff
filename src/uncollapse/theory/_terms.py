"""From a setting to its `Program`: the anchors of the batches and their weights.

Batches are taken in expectation: in closed form (full, balanced), by generating functions (random
batches of balanced classes), or over their compositions, all or a sample of them (the rest).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, FullBatch, RandomBatch, Reduction, Setting
from uncollapse.theory._program import Array, Program, Terms, log, others_of

# Compositions are enumerated up to this many, and sampled beyond.
ENUMERATED = 20_000
# Numbers that the terms of sampled batches may hold, and the batches sampled at most.
SAMPLED_NUMBERS = 4_000_000
SAMPLED_BATCHES = 2_000
# Width of a cell of like batches, in deviations of each count.
CELL = 1.25
# Trapezoidal step in log t; the error is about exp(-pi^2 / step) = 2e-16.
STEP = 0.27
# Counts less likely than this are left out: they contribute at most that much.
NEGLIGIBLE = 1e-22


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
        block = np.zeros(len(counts), dtype=np.int64)
    else:
        size, multiplicity = (x.astype(float) for x in np.unique(counts, return_counts=True))
        block = np.searchsorted(size, counts)
    terms = _terms(setting, size, multiplicity, seed)
    tau, include = setting.temperature, setting.self_pairs == "include"
    return Program(size, multiplicity, setting.views, setting.alpha, tau, include, terms, block)


def reweighted(program: Program, alpha: float) -> Program:
    """A program strictly between alpha = 0 and 1 at another alpha; weights are linear in it."""
    terms, before = program.terms, program.alpha
    changed = replace(
        terms,
        supervised=terms.supervised * ((1 - alpha) / (1 - before)),
        self_supervised=terms.self_supervised * (alpha / before),
        across=None if terms.across is None else terms.across * ((1 - alpha) / (1 - before)),
    )
    return replace(program, alpha=alpha, terms=changed)


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
    counts, probability = _class_counts(m, n, B)
    own, chance = counts[counts > 0], probability[counts > 0]
    share = m * chance * own / B
    supervised = np.where(own > 1, share, 0.0)
    dropped = setting.anchors_without_positives == "drop" and counts[0] < 2
    if setting.reduction == "pairs" or dropped:
        supervised = _shares(m, n, B, setting.reduction)
    block, others = np.zeros(len(own), dtype=np.int64), (B - own)[:, None]
    self_supervised = setting.alpha * m * chance * own / B
    return Terms(block, own, others, (1 - setting.alpha) * supervised, self_supervised)


def _class_counts(classes: int, per_class: int, size: int) -> tuple[Array, Array]:
    """Counts b of a class in a random batch that are not negligibly rare, and their probability.

    Hypergeometric, by the recursion of neighbouring probabilities, which stays exact for large
    populations where differences of log-factorials do not.
    """
    rest = (classes - 1) * per_class
    mean = size / classes
    width = 12 * np.sqrt(mean) + 60
    low = max(0, size - rest, int(mean - width))
    counts = np.arange(low, min(per_class, size, int(mean + width)) + 1, dtype=float)
    before = counts[:-1]
    ratio = (per_class - before) * (size - before) / ((before + 1) * (rest - size + before + 1))
    log_p = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
    log_p -= logsumexp(log_p)
    keep = log_p > np.log(NEGLIGIBLE)
    return counts[keep], np.exp(log_p[keep])


@lru_cache(maxsize=64)
def _shares(classes: int, per_class: int, size: int, reduction: Reduction) -> Array:
    """Expected share of the anchors with b of their class in L_sup, for every count b >= 1.

    B of m n instances are drawn without replacement. The loss of a batch divides by a number Y that
    depends on the whole composition b_1..b_m: Y = sum of b_c over b_c >= 2 ("anchors", lone anchors
    dropped) or of b_c (b_c - 1) ("pairs"). What an anchor with b of its class contributes is

        E[1{b_c = b} / Y] = integral over t > 0 of E[1{b_c = b} e^(-t Y)] dt,

    and e^(-t Y) factorises over the classes: the expectation is a coefficient of a power of a
    polynomial, taken by FFT. The integral is a trapezoidal sum in log t, which converges
    exponentially. Kept, because searches vary only alpha and the temperature, which do not enter.
    """
    counts, _ = _class_counts(classes, per_class, size)
    part = _pairs(reduction, counts)
    step = np.log((per_class - counts[:-1]) / (counts[:-1] + 1))
    log_ways = np.concatenate([[0.0], np.cumsum(step)])
    total = np.zeros(len(counts))
    if part.any():
        scale = logsumexp(_log_joint(classes, size, counts, log_ways))
        largest = min(part.max() * classes, float(size) * float(size))
        nodes = np.arange(-np.log(largest) - 36.0, np.log(42.0 / part[part > 0].min()), STEP)
        for log_t in nodes:
            log_joint = _log_joint(classes, size, counts, log_ways - np.exp(log_t) * part)
            total += np.exp(log_joint - scale + log_t)
    return (classes * part * (STEP * total))[counts > 0]


def _log_joint(classes: int, size: int, counts: Array, log_weight: Array) -> Array:
    """log of w(b) times the coefficient of z^(size - b) in (sum_j w(j) z^j)^(classes - 1).

    The weights are tilted to the mean size/classes, so that the coefficients wanted lie in the
    middle of the distribution of the sum, where the FFT is accurate relatively.
    """
    mean = size / classes

    def excess(tilt: float) -> float:
        weight = log_weight + tilt * (counts - mean)
        weight = np.exp(weight - weight.max())
        return float(weight @ (counts - mean) / weight.sum())

    reach = 1.0
    while reach <= 1e9 and (excess(-reach) > 0 or excess(reach) < 0):
        reach *= 2
    tilt = float(brentq(excess, -reach, reach, xtol=1e-12)) if reach <= 1e9 else 0.0
    tilted = log_weight + tilt * (counts - mean)
    normaliser = logsumexp(tilted)
    mass = np.exp(tilted - normaliser)
    spread = float(np.sqrt(mass @ (counts - mean) ** 2 * (classes - 1)))
    span = len(counts) - 1
    length = next_fast_len(int(min((classes - 1) * span + 1, 40 * spread + 4 * span + 16)), True)
    power = irfft(rfft(mass, length) ** (classes - 1), length)
    index = (size - counts - (classes - 1) * counts[0]).astype(np.int64)
    reachable = (index >= 0) & (index <= (classes - 1) * span)
    log_rest = np.where(reachable, log(np.maximum(power[index % length], 0.0)), -np.inf)
    # Undo the tilt: both factors carry exp(tilt (count - mean)), whose exponents sum to zero.
    return tilted + log_rest + (classes - 1) * normaliser


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
    compositions, probability, sampled = compositions_of(setting, seed)
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


def compositions_of(setting: Setting, seed: int) -> tuple[Array, Array, bool]:
    """Batches as instances by class (K, m), their probabilities, and whether they are a sample."""
    # Neither alpha, temperature nor views enter, and searches vary those.
    return _compositions(setting.with_(alpha=1.0, temperature=1.0, views=2), seed)


def rough_program(setting: Setting, seed: int = 0) -> Program:
    """`program_of`, with like batches put together: to search by, where batches are many."""
    setting = plain_batch(setting)
    known = _rough(setting.with_(alpha=0.5, temperature=1.0, views=2), seed)
    program = reweighted(known, setting.alpha)
    return replace(program, temperature=setting.temperature, views=setting.views)


@lru_cache(maxsize=32)
def _rough(setting: Setting, seed: int) -> Program:
    """Cells of compositions, each for its weighted mean: what is lost is of second order."""
    program = program_of(setting, seed)
    if program.single:
        return program
    terms = program.terms
    rows = np.column_stack([terms.own, terms.others])
    weight = np.maximum(terms.weight, 1e-300)
    mean = weight @ rows / weight.sum()
    width = np.maximum(CELL * np.sqrt(weight @ (rows - mean) ** 2 / weight.sum()), 1.0)
    keys = np.column_stack([terms.block, np.floor(rows / width), terms.own > 1])
    cells, where = np.unique(keys, axis=0, return_inverse=True)

    def summed(values: Array) -> Array:
        return np.bincount(where.ravel(), values, len(cells)).astype(np.float64)

    means = np.stack([summed(weight * column) for column in rows.T], 1) / summed(weight)[:, None]
    merged = replace(
        terms,
        block=cells[:, 0].astype(np.int64),
        own=means[:, 0],
        others=means[:, 1:],
        supervised=summed(terms.supervised),
        self_supervised=summed(terms.self_supervised),
        draw=None,
    )
    return replace(program, terms=merged)


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
    left, steps = np.array([size]), []
    for c, count in enumerate(counts):
        low = np.maximum(0, left - counts[c + 1 :].sum())
        choices = np.minimum(count, left) - low + 1
        if choices.sum() > ENUMERATED:
            return None
        parent = np.repeat(np.arange(len(left)), choices)
        taken = low[parent] + np.arange(len(parent)) - (np.cumsum(choices) - choices)[parent]
        steps.append((parent, taken))
        left = left[parent] - taken
    out, row = np.empty((len(left), len(counts))), np.arange(len(left))
    for c, (parent, taken) in reversed(list(enumerate(steps))):
        out[:, c] = taken[row]
        row = parent[row]
    return out
