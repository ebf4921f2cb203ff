"""What no optimum needs, and which of equally good points is wanted: views, instances together."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigvalsh

from uncollapse.theory._program import Array, Point, Program

# Of the interval from 0 to 1, to bound a fraction.
HALVINGS = 20


def most_instance(program: Program) -> Array:
    """What each block's instance fraction is at most, (G,), without solving.

    A class spreads only where its instances' share A of the softmax has W A > S. Where it does its
    views coincide (see below), so beside them alone

        A <= mates r / (own views + mates r),   r = exp(-kappa iota/tau),

    which falls in iota. At iota = 0 the temperature does not enter.
    """
    terms, p = program.terms, program.views
    mates, views = p * (terms.own - 1), p if program.include else p - 1
    supervised, several = program.per_block(terms.supervised), terms.own > 1

    def attracted(instance: Array) -> Any:
        weak = mates * np.exp(-program.kappa * instance / program.temperature)[terms.block]
        share = np.divide(weak, weak + views, where=several & (weak > 0), out=np.zeros_like(weak))
        return program.per_block(terms.weight * share) <= supervised

    low, high = np.zeros(program.blocks), np.ones(program.blocks)
    never = attracted(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        beyond = attracted(middle)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.where(never, 0.0, high)


def without_needless_parts(program: Program, point: Point) -> Point:
    """A point that is no worse, without the parts of the norm that cannot lower the loss.

    With W = S + T and shares of D_t below one, raising s or a lowers the loss and frees norm for
    the class mean wherever its own pull outweighs its share. So

        nu = 0 with self pairs, or where S = 0 (one instance of the class in every batch),
        iota = 0 where T = 0 or no batch holds two instances of the class,
        and else, raising s and a alike, nu = 0 or iota = 0.

    At small tau the loss hardly feels this, so descent stops anywhere along that line.
    """
    p, terms, (view, instance, member) = program.views, program.terms, point.fractions
    attracted = program.per_block(terms.supervised) > 0
    separated = program.alone > 0
    separated &= program.per_block((terms.own > 1) * terms.weight) > 0
    new_view = np.where(program.include | ~attracted, 0.0, view)
    new_instance = np.where(separated, instance, 0.0)
    if p > 1:
        both = np.minimum(new_view * p / (p - 1), new_instance * p * program.kappa)
        new_view = new_view - both * (p - 1) / p
        new_instance = new_instance - both / (p * program.kappa)
    # The part that vanishes is exactly zero, not a rounding beside it.
    new_view = np.where(new_view < 1e-15, 0.0, new_view)
    new_instance = np.where(new_instance < 1e-15, 0.0, new_instance)
    freed = view - new_view + instance - new_instance
    several = program.multiplicity > 1
    member = member + np.where(several, freed, 0.0)
    means = point.means + np.diag(np.where(several, 0.0, freed))
    return Point(np.stack([new_view, new_instance, member]), means)


def raised(program: Program, point: Point) -> Point:
    """All cosines raised alike, G + delta (1 1' - I), as far as that is feasible.

    Without self pairs the loss does not change: every anchor's softmax is as it was, and its
    positives weigh as much as its denominator. Of these optima the one whose views coincide, or
    else whose instances do.
    """
    p, (view, instance, member) = program.views, point.fractions
    M, several = program.multiplicity, program.multiplicity > 1
    by_view, by_instance = (p - 1) / p, 1 / (p * program.kappa)

    def at(delta: float) -> Point:
        nu = view - delta * by_view
        iota = np.where(program.allowed[1], instance - delta * by_instance, 0.0)
        b = np.diag(point.means) - member / np.maximum(M - 1, 1) + delta
        mu = np.where(several, (1 - nu - iota - b) * (M - 1) / M, 0.0)
        means = point.means + delta
        np.fill_diagonal(means, 1 - nu - iota - mu)
        return Point(np.stack([nu, iota, mu]), means)

    def feasible(delta: float) -> bool:
        fractions, means = at(delta)
        # What rounding leaves below zero is put right by `restore`.
        return bool((fractions >= -1e-15).all()) and float(eigvalsh(means)[0]) >= -1e-15

    most = [view.min() / by_view] if p > 1 else []
    most += [(instance / by_instance)[program.allowed[1]].min()] if program.allowed[1].any() else []
    high = max(0.0, float(min(most, default=0.0)))
    if feasible(high):
        return at(high)
    low = 0.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if feasible(middle) else (low, middle)
    return at(low)
