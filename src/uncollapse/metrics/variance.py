"""The three-level decomposition of variance on the unit sphere, with jackknife intervals.

With a_c and s_c the mean cosines of a class (see `cosines`),

    within   = 1 - a        between instances = s - a        between views = 1 - s

are unbiased for a new sample; the plug-in of each replaces expectations by means of the sample.
Classes are averaged with weights w_c: 1/C (macro) or n_c/N (micro), never a mixture of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics._second_order import second_order
from uncollapse.metrics.cosines import (
    Crossing,
    LevelsOfClass,
    crossing_products,
    groups_cross,
    jackknife_functionals,
    jackknife_products,
    levels_of_class,
    variance_of_mean,
)
from uncollapse.metrics.features import COSINE_COUNT, Floats, Integers
from uncollapse.metrics.moments import ClassMoments
from uncollapse.records import UNKNOWN, Estimate, Variances, number
from uncollapse.statistics import t_quantile

# Where the total variance stands among the quantities.
_TOTAL = 4


@dataclass(frozen=True)
class LevelsPerClass:
    """Estimates of one class."""

    within: Estimate
    instance: Estimate
    view: Estimate
    share: Estimate  # instance variance (within, without views) over the total of all classes
    certain_high: float | None  # of the share, at a level that holds for all classes at once
    enough_units: bool  # for little variance not to be chance
    units: int


@dataclass(frozen=True)
class Decomposition:
    """Estimates over all classes, and per class."""

    variances: Variances
    share: Estimate  # instance variance (within, without views) over total variance
    noise_ratio: Estimate  # instance variance over view variance
    per_class: tuple[LevelsPerClass, ...]
    enough_units: bool  # for little variance not to be chance

    @property
    def has_views(self) -> bool:
        """Whether instances can be distinguished from their views."""
        return self.variances.view_variance.estimate is not None

    @property
    def hides_total(self) -> bool:
        """Whether the total alone has no interval: a few units carry the variance."""
        return self.share.low is not None and self.variances.total_variance.low is None

    @property
    def judged(self) -> Estimate:
        """The variance that the share is of: between instances, else within classes."""
        variances = self.variances
        return variances.instance_variance if self.has_views else variances.within_class_variance


def decompose(
    classes: Sequence[ClassMoments], *, confidence: float = 0.95, micro: bool = False
) -> Decomposition:
    """Within, instance, view, between and total variance over all classes.

    With true class means mu_c and weights w_c,

        between = sum_c w_c ||mu_c||^2 - ||sum_c w_c mu_c||^2
                ~ sum_c (w_c - w_c^2) a_c - (||M||^2 - sum_c w_c^2 ||m_c||^2),   M = sum_c w_c m_c

    where a_c is unbiased for ||mu_c||^2 and m_c . m_c' for the products of different classes. Where
    a group occurs in several classes, pairs inside it are left out of those too (see `cosines`).
    Of two classes or more, each of two units or more; `micro` weighs classes by their instances.
    """
    slopes = linearised(classes, micro)
    chance = _chance(classes, slopes)
    # Where groups cross classes, what is of second order is not known apart.
    more = np.zeros(len(slopes.quantities))
    more[_TOTAL] = 0.0 if slopes.crossing is not None else second_order(classes, slopes.weights)
    estimates = [
        _estimate(quantity, chance, confidence, unseen)
        for quantity, unseen in zip(slopes.quantities, more.tolist(), strict=True)
    ]
    total = float(slopes.quantities[_TOTAL].value)
    return Decomposition(
        Variances(*estimates[:5]),
        share=estimates[5],
        noise_ratio=estimates[6],
        per_class=tuple(_per_class(classes, slopes.levels, chance, total, confidence)),
        enough_units=_enough_units(sum(moments.units - 1 for moments in classes), 1 - confidence),
    )


@dataclass(frozen=True)
class Linearised:
    """The five variances, their share and the noise ratio, by what they depend on."""

    weights: Floats  # (C,) of the classes
    quantities: tuple[Quantity, ...]
    levels: list[LevelsOfClass]
    directions: Floats  # (C, d) v_c
    crossing: Crossing | None


def linearised(classes: Sequence[ClassMoments], micro: bool = False) -> Linearised:
    """Estimates and their slopes by the classes' cosines, as in `decompose`."""
    levels = [levels_of_class(moments) for moments in classes]
    w = np.array([float(m.instances) if micro else 1.0 for m in classes])
    w /= w.sum()
    a, s = np.array([level.a for level in levels]), np.array([level.s for level in levels])
    viewed = ~np.isnan(s)
    with np.errstate(invalid="ignore"):
        wv = np.where(viewed, w, 0) / np.sum(w[viewed])
    s = np.where(viewed, s, 0)
    means = np.stack([moments.mean for moments in classes])
    M, squares = w @ means, np.einsum("ij,ij->i", means, means)
    plug = np.array([level.plug_in for level in levels])
    none = np.zeros(len(w))

    # Each quantity: its estimate, its plug-in, and its slopes by a_c, s_c and m_c . (M - w_c m_c).
    within = Quantity(w @ (1 - a), w @ plug[:, 0], np.stack([-w, none, none], axis=1))
    instance = Quantity(wv @ (s - a), wv @ plug[:, 1], np.stack([-wv, wv, none], axis=1))
    view = Quantity(wv @ (1 - s), wv @ plug[:, 2], np.stack([none, -wv, none], axis=1))
    crossing = crossing_products(classes, w) if groups_cross(classes) else None
    products = M @ M - w**2 @ squares if crossing is None else crossing.value
    between = Quantity(
        (w - w**2) @ a - products,
        w @ squares - M @ M,
        np.stack([w - w**2, none, -2 * w], axis=1),
    )
    total = Quantity(
        within.value + between.value,
        within.plug_in + between.plug_in,
        within.slopes + between.slopes,
    )
    share = _ratio(instance if viewed.any() else within, total)
    quantities = (within, instance, view, between, total, share, _ratio(instance, view))
    return Linearised(w, quantities, levels, M - w[:, None] * means, crossing)


def _enough_units(agreements: int, alpha: float) -> bool:
    """Whether so many units beyond the first agree by chance with probability alpha at most.

    Four units at one point have no variance, and so no interval about it; but of four units drawn
    from two points, all lie at one of them in 2^-3 of samples. Random labels over such clusters
    must not give classes that look collapsed.
    """
    return 0.5**agreements <= alpha


@dataclass(frozen=True)
class Quantity:
    """A smooth function of the classes' cosines; slopes (C, 3) by a_c, s_c and m_c . v_c."""

    value: float
    plug_in: float
    slopes: Floats


def _ratio(top: Quantity, bottom: Quantity) -> Quantity:
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.divide(top.value, bottom.value)
        slopes = (top.slopes - value * bottom.slopes) / bottom.value
        return Quantity(float(value), float(np.divide(top.plug_in, bottom.plug_in)), slopes)


@dataclass(frozen=True)
class _Chance:
    """Sampling errors of the classes' cosines: covariance of a_c, s_c and m_c . v_c.

    Where groups cross classes also each row's influences on a_c and s_c, and its group's code.
    """

    products: Floats  # (C, 3, 3)
    degrees: Floats
    influences: list[Floats]
    groups: list[Integers]
    crossing: Crossing | None
    excess: Floats  # (C,) what was taken off the variance of a_c


def _chance(classes: Sequence[ClassMoments], given: Linearised) -> _Chance:
    levels, directions, crossing = given.levels, given.directions, given.crossing
    products = np.zeros((len(classes), 3, 3))
    excess = np.zeros(len(classes))
    degrees = np.array([float(level.degrees) for level in levels])
    names = [moments.names for moments in classes if moments.names is not None]
    followed = crossing is not None and crossing.influences is not None
    influences: list[Floats] = []
    for c, (moments, level) in enumerate(zip(classes, levels, strict=True)):
        if level.degrees == 0:
            continue
        functionals = jackknife_functionals(moments, level, directions[c])
        products[c], excess[c] = jackknife_products(moments, functionals)
        if followed:
            influences.append(moments.influences(functionals[:2]))
    small = degrees == 0
    cosines = np.array([[level.a, level.s] for level in levels])
    # A single instance with views, left out, leaves no cosine: its zero influence is no certainty.
    lone = ~small & np.array([moments.totals[COSINE_COUNT] == 1 for moments in classes])
    if lone.any():
        products[lone, 1, 1] = _stand_in(cosines[:, 1], lone)
    if small.any():
        kept = all(moments.has_spread for moments in classes)
        for k in (0, 1):
            products[small, k, k] = _stand_in(cosines[:, k], small) if kept else np.nan
        for c in np.flatnonzero(small).tolist() if kept else ():
            products[c, 2, 2] = variance_of_mean(classes[c], directions[c])
        # k classes about their own mean have k - 1 degrees of freedom between them.
        degrees[small] = 1 - small.all() / len(small)
    return _Chance(products, degrees, influences, names, crossing, excess)


def _stand_in(cosines: Floats, small: NDArray[np.bool_]) -> float:
    """Variance of a cosine in small classes (two units, or one with views) without a jackknife."""
    # The spread of such classes about the mean of the larger ones, or about their own where there
    # are none, is at least the chance part of it. NaN cosines (no views) take no part.
    known = ~np.isnan(cosines)
    mine, others = cosines[small & known], cosines[~small & known]
    if len(mine) == 0:
        return 0.0
    if len(others):
        return float(np.mean((mine - others.mean()) ** 2))
    return float(np.var(mine, ddof=1)) if len(mine) > 1 else float("nan")


def _estimate(quantity: Quantity, chance: _Chance, confidence: float, unseen: float) -> Estimate:
    """Estimate with a t interval; degrees of freedom by Satterthwaite.

    `unseen` is variance that the slopes do not show.
    """
    slopes = quantity.slopes
    parts = np.einsum("ci,cij,cj->c", slopes, chance.products, slopes)
    variance = float(parts.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        df = float(parts.sum() ** 2 / np.sum(parts**2 / chance.degrees))
    crossing = chance.crossing
    if crossing is not None and crossing.influences is not None:
        # One group is left out of all its classes at once.
        rows = np.concatenate(
            [e @ slope[:2] for e, slope in zip(chance.influences, slopes, strict=True)]
        )
        summed = np.bincount(np.concatenate(chance.groups), weights=rows).astype(np.float64)
        # m_c . v_c enters by 2 w_c times what the products of different classes enter by.
        products = float(slopes[:, 2].sum()) / 2
        summed = summed + products * crossing.influences
        # A shift that classes share cancels between them, and with it the excess of each class.
        excess = 0.0 if products else float(slopes[:, 0] ** 2 @ chance.excess)
        variance = max(0.0, float(summed @ summed) - excess)
        # Classes that share their groups are no further evidence of how groups vary.
        df = min(df, crossing.groups - 1.0)
    variance += unseen
    return _interval(quantity.value, quantity.plug_in, variance, df, 1 - confidence)


def _interval(value: float, plug_in: float, variance: float, df: float, alpha: float) -> Estimate:
    if not np.isfinite(variance):
        return Estimate(number(value), None, None, number(plug_in))
    # A variance of exactly zero has no degrees of freedom, and needs none.
    quantile = t_quantile(df, 1 - alpha) if np.isfinite(df) else 0.0
    half = quantile * float(np.sqrt(max(variance, 0.0)))
    return Estimate(number(value), number(value - half), number(value + half), number(plug_in))


def _per_class(
    classes: Sequence[ClassMoments],
    levels: Sequence[LevelsOfClass],
    chance: _Chance,
    total: float,
    confidence: float,
) -> Iterator[LevelsPerClass]:
    alpha = 1 - confidence
    certain = alpha / len(levels)
    for moments, level, products in zip(classes, levels, chance.products, strict=True):
        freedom, viewed = float(level.degrees), not np.isnan(level.s)
        # Value, plug-in and variance of each level; without a jackknife there is no variance.
        C = products if freedom else np.full((3, 3), np.nan)
        within = 1 - level.a, level.plug_in[0], C[0, 0]
        instance = level.s - level.a, level.plug_in[1], C[0, 0] + C[1, 1] - 2 * C[0, 1]
        view = 1 - level.s, level.plug_in[2], C[1, 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            # Where nothing varies at all there is no share, which NaN says.
            scale = np.float64(total)
            value, plug_in, variance = instance if viewed else within
            share = float(value / scale), float(plug_in / scale), float(variance / scale**2)
        enough = _enough_units(moments.units - 1, certain)
        yield LevelsPerClass(
            within=_interval(*within, freedom, alpha),
            instance=_interval(*instance, freedom, alpha) if viewed else UNKNOWN,
            view=_interval(*view, freedom, alpha) if viewed else UNKNOWN,
            share=_interval(*share, freedom, alpha),
            certain_high=_interval(*share, freedom, certain).high if enough else None,
            enough_units=_enough_units(moments.units - 1, alpha),
            units=moments.units,
        )
