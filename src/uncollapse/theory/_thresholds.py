"""Where the phase changes: thresholds of a setting in alpha and in temperature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from uncollapse.errors import InputError
from uncollapse.records import FullBatch, RandomBatch, Setting
from uncollapse.theory._label_terms import Labelled, labelled_program
from uncollapse.theory._labels import Labels
from uncollapse.theory._program import Program
from uncollapse.theory._solve import Solution, slopes, smallest_margin, solve
from uncollapse.theory._terms import program_of, reweighted
from uncollapse.theory._tidy import most_instance
from uncollapse.theory.balanced import (
    alpha_threshold,
    temperature_threshold,
    view_splitting_threshold,
)

# Beyond these, a threshold in temperature (a dozen solutions from far apart) takes minutes, and
# the threshold in alpha is found to three digits instead of six.
MANY_BLOCKS = 256
MANY_NUMBERS = 300_000
# With wrong labels a solution is a descent: a dozen of them for more blocks take minutes.
FEW_BLOCKS = 32
NO_SUPERVISED = "these batches allow no supervised term, so alpha = 1 only: there is no threshold"
# Logarithms of the temperatures between which a threshold is searched.
LOWEST, HIGHEST = float(np.log(1e-3)), float(np.log(1e3))


class Thresholds(NamedTuple):
    """See `uncollapse.records.Prediction`; `notes` says why one is None."""

    alpha: float | None = None
    temperature: float | None = None
    view_splitting: float | None = None
    notes: tuple[str, ...] = ()


def thresholds_of(setting: Setting, solution: Solution, seed: int) -> Thresholds:
    """The thresholds of a setting, given the optimum."""
    if setting.views == 1 and setting.self_pairs == "exclude":
        note = (
            "one view and self pairs excluded: there is no self-supervised term, so no alpha "
            "prevents collapse; use at least two views"
        )
        return Thresholds(notes=(note,))
    if setting.balanced and not isinstance(setting.batch, RandomBatch):
        closed = alpha_threshold, temperature_threshold, view_splitting_threshold
        return _of_balanced(setting, *(float(threshold(setting)) for threshold in closed))
    try:
        halves = setting.with_(alpha=0.5)
    except InputError:
        return Thresholds(notes=(NO_SUPERVISED,))
    if setting.balanced:
        return _of_balanced(setting, *_by_slopes(setting, program_of(halves)))
    if 0 < setting.alpha < 1:
        return _by_solving(setting, solution.program, solution)
    return _by_solving(setting, program_of(halves, seed), solution)


def thresholds_with_labels(
    setting: Setting, labels: Labels, labelled: Labelled, solution: Solution, seed: int
) -> Thresholds:
    """With wrong labels or an alpha by class: roots of the smallest margin of any class."""
    if setting.views == 1 and setting.self_pairs == "exclude":
        return thresholds_of(setting, solution, seed)
    program = labelled.program
    if program.terms.others.size > MANY_NUMBERS or program.blocks > FEW_BLOCKS:
        return Thresholds(notes=("too many classes or batches for thresholds: none computed",))
    if len(labels.alpha) > 1:
        temperature = _temperature_by_solving(setting, solution)
        return Thresholds(None, temperature, notes=("alpha differs by class: it has no threshold",))
    base = program
    if not 0 < setting.alpha < 1:
        try:
            halves = setting.with_(alpha=0.5)
        except InputError:
            return Thresholds(notes=(NO_SUPERVISED,))
        base = labelled_program(halves, replace(labels, alpha=np.array([0.5])), seed).program
    alpha = _alpha_by_solving(setting, base, solution)
    note = "thresholds under wrong labels are where the last true class leaves collapse"
    return Thresholds(alpha, _temperature_by_solving(setting, solution), notes=(note,))


def _of_balanced(
    setting: Setting, alpha: float, temperature: float, splitting: float
) -> Thresholds:
    """None for what alpha and temperature never reach; a note where temperature does not matter."""
    known, split = alpha if alpha < 1 else None, splitting if splitting > 0 else None
    if 0 < temperature < np.inf:
        return Thresholds(known, temperature, split)
    phase = "collapsed" if temperature == 0 else "spread"
    note = f"at alpha = {setting.alpha:g} the classes are {phase} at every temperature"
    return Thresholds(known, None, split, (note,))


def _by_slopes(setting: Setting, halves: Program) -> tuple[float, float, float]:
    """Random batches of balanced classes: the slopes at collapse are linear in alpha.

    Views never split above the alpha where instances begin to spread, so that collapse itself is
    the point to leave.
    """
    views_least, least = slopes(reweighted(halves, 0.0))
    views_most, most = slopes(reweighted(halves, 1.0))
    alpha = least / (least - most) if most < 0 else 1.0
    splits = setting.views > 1 and views_least < 0 < views_most
    splitting = views_least / (views_least - views_most) if splits else 0.0
    here = reweighted(halves, setting.alpha)

    def slope(log_temperature: float) -> float:
        return slopes(replace(here, temperature=float(np.exp(log_temperature))))[1]

    if slope(LOWEST) >= 0:
        return alpha, 0.0, splitting
    if slope(HIGHEST) < 0:
        return alpha, np.inf, splitting
    return alpha, float(np.exp(brentq(slope, LOWEST, HIGHEST, xtol=1e-12))), splitting


def _by_solving(setting: Setting, base: Program, solution: Solution) -> Thresholds:
    """Unequal classes: roots of the smallest margin; the base is a program with 0 < alpha < 1."""
    note = (
        "unequal classes: alpha_threshold and temperature_threshold are where the last class "
        "leaves collapse; view_splitting_threshold is not defined for all classes together"
    )
    if not base.single and base.terms.others.size > MANY_NUMBERS:
        skipped = "too many sampled batches for thresholds: none computed"
        return Thresholds(notes=(note, skipped))
    alpha = _alpha_by_solving(setting, base, solution)
    if base.blocks > MANY_BLOCKS:
        skipped = (
            f"temperature_threshold is not computed beyond {MANY_BLOCKS} different class sizes"
        )
        return Thresholds(alpha, notes=(note, skipped))
    temperature = None
    several = base.size > 1
    if setting.alpha < 1 and (most_instance(solution.program)[several] > 0).all():
        temperature = _temperature_by_solving(setting, solution)
    return Thresholds(alpha, temperature, notes=(note,))


def _smallest_class(setting: Setting, program: Program) -> tuple[Setting, float]:
    """Equal classes of the size that leaves collapse last, and their weight of self-supervision.

    Their closed forms are guesses. The weight T/(S + T) is that of the small class in its own
    setting, which the mean over pairs makes larger than alpha.
    """
    counts, batch = setting.counts, setting.batch
    smallest = int(counts[counts > 1].min())
    g = int(np.searchsorted(program.size, smallest))
    alone = program.alone[g]
    weight = alone / program.per_block(program.terms.weight)[g]
    if isinstance(batch, RandomBatch):
        smallest = max(2, round(smallest * batch.size / setting.instances))
        batch = FullBatch()
    equal = setting.with_(class_counts=None, classes=len(counts), per_class=smallest, batch=batch)
    return equal, float(weight)


def alpha_guess(setting: Setting, base: Program) -> float:
    """About where the last class leaves collapse, in log odds; the base has 0 < alpha < 1."""
    equal, weight = _smallest_class(setting, base)
    closed = min(float(alpha_threshold(equal)), 1.0)
    return float(logit(closed) + logit(base.alpha) - logit(weight))


def _alpha_by_solving(setting: Setting, base: Program, solution: Solution) -> float | None:
    guess = alpha_guess(setting, base)
    if base is solution.program:
        # The solution shows on which side of it the threshold lies.
        beyond = max if smallest_margin(solution) < 0 else min
        guess = beyond(guess, float(logit(base.alpha)))
    margin = _margin_along(lambda x: reweighted(base, float(expit(x))), solution)
    accuracy = 1e-6 if base.blocks <= MANY_BLOCKS else 1e-3
    # Classes of 1e9 leave collapse at an alpha of about 1e-9: logits to -+30 cover that.
    root = bracketed(margin, guess, rising=True, ends=(-30.0, 30.0), accuracy=accuracy)
    return None if root is None else float(expit(root))


def _temperature_by_solving(setting: Setting, solution: Solution) -> float | None:
    base = solution.program
    guess = float(temperature_threshold(*_smallest_class(setting, base)))
    margin = _margin_along(lambda x: replace(base, temperature=float(np.exp(x))), solution)
    begin = float(np.log(np.clip(guess, 1e-3, 1e3)))
    root = bracketed(margin, begin, rising=False, ends=(LOWEST, HIGHEST))
    return None if root is None else float(np.exp(root))


def _margin_along(path: Callable[[float], Program], solution: Solution) -> Callable[[float], float]:
    """The smallest margin along programs, each solved from the solution of the one before."""
    last = solution

    def margin(x: float) -> float:
        nonlocal last
        program = path(x)
        last = solve(program, last.moved(program.temperature))
        return smallest_margin(last)

    return margin


def bracketed(
    function: Callable[[float], float],
    guess: float,
    *,
    rising: bool,
    ends: tuple[float, float],
    accuracy: float = 1e-6,
) -> float | None:
    """Root of a monotone function: step outwards from a guess, then Brent; None if none."""
    known = cache(function)
    near, step = float(np.clip(guess, *ends)), 0.25
    value = known(near)
    upwards = (value < 0) == rising
    while True:
        far = min(near + step, ends[1]) if upwards else max(near - step, ends[0])
        if far == near:
            return None
        ahead = known(far)
        if (ahead < 0) != (value < 0):
            break
        near, value, step = far, ahead, 2 * step
    return float(brentq(known, near, far, xtol=accuracy))
