"""Where the phase changes: thresholds of a setting in alpha and in temperature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from uncollapse.errors import InputError
from uncollapse.records import FullBatch, RandomBatch, Setting
from uncollapse.theory import balanced
from uncollapse.theory.program import Point, Program, evaluate
from uncollapse.theory.solve import Solution, margins, solve
from uncollapse.theory.terms import program_of, reweighted

__all__ = ["Thresholds", "alpha_guess", "bracketed", "thresholds_of"]

# Beyond these, a threshold in temperature (a dozen solutions from far apart) takes minutes, and
# the threshold in alpha is found to three digits instead of six.
MANY_BLOCKS = 256
MANY_NUMBERS = 300_000
LOWEST, HIGHEST = 1e-3, 1e3


@dataclass(frozen=True)
class Thresholds:
    """See `uncollapse.records.Prediction`; `notes` says why one is None."""

    alpha: float | None
    temperature: float | None
    view_splitting: float | None
    notes: tuple[str, ...] = ()


def thresholds_of(setting: Setting, program: Program, solution: Solution, seed: int) -> Thresholds:
    """The thresholds of a setting, given its program and the optimum."""
    if setting.views == 1 and setting.self_pairs == "exclude":
        note = (
            "one view and self pairs excluded: there is no self-supervised term, so no alpha "
            "prevents collapse; use at least two views"
        )
        return Thresholds(None, None, None, (note,))
    random = isinstance(setting.batch, RandomBatch) and setting.batch.size < setting.instances
    if setting.balanced and not random:
        return _closed(setting)
    if setting.alpha == 1 and not _allows(setting, 0.5):
        note = "these batches allow no supervised term, so alpha = 1 only: there is no threshold"
        return Thresholds(None, None, None, (note,))
    return _random(setting) if setting.balanced else _by_solving(setting, program, solution, seed)


def _allows(setting: Setting, alpha: float) -> bool:
    """Whether the setting is valid with a supervised term too."""
    try:
        setting.with_(alpha=alpha)
    except InputError:
        return False
    return True


def _closed(setting: Setting) -> Thresholds:
    if not isinstance(setting.batch, RandomBatch):
        full = setting
    else:
        full = setting.with_(batch=FullBatch())
    splitting = float(balanced.view_splitting_threshold(full))
    return Thresholds(
        _alpha_or_none(float(balanced.alpha_threshold(full))),
        _temperature_or_none(float(balanced.temperature_threshold(full))),
        splitting if splitting > 0 else None,
        _ends(setting, float(balanced.temperature_threshold(full))),
    )


def _alpha_or_none(alpha: float) -> float | None:
    return alpha if alpha < 1 else None


def _temperature_or_none(temperature: float) -> float | None:
    return temperature if 0 < temperature < np.inf else None


def _ends(setting: Setting, temperature: float) -> tuple[str, ...]:
    if temperature == 0:
        return (f"at alpha = {setting.alpha:g} the classes are collapsed at every temperature",)
    if temperature == np.inf:
        return (f"at alpha = {setting.alpha:g} the classes are spread at every temperature",)
    return ()


def _collapse_slopes(program: Program) -> tuple[float, float]:
    """Derivatives by nu and by iota at full collapse, against the between-class fraction."""
    zero, one = np.zeros(1), np.ones(1)
    _, gradient = evaluate(program, Point(zero, zero, one, zero[:, None]))
    along = float(gradient.member[0])
    return float(gradient.view[0]) - along, float(gradient.instance[0]) - along


def _random(setting: Setting) -> Thresholds:
    """Random batches of balanced classes: the slopes at collapse are linear in alpha.

    Views never split above the alpha where instances begin to spread, so that collapse itself is
    the point to leave.
    """
    halves = program_of(setting.with_(alpha=0.5))
    supervised, self_supervised = (reweighted(halves, 0.5, alpha) for alpha in (0.0, 1.0))
    views_zero, zero = _collapse_slopes(supervised)
    views_one, one = _collapse_slopes(self_supervised)
    alpha = zero / (zero - one) if one < 0 else None
    splitting = None
    if setting.views > 1 and views_zero < 0:
        splitting = views_zero / (views_zero - views_one)
    here = reweighted(halves, 0.5, setting.alpha)

    def slope(log_temperature: float) -> float:
        return _collapse_slopes(replace(here, temperature=float(np.exp(log_temperature))))[1]

    low, high = np.log(LOWEST), np.log(HIGHEST)
    if slope(low) >= 0:
        return Thresholds(alpha, None, splitting, _ends(setting, 0.0))
    if slope(high) < 0:
        return Thresholds(alpha, None, splitting, _ends(setting, np.inf))
    return Thresholds(alpha, float(np.exp(brentq(slope, low, high, xtol=1e-12))), splitting)


def _by_solving(setting: Setting, program: Program, solution: Solution, seed: int) -> Thresholds:
    """Unequal classes: roots of the smallest margin, each evaluation a solution."""
    notes = (
        "unequal classes: alpha_threshold and temperature_threshold are where the last class "
        "leaves collapse; view_splitting_threshold is not defined for all classes together",
    )
    base, at = program, setting.alpha
    if at in (0, 1):
        base, at = program_of(setting.with_(alpha=0.5), seed), 0.5
    if not base.single and base.terms.others.size > MANY_NUMBERS:
        skipped = "too many sampled batches for thresholds: none computed"
        return Thresholds(None, None, None, (*notes, skipped))
    alpha = _alpha_by_solving(setting, base, at, solution)
    if program.blocks > MANY_BLOCKS:
        skipped = (
            f"temperature_threshold is not computed beyond {MANY_BLOCKS} different class sizes"
        )
        return Thresholds(alpha, None, None, (*notes, skipped))
    temperature = None
    if setting.alpha < 1 and _may_spread(program):
        temperature = _temperature_by_solving(setting, program, solution)
    return Thresholds(alpha, temperature, None, notes)


def _smallest_class(setting: Setting, program: Program) -> tuple[Setting, float]:
    """Equal classes of the size that leaves collapse last, and their weight of self-supervision.

    Their closed forms are guesses. The weight T/(S + T) is that of the small class in its own
    setting, which the mean over pairs makes larger than alpha.
    """
    counts, batch = setting.counts, setting.batch
    smallest = int(counts[counts > 1].min())
    g = int(np.searchsorted(program.size, smallest)) if program.blocks > 1 else 0
    alone = program.per_block(program.terms.self_supervised)[g]
    weight = alone / program.per_block(program.terms.weight)[g]
    if isinstance(batch, RandomBatch):
        smallest = max(2, round(smallest * batch.size / setting.instances))
        batch = FullBatch()
    equal = setting.with_(class_counts=None, classes=len(counts), per_class=smallest, batch=batch)
    return equal, float(weight)


def alpha_guess(setting: Setting, base: Program, at: float) -> float:
    """About where the last class leaves collapse, in log odds of alpha.

    Args:
        setting: Any setting; its alpha does not matter.
        base: Its program at alpha = `at`.
        at: Strictly between 0 and 1.
    """
    equal, weight = _smallest_class(setting, base)
    closed = min(float(balanced.alpha_threshold(equal)), 1.0)
    return float(logit(closed) + logit(at) - logit(weight))


def _alpha_by_solving(
    setting: Setting, base: Program, at: float, solution: Solution
) -> float | None:
    last = solution

    def margin(x: float) -> float:
        nonlocal last
        program = reweighted(base, at, float(expit(x)))
        last = solve(program, last)
        return _smallest(program, last)

    # Classes of 1e9 leave collapse at an alpha of about 1e-9: logits to -+30 cover that.
    accuracy = 1e-6 if base.blocks <= MANY_BLOCKS else 1e-3
    guess, here = alpha_guess(setting, base, at), float(logit(at))
    if at == setting.alpha:
        # The solution shows on which side of it the threshold lies.
        beyond = max if _smallest(base, solution) < 0 else min
        guess = beyond(guess, here)
    root = bracketed(margin, guess, rising=True, ends=(-30.0, 30.0), accuracy=accuracy)
    return float(expit(root)) if root is not None else None


def _may_spread(program: Program) -> bool:
    """Whether every class may spread at some temperature; False is proven, True is not.

    A class spreads only where its instances' share A of the softmax has W A > S, and with a <= s
    that share is at most mates / (own views + mates), whatever the temperature.
    """
    terms, p = program.terms, program.views
    mates = p * (terms.own - 1)
    most = np.divide(mates, mates + (p if program.include else p - 1), where=mates > 0, out=mates)
    pull = program.per_block(terms.weight * most) > program.per_block(terms.supervised)
    return bool(np.all(pull | (program.size == 1)))


def _temperature_by_solving(setting: Setting, base: Program, solution: Solution) -> float | None:
    last, at = solution, base.temperature

    def margin(x: float) -> float:
        nonlocal last, at
        program = replace(base, temperature=float(np.exp(x)))
        last, at = solve(program, last.moved(at, program.temperature)), program.temperature
        return _smallest(program, last)

    equal, weight = _smallest_class(setting, base)
    guess = float(balanced.temperature_threshold(equal, weight))
    ends = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    begin = float(np.log(np.clip(guess, LOWEST, HIGHEST)))
    root = bracketed(margin, begin, rising=False, ends=ends)
    return float(np.exp(root)) if root is not None else None


def _smallest(program: Program, solution: Solution) -> float:
    return float(np.nanmin(margins(program, solution.point)))


def bracketed(
    function: Callable[[float], float],
    guess: float,
    *,
    rising: bool,
    ends: tuple[float, float],
    accuracy: float = 1e-6,
) -> float | None:
    """Root of a monotone function: step outwards from a guess, then Brent; None if none."""
    near, step = float(np.clip(guess, *ends)), 0.25
    value = function(near)
    upwards = (value < 0) == rising
    while True:
        far = min(near + step, ends[1]) if upwards else max(near - step, ends[0])
        if far == near:
            return None
        ahead = function(far)
        if (ahead < 0) != (value < 0):
            break
        near, value, step = far, ahead, 2 * step
    found = {near: value, far: ahead}
    return float(
        brentq(lambda x: found[x] if x in found else function(x), near, far, xtol=accuracy)
    )
