"""Single changes of a setting: what may be changed, and by how much it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Literal, get_args

from uncollapse.records import BalancedBatch, Prediction, RandomBatch, Setting

Lever = Literal["alpha", "temperature", "batch_per_class", "batch_classes", "views"]

LEVERS: tuple[Lever, ...] = get_args(Lever)
MOST_VIEWS = 16


@dataclass(frozen=True)
class Advice:
    """One single change of a setting and what it is predicted to do.

    Attributes:
        lever: What is changed: "alpha", "temperature", "batch_per_class" (more instances of a
            class in a batch, which grows; for random batches on average), "batch_classes" (fewer
            classes in a batch of the same size, so more instances of each) or "views".
        value: The new value (alpha, tau, n_b, k or p).
        before: The old value.
        size: How small the change is: |difference| for alpha, |log2 of the ratio| for the others
            (of the instances per class in a batch for both batch levers), so that doubling or
            halving is 1 and moving all weight between the losses is 1.
        setting: The changed setting.
        prediction: Its prediction, without thresholds; with a calibration also of a network.
    """

    lever: Lever
    value: float
    before: float
    size: float
    setting: Setting
    prediction: Prediction


def value_of(lever: Lever, setting: Setting) -> float:
    """What a lever stands at; instances of a class in a batch are an average over classes."""
    batch, m = setting.batch, len(setting.counts)
    if lever == "batch_classes":
        return float((batch.classes if isinstance(batch, BalancedBatch) else None) or m)
    if lever != "batch_per_class":
        return float(getattr(setting, lever))
    if isinstance(batch, BalancedBatch):
        return float(batch.per_class)
    return (batch.size if isinstance(batch, RandomBatch) else setting.instances) / m


def size_of(lever: Lever, before: Setting, after: Setting) -> float:
    if lever == "alpha":
        return abs(after.alpha - before.alpha)
    measured: Lever = "batch_per_class" if lever == "batch_classes" else lever
    return abs(log2(value_of(measured, after) / value_of(measured, before)))


def fewer_classes(setting: Setting) -> list[Setting]:
    """Fewer classes in a batch of the same size, the most first; none of a full batch."""
    batch, m, most = setting.batch, len(setting.counts), int(setting.counts.min())
    if isinstance(batch, BalancedBatch):
        k = batch.classes or m
        size = k * batch.per_class
    elif isinstance(batch, RandomBatch):
        k, size = m + 1, batch.size
    else:
        return []
    fewer = (c for c in range(min(k - 1, m), 1, -1) if 2 <= size // c <= most)
    batches = (BalancedBatch(size // c, c if c < m else None) for c in fewer)
    return [setting.with_(batch=batch) for batch in batches]
