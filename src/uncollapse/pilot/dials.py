"""The settings among which the best is looked for: any number of changes, a finite grid.

Alpha at `ALPHAS`, the temperature halved, doubled and four times, batches as `design` tries them,
the neighbours in strength of augmentation, keep of weight 1 where there is a reference, and half or
twice the epochs where the plan has them: half stops early, with a schedule of its own. What is
predicted to collapse and keeps no reference is left out.

Features are the predicted variance between instances in alpha's place (with a calibration, what a
network shows inside classes), temperature and instances of a class in a batch, and, in a smaller
range, augmentation, epochs and the weight of keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import log2

import numpy as np
from numpy.typing import NDArray

from uncollapse.pilot.design import (
    AUGMENTED,
    STRENGTHS,
    augmentation_changes,
    batch_changes,
    dial_of,
    foreteller,
    name_of,
    predictable,
    rounded,
    trial_of,
)
from uncollapse.pilot.keeping import fits, keep_changes, keeps, kept
from uncollapse.pilot.search import dial_features
from uncollapse.records import (
    DIALS,
    Calibration,
    PilotPlan,
    Prediction,
    Setting,
    SettingChange,
    Trial,
    changed_setting,
)
from uncollapse.training import Problem

ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
KEEPS = (0.0, 1.0)  # Weights; between .3 and 3 they differ by a point or two (docs/keep.md).
_TEMPERATURES = (0.5, 2.0, 4.0)
_COLDEST, _HOTTEST = 1e-3, 1e3
# More unequal classes than these are too slow to solve for at every setting of the grid.
_MANY_CLASSES = 20
# Of a step of augmentation, of twice the epochs and of twice 1 + keep, as parts of a range.
_STEP = 0.5

_AUGMENTATION = "views.augmentation"

Option = tuple[tuple[SettingChange, ...], float]
_STAY: Option = ((), 0.0)


@dataclass(frozen=True)
class Space:
    """The settings, the present one first, then the smallest changes; their (N, 6) features."""

    trials: tuple[Trial, ...]
    features: NDArray[np.float64]
    dials: dict[str, tuple[object, ...]]  # of each that can change, its values; the present first
    epochs: int  # of the present setting

    def longer(self, place: int) -> Trial:
        """A setting of the list with twice the epochs of the present one, its change the last."""
        trial, now = self.trials[place], SettingChange("epochs", self.epochs, 2 * self.epochs)
        had = next((one for one in trial.change if one.key == now.key), None)
        name, size = trial.name, (trial.size or 0.0) + 1.0
        if had is not None:
            name = name.removesuffix(name_of(had)).removesuffix("+") or "start"
            size -= abs(log2(had.after / had.before))
        name = name_of(now) if name == "start" else f"{name}+{name_of(now)}"
        change = (*(one for one in trial.change if one is not had), now)
        return replace(trial, name=name, change=change, size=size)


def space(
    problem: Problem,
    plan: PilotPlan,
    calibration: Calibration | None = None,
    dials: Sequence[str] = DIALS,
) -> Space:
    """The grid of these dials around the present setting, for runs of the plan's lengths."""
    setting, note = predictable(problem.setting(), _MANY_CLASSES)
    by_dial = [
        options
        for options in _options(setting, problem, plan)
        if options and dial_of(options[0][0][0]) in dials
    ]
    known, foretell = dict[Setting, Prediction](), foreteller(calibration)
    trials, rows = list[Trial](), list[list[float]]()
    every = product(*([_STAY, *options] for options in by_dial))
    for options in sorted(every, key=lambda chosen: sum(far for _, far in chosen)):
        change = tuple(one for changes, _ in options for one in changes)
        if not fits(problem.config, change):
            continue
        there = changed_setting(setting, change)
        prediction = known.get(there) or foretell(there)
        known[there] = prediction
        augmented = any(one.key == _AUGMENTATION for one in change)
        name = "+".join(name_of(changes[0]) for changes, _ in options if changes) or "start"
        size = sum(far for _, far in options)
        trial = trial_of(name, change, size, prediction, AUGMENTED if augmented else note)
        if keeps(problem.config, change):
            trial = kept(trial)
        if trial.status == "waiting":
            trials.append(trial)
            rows.append(_features(change, there, prediction, problem))
    values = {
        options[0][0][0].key: (options[0][0][0].before, *(one[0].after for one, _ in options))
        for options in by_dial
    }
    return Space(tuple(trials), np.array(rows), values, problem.config.epochs)


def _options(setting: Setting, problem: Problem, plan: PilotPlan) -> list[list[Option]]:
    """By dial, the changes of it and their sizes."""
    alpha, now = setting.alpha, setting.temperature
    alphas = [
        _single("loss.alpha", alpha, after, abs(after - alpha))
        for after in ALPHAS
        if after != alpha and (setting.views > 1 or setting.self_pairs == "include")
    ]
    temperatures = [
        _single("loss.temperature", now, after, abs(log2(factor)))
        for factor in _TEMPERATURES
        if _COLDEST <= (after := rounded(factor * now)) <= _HOTTEST
    ]
    epochs = problem.config.epochs
    lengths = [
        _single("epochs", epochs, after, abs(log2(after / epochs)))
        for length in plan.lengths
        if 0 < (after := round(epochs * length / plan.epochs)) != epochs
    ]
    singles: list[list[Option]] = [
        [((change,), size) for change, size in changes(problem)]
        for changes in (batch_changes, augmentation_changes)
    ]
    weights = [(change, size) for change, size in keep_changes(problem) if change[0].after in KEEPS]
    return [alphas, temperatures, *singles, weights, lengths]


def _single(key: str, before: object, after: object, size: float) -> Option:
    return (SettingChange(key, before, after),), size


def _features(
    change: tuple[SettingChange, ...], setting: Setting, prediction: Prediction, problem: Problem
) -> list[float]:
    after = {one.key: one for one in change}
    batch = next((one for key, one in after.items() if key.startswith("batch.")), None)
    more = 1.0 if batch is None else batch.after / batch.before
    count = _per_class(problem) * more
    variance = prediction.instance_variance
    if prediction.network is not None:
        variance = prediction.network.within_class_variance.estimate
    spread = dial_features([setting.alpha], [setting.temperature], [count], variance=[variance])
    steps = 0.0
    if (one := after.get(_AUGMENTATION)) is not None:
        steps = STRENGTHS.index(one.after) - STRENGTHS.index(one.before)
    longer = log2(after["epochs"].after / after["epochs"].before) if "epochs" in after else 0.0
    weight = after["loss.keep"].after if "loss.keep" in after else problem.config.loss.keep
    further = (steps, longer, log2(1 + weight))
    return [*spread[0].tolist(), *(_STEP * each for each in further)]


def _per_class(problem: Problem) -> float:
    """Instances of a class in a batch of the present setting, on average."""
    batch, classes = problem.config.batch, len(problem.data.label_names)
    return batch.per_class or problem.sampler.size / classes
