"""The settings among which the best is looked for: any number of changes, a finite grid.

Alpha at `ALPHAS`, the temperature halved, doubled and four times, batches as `design` tries them,
the neighbours in strength of augmentation, and a half or twice the epochs where the plan has them:
half stops early, with a schedule of its own. What is predicted to collapse is left out.

Features are the predicted variance between instances in alpha's place (with a calibration, what a
network shows inside classes), temperature and instances of a class in a batch, and, in a smaller
range, augmentation and epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import log2

import numpy as np
from numpy.typing import NDArray

from uncollapse.pilot.design import (
    AUGMENTED,
    STRENGTHS,
    augmentation_changes,
    batch_changes,
    foreteller,
    name_of,
    predictable,
    rounded,
    trial_of,
)
from uncollapse.pilot.search import dial_features
from uncollapse.records import (
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
_TEMPERATURES = (0.5, 2.0, 4.0)
_COLDEST, _HOTTEST = 1e-3, 1e3
# More unequal classes than these are too slow to solve for at every setting of the grid.
_MANY_CLASSES = 20
# Of a step of augmentation, and of twice the epochs, as parts of a feature's range.
_STEP = 0.5

_AUGMENTATION = "views.augmentation"

Option = tuple[SettingChange, float]
_STAY: tuple[None, float] = (None, 0.0)


@dataclass(frozen=True)
class Space:
    """The settings, the present one first, then the smallest changes; their (N, 5) features."""

    trials: tuple[Trial, ...]
    features: NDArray[np.float64]
    dials: dict[str, tuple[object, ...]]  # of each that can change, its values; the present first


def space(problem: Problem, plan: PilotPlan, calibration: Calibration | None = None) -> Space:
    """The grid around the present setting, for runs of the lengths that the plan allows."""
    setting, note = predictable(problem.setting(), _MANY_CLASSES)
    levels = [[_STAY, *options] for options in _options(setting, problem, plan)]
    known, foretell = dict[Setting, Prediction](), foreteller(calibration)
    trials, rows = list[Trial](), list[list[float]]()
    for options in sorted(product(*levels), key=lambda chosen: sum(far for _, far in chosen)):
        change = tuple(one for one, _ in options if one is not None)
        there = changed_setting(setting, change)
        prediction = known.get(there) or foretell(there)
        known[there] = prediction
        augmented = any(one.key == _AUGMENTATION for one in change)
        name = "+".join(map(name_of, change)) or "start"
        size = sum(far for _, far in options)
        trial = trial_of(name, change, size, prediction, AUGMENTED if augmented else note)
        if trial.status == "waiting":
            trials.append(trial)
            rows.append(_features(change, there, prediction, problem))
    dials = {
        options[0][0].key: (options[0][0].before, *(one.after for one, _ in options))
        for options in _options(setting, problem, plan)
        if options
    }
    return Space(tuple(trials), np.array(rows), dials)


def _options(setting: Setting, problem: Problem, plan: PilotPlan) -> list[list[Option]]:
    """By dial, the changes of it and their sizes."""
    alpha, now = setting.alpha, setting.temperature
    alphas = [
        (SettingChange("loss.alpha", alpha, after), abs(after - alpha))
        for after in ALPHAS
        if after != alpha and (setting.views > 1 or setting.self_pairs == "include")
    ]
    temperatures = [
        (SettingChange("loss.temperature", now, after), abs(log2(factor)))
        for factor in _TEMPERATURES
        if _COLDEST <= (after := rounded(factor * now)) <= _HOTTEST
    ]
    epochs = problem.config.epochs
    lengths = [
        (SettingChange("epochs", epochs, after), abs(log2(after / epochs)))
        for length in plan.lengths
        if 0 < (after := round(epochs * length / plan.epochs)) != epochs
    ]
    batches, strengths = list(batch_changes(problem)), list(augmentation_changes(problem))
    return [alphas, temperatures, batches, strengths, lengths]


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
    return [*spread[0].tolist(), _STEP * steps, _STEP * longer]


def _per_class(problem: Problem) -> float:
    """Instances of a class in a batch of the present setting, on average."""
    batch, classes = problem.config.batch, len(problem.data.label_names)
    return batch.per_class or problem.sampler.size / classes
