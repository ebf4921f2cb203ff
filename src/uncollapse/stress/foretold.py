"""What theory says of a setting under a damage, and of the least change against it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uncollapse.errors import InputError
from uncollapse.records import (
    BalancedBatch,
    Calibration,
    Damage,
    Message,
    PredictedVariance,
    Prediction,
    RandomBatch,
    Remedy,
    Setting,
    SettingChange,
    StressDose,
)
from uncollapse.stress.data import Damaged
from uncollapse.theory import predict
from uncollapse.training import Problem, TrainConfig

# More unequal classes than this make a prediction slow.
MOST_UNEQUAL = 100
# Part of the undamaged setting's variance that a change has to win back.
ENOUGH = 0.9
_STEPS = 12  # of a bisection for alpha

_Said = dict[str, Any]


@dataclass(frozen=True)
class Foretold:
    """A setting under a damage, what theory is told of its labels, and what it says."""

    smallest: int  # code of the class with the fewest training rows
    note: str = ""  # why it says nothing
    setting: Setting | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    prediction: Prediction | None = None

    @property
    def variance(self) -> float | None:
        """Predicted between the instances of the smallest class."""
        return None if self.prediction is None else self.of(self.prediction)

    def of(self, prediction: Prediction) -> float:
        """The same of another prediction."""
        return float(prediction.instance_variance_per_class[self.smallest])

    @property
    def record(self) -> PredictedVariance | None:
        """In short."""
        p = self.prediction
        if p is None:
            return None
        network = None if p.network is None else p.network.within_class_variance
        return PredictedVariance(p.phase, p.instance_variance, p.within_class_variance, network)


def foretell(
    problem: Problem, found: Damaged, damage: Damage, calibration: Calibration | None
) -> Foretold:
    """What theory says of a problem whose data are damaged."""
    data = found.data
    train = data.rows("train")
    m, true, given = len(data.label_names), found.true[train], data.labels[train]
    counts = np.bincount(true[true >= 0], minlength=m)
    smallest = int(np.argmin(np.bincount(given[given >= 0], minlength=m)))
    try:
        setting = problem.setting().with_(class_counts=counts.tolist())
        if not setting.balanced and m > MOST_UNEQUAL:
            return Foretold(smallest, f"not predicted: {m} classes of unequal size")
        labels = _labels(damage, true, given, m)
        known: dict[str, Any] = {} if labels else {"calibration": calibration}
        prediction = predict(setting, thresholds=False, ranges=False, **labels, **known)
    except InputError as error:
        return Foretold(smallest, f"not predicted: expected {error}")
    return Foretold(smallest, "", setting, labels, prediction)


def _labels(damage: Damage, true: Any, given: Any, m: int) -> dict[str, Any]:
    """What theory is told of wrong labels: their rate where they are even, else how many."""
    if damage.kind != "label-noise":
        return {}
    if not damage.form:
        return {"label_noise": float(np.mean(true != given))}
    confusion = np.zeros((m, m))
    np.add.at(confusion, (true[true >= 0], given[true >= 0]), 1)
    return {"confusion": confusion.tolist()}


def remedy(dose: StressDose, clean: Foretold, under: Foretold, config: TrainConfig) -> Remedy:
    """The least change against a dose that breaks, as far as theory knows one."""
    kind = dose.damage.kind
    before, after = clean.variance, under.variance
    if kind in ("shift", "corrupt"):
        return Remedy.of(dose.name, Message(f"remedy.{kind}", {"damage": dose.name}))
    if kind not in ("imbalance", "label-noise", "rows", "classes"):
        return Remedy.of(dose.name, Message("remedy.back", {"damage": dose.name}))
    if before is None or after is None:
        return Remedy.of(dose.name, Message("remedy.unknown", {"damage": dose.name}))
    said: _Said = {"damage": dose.name, "before": before, "after": after}
    if after >= ENOUGH * before:
        return Remedy.of(dose.name, Message(f"remedy.{kind}", said))
    for change in (_class_aware, _alpha, _alpha_of_class):
        found = change(dose, under, config, ENOUGH * before, said)
        if found is not None:
            return found
    return Remedy.of(dose.name, Message("remedy.none", said))


def _class_aware(
    dose: StressDose, under: Foretold, config: TrainConfig, wanted: float, said: _Said
) -> Remedy | None:
    """Batches of as many rows of every class, where they are drawn whatever the class."""
    setting = under.setting
    if setting is None or not isinstance(setting.batch, RandomBatch):
        return None
    counts = setting.counts
    per_class = max(2, min(int(counts.min()), round(setting.batch.size / len(counts))))
    reached = _reached(under, lambda s: s.with_(batch=BalancedBatch(per_class)))
    if reached is None or reached < wanted:
        return None
    changes = (
        SettingChange("batch.sampler", config.batch.sampler, "class-aware"),
        SettingChange("batch.per_class", config.batch.per_class, per_class),
        SettingChange("batch.size", config.batch.size, None),
    )
    message = Message("remedy.batches", said | {"per_class": per_class, "reached": reached})
    return Remedy.of(dose.name, message, changes, reached)


def _alpha(
    dose: StressDose, under: Foretold, config: TrainConfig, wanted: float, said: _Said
) -> Remedy | None:
    """A larger alpha."""
    if under.setting is None:
        return None
    alpha = least_alpha(
        under.setting.alpha, wanted, lambda a: _reached(under, lambda s: s.with_(alpha=a))
    )
    if alpha is None:
        return None
    reached = _reached(under, lambda s: s.with_(alpha=alpha)) or 0.0
    change = SettingChange("loss.alpha", config.loss.alpha, alpha)
    message = Message("remedy.alpha", said | {"alpha": alpha, "reached": reached})
    return Remedy.of(dose.name, message, (change,), reached)


def _alpha_of_class(
    dose: StressDose, under: Foretold, config: TrainConfig, wanted: float, said: _Said
) -> Remedy | None:
    """A larger alpha of the smallest class alone, which a loop of one's own can give."""
    setting = under.setting
    if setting is None or under.labels:
        return None

    def reached(alpha: float) -> float | None:
        each = [setting.alpha] * len(setting.counts)
        each[under.smallest] = alpha
        try:
            return under.of(predict(setting, alpha_per_class=each, thresholds=False))
        except InputError:
            return None

    alpha = least_alpha(setting.alpha, wanted, reached)
    if alpha is None:
        return None
    values = {"alpha": alpha, "label": dose.smallest, "reached": reached(alpha) or 0.0}
    return Remedy.of(dose.name, Message("remedy.alpha-of-class", said | values))


def _reached(under: Foretold, change: Callable[[Setting], Setting]) -> float | None:
    """Variance of the smallest class after a change; None where theory refuses it."""
    assert under.setting is not None
    try:
        changed = predict(change(under.setting), thresholds=False, ranges=False, **under.labels)
    except InputError:
        return None
    return under.of(changed)


def least_alpha(
    low: float, wanted: float, reached: Callable[[float], float | None]
) -> float | None:
    """The least alpha, to two digits, at which a variance that rises with it is reached.

    Examples:
        >>> least_alpha(0.0, 0.3, lambda alpha: alpha / 2)
        0.6
    """
    at, high = reached(1.0), 1.0
    if at is None or at < wanted:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = reached(middle)
        low, high = (low, middle) if found is not None and found >= wanted else (middle, high)
    rounded = float(f"{high:.2g}")
    found = reached(rounded)
    if found is not None and found >= wanted:
        return rounded
    step = 10.0 ** (math.floor(math.log10(high)) - 1)
    return min(1.0, float(f"{rounded + step:.2g}"))
