"""Retention of one class and of all: estimate, jackknife, and null by permutation.

    retention = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))

inside each class, K and L the cosine Gram matrices of the embedding and of the reference (linear
CKA, Kornblith et al. 2019), each HSIC unbiased (see `_hsic`); the mean over classes that have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from uncollapse.metrics._hsic import (
    LEFT_OUT,
    Gram,
    Instances,
    PairSums,
    gram_cost,
    gram_hsics,
    product_cost,
)
from uncollapse.metrics._hsic_groups import grouped_hsics, summed
from uncollapse.metrics._stores import mixed
from uncollapse.metrics.features import Floats, Integers
from uncollapse.records import (
    ReferenceClass,
    Retention,
    check_confidence,
    check_from_zero,
    check_permutations,
    sentence,
)
from uncollapse.statistics import t_quantile

PERMUTATIONS = 100
# Units of a class that are permuted; the null of more is narrower by a known factor.
_PERMUTED = 64
# Pairs of permuted units that are taken at once: they stay in the processor's cache.
_AT_ONCE = 1 << 13
# Squared length of residuals, and HSIC over its square, that is rounding.
_POINT, _ROUNDING = 1e-22, 1e-12
_LEAST = 4


@dataclass(frozen=True)
class Drawing:
    """What intervals and nulls are drawn by."""

    confidence: float = 0.95
    permutations: int = PERMUTATIONS
    seed: int = 0
    number: int = 0  # of the class

    def of(self, number: int) -> Drawing:
        """The same for one class, whose permutations are its own."""
        return replace(self, number=number)

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        check_from_zero(seed=self.seed)
        check_permutations(self.permutations)


@dataclass(frozen=True)
class PartOfClass:
    """What was found in one class, or why there is nothing."""

    units: int
    estimate: float | None
    reason: str = ""
    influences: Floats | None = None  # of units on the estimate; their squares add to its variance
    codes: Integers | None = None  # of those units, where groups may lie in several classes
    null: Floats | None = None  # the estimate of each permutation


def too_few(units: int) -> PartOfClass:
    """A class of fewer units than retention needs."""
    return PartOfClass(units, None, sentence("reference.few", {"units": units}))


def part_of_class(
    x: Floats, y: Floats, groups: Integers | None, drawing: Drawing, scatter: Floats | None = None
) -> PartOfClass:
    """Retention of one class: instances (n, d) and (n, e), and the group of each.

    Both are overwritten; `scatter` is sum (x_i - x)(x_i - x)' where it is known.
    """
    for rows in (x, y):
        rows -= rows.mean(axis=0)
    if groups is None:
        return _of_instances(x, y, drawing, scatter)
    spreads = _spread(x), _spread(y)
    names, codes = np.unique(groups, return_inverse=True)
    values = grouped_hsics(x, y, codes)
    hsics = _Hsics(*(np.array([value[k] for value in values]) for k in (0, 1)))
    # The null as if groups were rows: exact where the instances of a group are alike, else wide.
    x_g, y_g = (summed(rows, codes) / np.bincount(codes)[:, None] for rows in (x, y))
    return _part(len(names), hsics, spreads, (x_g, y_g), drawing, names)


def _of_instances(x: Floats, y: Floats, drawing: Drawing, scatter: Floats | None) -> PartOfClass:
    """Of centred instances that are units by themselves."""
    n, d, e = len(x), x.shape[1], y.shape[1]
    some = _drawn(n, drawing.seed)
    if gram_cost(n, d, e) < product_cost(n, d, e):
        K, L = Gram.of(x), Gram.of(y)
        hsics, spreads = _Hsics(*gram_hsics(K, L, some)), (K.squares.mean(), L.squares.mean())
    else:
        own, other = Instances.of(x), Instances.of(y)
        found = _by_products(own, other, some, scatter)
        hsics = _Hsics(*map(np.array, zip(*found, strict=True)))
        spreads = own.squares.mean(), other.squares.mean()
    permuted = some[:_PERMUTED] if drawing.permutations else some[:0]
    return _part(n, hsics, spreads, (x[permuted], y[permuted]), drawing)


def _by_products(
    x: Instances, y: Instances, some: Integers, scatter: Floats | None
) -> list[tuple[Floats, Floats]]:
    """The three HSIC by sums over the instances; `scatter` is that of x where it is known."""
    x_some, y_some = x.take(some), y.take(some)
    return [
        (sums.value(), sums.without_each(*left_out))
        for sums, left_out in (
            (PairSums.of(x, y), (x_some, y_some)),
            (PairSums.of(x, x, scatter), (x_some, x_some)),
            (PairSums.of(y, y), (y_some, y_some)),
        )
    ]


def _spread(rows: Floats) -> float:
    return float(np.mean(np.einsum("ij,ij->i", rows, rows)))


class _Hsics(NamedTuple):
    """HSIC(K, L), HSIC(K, K) and HSIC(L, L)."""

    whole: Floats  # (3,)
    without: Floats  # (3, units) without each of some of the units


def _cka(hsics: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(hsics[0] / np.sqrt(hsics[1] * hsics[2]))


def _part(
    units: int,
    hsics: _Hsics,
    spreads: tuple[float, float],
    permuted: tuple[Floats, Floats],
    drawing: Drawing,
    codes: Integers | None = None,
) -> PartOfClass:
    """Estimate, influences and null of one class; `codes` name the units of the influences."""
    if units < _LEAST:
        return too_few(units)
    for side, spread, own in zip(("embedding", "reference"), spreads, hsics.whole[1:], strict=True):
        if not (spread > _POINT and own > _ROUNDING * spread**2):
            return PartOfClass(units, None, sentence(f"reference.alike-{side}"))
    return PartOfClass(
        units,
        float(np.clip(_cka(hsics.whole), -1, 1)),
        influences=_influences(units, _cka(hsics.without)),
        codes=codes,
        null=_null(units, *permuted, drawing),
    )


def _influences(units: int, without: Floats) -> Floats | None:
    """Jackknife influences of units, scaled so that their squares add up to the variance.

    (G - 1)/G sum_g (r_-g - r)^2, of G units of which some were left out in turn.
    """
    if units <= _LEAST or not np.isfinite(without).all():
        return None
    scale = np.sqrt((units - 1) / len(without))
    return np.asarray(scale * (without - without.mean()))


def _null(units: int, x: Floats, y: Floats, drawing: Drawing) -> Floats | None:
    """Retention with the reference's rows permuted.

    With Gram matrices centred so that rows sum to 0 off the diagonal (Szekely & Rizzo 2013), it is
    their cosine, whose mean over permutations is 0 and whose variance 2/(n (n - 3)), for all data;
    so the shape of it comes from some rows, and its size from the number of all.
    """
    if not drawing.permutations:
        return None
    x, y = x[:_PERMUTED], y[:_PERMUTED]
    n = len(x)
    K, L = _centred_gram(x), _centred_gram(y)
    length = np.sqrt(np.sum(K * K) * np.sum(L * L))
    if n < _LEAST or not length > 0:
        return None
    rng = np.random.default_rng([drawing.seed, drawing.number])
    order = rng.permuted(np.tile(np.arange(n), (drawing.permutations, 1)), axis=1)
    first, second = np.triu_indices(n, 1)
    pairs, step = K[first, second], max(1, _AT_ONCE // len(first))
    parts = (order[start : start + step] for start in range(0, len(order), step))
    sums = [L.take(n * part.take(first, 1) + part.take(second, 1)) @ pairs for part in parts]
    values = 2 * np.concatenate(sums) / length
    return np.asarray(values * np.sqrt(n * (n - 3) / (units * (units - 3))))


def _centred_gram(rows: Floats) -> Floats:
    n = len(rows)
    gram = rows @ rows.T
    np.fill_diagonal(gram, 0)
    sums = gram.sum(axis=0)
    gram += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums) / (n - 2)
    np.fill_diagonal(gram, 0)
    return np.asarray(gram)


@lru_cache
def _drawn(count: int, seed: int) -> Integers:
    """Positions of some of the instances, drawn by the seed alone: a stream draws the same."""
    keys = mixed(np.arange(count, dtype=np.uint64) + np.uint64((seed + 1) << 32))
    return np.argsort(keys, kind="stable")[:LEFT_OUT]


def judged(
    parts: Sequence[tuple[Any, PartOfClass]], drawing: Drawing
) -> tuple[tuple[ReferenceClass, ...], Retention]:
    """Retention of every class by its label, and its mean over the classes that have one."""
    classes = tuple(
        ReferenceClass(label, _of([part], drawing), part.units, part.reason)
        for label, part in parts
    )
    return classes, _of([part for _, part in parts], drawing)


def _of(parts: Sequence[PartOfClass], drawing: Drawing) -> Retention:
    """Mean retention of some classes with its interval and the upper end of its null."""
    parts = [part for part in parts if part.estimate is not None]
    estimates = [part.estimate for part in parts if part.estimate is not None]
    if not estimates:
        return Retention()
    estimate = float(np.mean(estimates))
    nulls = [part.null for part in parts if part.null is not None]
    null = float(np.quantile(np.mean(nulls, axis=0), 0.95)) if nulls else None
    low, high = _ends(parts, estimate, drawing.confidence)
    return Retention(estimate, low, high, null)


def _ends(
    parts: Sequence[PartOfClass], estimate: float, confidence: float
) -> tuple[float | None, float | None]:
    """Student's interval; classes add up, a group that lies in several counts in all at once."""
    if all(part.influences is None for part in parts):
        return None, None
    # Where nothing can be left out, the variance of unrelated rows stands in.
    variances = np.array(
        [
            2 / (part.units * (part.units - 3))
            if part.influences is None
            else part.influences @ part.influences
            for part in parts
        ]
    )
    freedom = np.array([part.units - 1.0 for part in parts])
    total = float(variances.sum())
    degrees = total**2 / float(np.sum(variances**2 / freedom)) if total > 0 else 1.0
    together = [(p.codes, p.influences) for p in parts if p.codes is not None]
    if len(together) == len(parts) > 1:
        codes = np.concatenate([codes for codes, _ in together])
        influences = np.concatenate([each for _, each in together if each is not None])
        if len(codes) == len(influences):
            by_group = np.bincount(codes, weights=influences)
            total = float(by_group @ by_group)
            degrees = min(degrees, len(np.unique(codes)) - 1.0)
    half = t_quantile(degrees, confidence) * np.sqrt(total) / len(parts)
    return max(-1.0, estimate - float(half)), min(1.0, estimate + float(half))
