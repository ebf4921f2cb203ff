"""Candidates from theory: single changes whose predicted variance spans the useful range.

For alpha, and for the temperature where it can, values are the solutions of V(value) = q V_max for
q in `SHARES`, where V is the predicted instance variance and V_max that at alpha = 1: a family in
one dimension, "target variance", in place of a grid in alpha and tau. With a calibration V is the
variance of a network like those of it, and values lie at q of the way from V_min, that at alpha 0,
to V_max: where the optimum is spread first, networks do not move yet. Batches are quartered,
halved, doubled and quadrupled, views doubled. Augmentation is no variable of the theory: its
neighbours in strength are tried, and so are weights of keep (`keeping`), which change no optimum.
What is predicted to collapse and keeps no reference is in the list and not trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import log2
from operator import itemgetter

import numpy as np
from scipy.optimize import brentq

from uncollapse.pilot.keeping import fits, keep_changes, keeps, kept
from uncollapse.records import (
    DIALS,
    Calibration,
    PredictedVariance,
    Prediction,
    Setting,
    SettingChange,
    Trial,
    changed_setting,
)
from uncollapse.theory import advise, expected_variances, forecast, predict
from uncollapse.training import Problem

SHARES = (0.1, 0.2, 0.35, 0.5)
BATCHES = (0.25, 0.5, 2, 4)
AUGMENTED = "theory does not know augmentation: the prediction is the start's"
STRENGTHS = ("none", "weak", "medium", "strong")
# Nearer than this to the present prediction (as a share of V_max), a value is no change.
_SAME = 0.05
_MANY_CLASSES = 200
# Temperatures that are looked at lie within this many doublings of the present one.
_OCTAVES = 3


def design(
    problem: Problem, calibration: Calibration | None = None, dials: Sequence[str] = DIALS
) -> list[Trial]:
    """The present setting first, then the candidates, the smallest changes first.

    Every candidate changes one thing, of these dials, as only single changes can be told apart by a
    small pilot.
    """
    setting, note = predictable(problem.setting(), _MANY_CLASSES)
    foretell, config = foreteller(calibration), problem.config
    start = trial_of("start", (), 0.0, foretell(setting), note)
    start = kept(start) if config.loss.keep else start

    def candidate(changes: tuple[SettingChange, ...], size: float, note: str = "") -> Trial:
        prediction = foretell(changed_setting(setting, changes))
        trial = trial_of(name_of(changes[0]), changes, size, prediction, note)
        return kept(trial) if keeps(config, changes) else trial

    tried = [*_alphas(setting, calibration), *_temperatures(setting, calibration)]
    tried += [*batch_changes(problem), *_views(setting, problem)]
    candidates = [candidate((change,), size) for change, size in tried]
    augmented = augmentation_changes(problem)
    candidates += [candidate((change,), size, AUGMENTED) for change, size in augmented]
    candidates += [candidate(*each) for each in keep_changes(problem)]
    wanted = [c for c in candidates if dial_of(c.change[0]) in dials]
    return [start, *_smallest_first(c for c in wanted if fits(config, c.change))]


def foreteller(calibration: Calibration | None) -> Callable[[Setting], Prediction]:
    """What predicts settings: theory, and with a calibration also what a network shows."""

    def foretell(setting: Setting) -> Prediction:
        prediction = predict(setting, thresholds=False)
        if calibration is None:
            return prediction
        network = forecast(calibration, setting, thresholds=False)
        return replace(prediction, network=network)

    return foretell


def trial_of(
    name: str,
    change: tuple[SettingChange, ...],
    size: float,
    prediction: Prediction,
    note: str = "",
) -> Trial:
    """A trial before any run; what is predicted to collapse has none, but for the start."""
    lost = bool(change) and "spread" not in prediction.phase_per_class
    network = prediction.network
    return Trial(
        name=name,
        change=change,
        size=size,
        prediction=PredictedVariance(
            prediction.phase,
            prediction.instance_variance,
            prediction.within_class_variance,
            None if network is None else network.within_class_variance,
        ),
        note=note,
        status="predicted-collapse" if lost else "waiting",
        reason="predicted to collapse" if lost else None,
    )


def predictable(setting: Setting, most: int) -> tuple[Setting, str]:
    """The setting, with equal classes where it has more unequal ones than `most`, and a note."""
    m = len(setting.counts)
    if setting.balanced or m <= most:
        return setting, ""
    even = max(2, round(setting.instances / m))
    note = f"predicted for {m} classes of equal size; theirs differ"
    return setting.with_(class_counts=None, classes=m, per_class=even), note


def dial_of(change: SettingChange) -> str:
    """The dial that a key belongs to."""
    part, _, name = change.key.rpartition(".")
    return "batch" if part == "batch" else "views" if name == "count" else name


def name_of(change: SettingChange) -> str:
    """Of a trial and its folder, such as "alpha-0.2"."""
    key, after = change.key, change.after
    shown = f"{after:g}" if isinstance(after, float) else str(after)
    short = "views" if key == "views.count" else key.split(".")[-1].replace("_", "-")
    return f"{short}-{shown}"


def _variances(settings: list[Setting], calibration: Calibration | None) -> list[float]:
    """V of settings: of the optimum, or of a network."""
    if calibration is not None:
        return [float(value) for value in expected_variances(calibration, settings)]
    return [predict(at, thresholds=False).instance_variance for at in settings]


def _targets(setting: Setting, calibration: Calibration | None) -> list[float]:
    """Useful variances that differ from the present one."""
    if setting.views == 1 and setting.self_pairs == "exclude":
        return []
    ends = [setting, setting.with_(alpha=1.0)]
    if calibration is not None:
        ends.append(setting.with_(alpha=0.0))
    now, top, *least = _variances(ends, calibration)
    low = least[0] if least else 0.0
    goals = (low + q * (top - low) for q in SHARES)
    return [goal for goal in goals if abs(goal - now) > _SAME * (top - low)]


def rounded(value: float) -> float:
    """Two significant digits: nobody writes 0.0187342 into a configuration."""
    return float(f"{value:.2g}")


def _smallest_first(candidates: Iterable[Trial]) -> list[Trial]:
    """Each once, without those that change nothing."""
    distinct = {trial.name: (trial.size, trial) for trial in candidates if trial.size}
    return [trial for _, trial in sorted(distinct.values(), key=itemgetter(0))]


def _alphas(
    setting: Setting, calibration: Calibration | None
) -> Iterator[tuple[SettingChange, float]]:
    lowest = setting.with_(alpha=0.0)
    for target in _targets(setting, calibration):
        found = advise(lowest, target_variance=target, levers=("alpha",), calibration=calibration)
        for advice in found:
            alpha = rounded(advice.value)
            yield SettingChange("loss.alpha", setting.alpha, alpha), abs(alpha - setting.alpha)


def _temperatures(
    setting: Setting, calibration: Calibration | None
) -> list[tuple[SettingChange, float]]:
    """The two nearest temperatures that reach a target variance above the present one."""
    steps = np.arange(-_OCTAVES, _OCTAVES + 0.25, 0.5)

    def at(step: float) -> Setting:
        return setting.with_(temperature=setting.temperature * 2.0**step)

    values = _variances([at(step) for step in steps], calibration)
    found: dict[float, tuple[SettingChange, float]] = {}
    for target in _targets(setting, calibration):
        if target <= values[len(steps) // 2]:
            continue
        # V(tau) is solved where it crosses a target between neighbours on a grid of half octaves.
        for (a, v), (b, w) in pairwise(zip(steps, values, strict=True)):
            if (v - target) * (w - target) < 0:
                step = brentq(
                    lambda x, goal=target: _variances([at(x)], calibration)[0] - goal,
                    a,
                    b,
                    xtol=0.02,
                )
                tau = rounded(setting.temperature * 2.0**step)
                size = abs(log2(tau / setting.temperature))
                if size:
                    change = SettingChange("loss.temperature", setting.temperature, tau)
                    found[tau] = change, size
    return sorted(found.values(), key=itemgetter(1))[:2]


def batch_changes(problem: Problem) -> Iterator[tuple[SettingChange, float]]:
    """Fewer or more instances of each class in a batch, by the factors of `BATCHES`; sizes."""
    batch, rows = problem.config.batch, len(problem.rows)
    counts = np.bincount(problem.data.labels[problem.rows].clip(min=0))
    for factor in BATCHES:
        if batch.per_class is not None:
            key, before = "batch.per_class", batch.per_class
            after = round(factor * before)
            drawn, fits = after * (batch.classes or len(counts)), 2 <= after <= counts.min()
        else:
            if batch.size == "full":
                continue
            key, before = "batch.size", batch.size or 256
            drawn = after = round(factor * before)
            fits = after >= 2 * len(counts)
        if not fits or drawn > rows // 2 or after != factor * before:
            continue
        yield SettingChange(key, before, after), abs(log2(factor))


def _views(setting: Setting, problem: Problem) -> Iterator[tuple[SettingChange, float]]:
    now = problem.config.views.count
    inputs = problem.data.inputs
    stored = inputs.shape[0] if inputs.kind == "views" else None
    after = 2 * now
    if after <= 8 and (stored is None or after <= stored):
        yield SettingChange("views.count", now, after), log2(after / now)


def augmentation_changes(problem: Problem) -> Iterator[tuple[SettingChange, float]]:
    """The neighbours in strength, of which theory says nothing; sizes."""
    now = problem.config.views.augmentation
    if not isinstance(now, str):
        return
    place = STRENGTHS.index(now)
    # Without augmentation the views of an instance are one point: nothing to learn from.
    least = 0 if problem.data.inputs.kind == "views" else 1
    for other in (place - 1, place + 1):
        if least <= other < len(STRENGTHS):
            yield SettingChange("views.augmentation", now, STRENGTHS[other]), 1.0
