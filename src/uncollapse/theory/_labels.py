"""What the loss is told of classes: wrong labels, and an alpha by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uncollapse.errors import InputError
from uncollapse.records import BlockCosines, Setting
from uncollapse.theory._program import Array
from uncollapse.theory._terms import plain_batch

# Beyond this a program of classes that differ takes minutes.
MANY_CLASSES = 200


@dataclass(frozen=True)
class Labels:
    """What the loss is told of classes."""

    alpha: Array  # by given label, (m,), or (1,) where all are the same
    rate: float = 0.0  # of wrong labels, even over the other classes
    confusion: Array | None = None  # Q by true and given class, (m, m), instead of a rate

    def matrix(self, classes: int) -> Array:
        """Q, (m, m)."""
        if self.confusion is not None:
            return self.confusion
        even = np.full((classes, classes), self.rate / (classes - 1))
        np.fill_diagonal(even, 1 - self.rate)
        return even

    @property
    def wrong(self) -> bool:
        """Whether any label is."""
        return self.confusion is not None or self.rate > 0


def read_labels(
    setting: Setting,
    rate: float,
    confusion: Sequence[Sequence[float]] | None,
    alpha: Sequence[float] | None,
) -> tuple[Setting, Labels]:
    """The setting, its alpha the mean of those by class, and what the loss is told."""
    setting = plain_batch(setting)
    m = len(setting.counts)
    if confusion is not None and rate != 0:
        raise InputError("either a rate of wrong labels or a confusion matrix", "both", "give one")
    if not 0 <= rate < 1:
        raise InputError(
            "a share of wrong labels from 0 to below 1", f"{rate!r}", "give it as a fraction: 0.1"
        )
    each = np.array([setting.alpha])
    if alpha is not None:
        each = _numbers(alpha, (m,), f"alpha for each of the {m} classes, from 0 to 1")
        if each.max() > 1:
            wanted = f"alpha for each of the {m} classes, from 0 to 1"
            raise InputError(wanted, f"{each.max():g}", "give the weight as a fraction")
        setting = setting.with_(alpha=float(each.mean()))
        each = each if (each != each[0]).any() else each[:1]
    Q = None
    if confusion is not None:
        wanted = f"a confusion matrix of {m} rows (true classes) by {m} columns (labels), from 0"
        Q = _numbers(confusion, (m, m), wanted)
        if not Q.sum(1).all():
            raise InputError(
                "labels of every true class", "a row of zeros", "leave that class out, or count it"
            )
        Q = Q / Q.sum(1, keepdims=True)
        if not Q.sum(0).all():
            raise InputError(
                "instances of every label", "a column of zeros", "leave out that class of labels"
            )
        Q = None if np.array_equal(Q, np.eye(m)) else Q
    many = Q is not None or len(each) > 1 or (rate > 0 and not setting.balanced)
    if many and m > MANY_CLASSES:
        raise InputError(
            f"at most {MANY_CLASSES} classes with labels or alphas that differ among them",
            f"{m} classes",
            "take classes of equal size with a rate of wrong labels, or fewer classes",
        )
    return setting, Labels(each, float(rate), Q)


def _numbers(values: Any, shape: tuple[int, ...], wanted: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full(1, np.nan)
    if array.shape != shape or not np.isfinite(array).all() or array.min() < 0:
        found = f"numbers of shape {array.shape}" if array.shape != shape else "other numbers"
        raise InputError(wanted, found, "give them in the order of the class counts")
    return array


def within_true_classes(
    setting: Setting, labels: Labels, cosines: BlockCosines
) -> tuple[float, float]:
    """Of an optimum of labels: the within-class variance by true class, and their pairs' share.

    The mean over pairs of two instances of a true class, whose labels agree or do not:
    1 - [q/n + (1 - 1/n) sum_jk Q_cj Q_ck C_jk], q the mean over the views of one, C_jj = a_j.
    """
    counts, m, p = setting.counts.astype(float), len(setting.counts), setting.views
    parts = (np.array(part, dtype=np.float64) for part in (cosines.s, cosines.a, cosines.b))
    s, a, b = (np.nan_to_num(part, nan=1.0) for part in parts)
    if labels.confusion is None and setting.balanced:
        right, wrong = 1 - labels.rate, labels.rate / (m - 1)
        same = right**2 + (m - 1) * wrong**2
        pair, q = same * a[0] + (1 - same) * b[0, 0], (1 + (p - 1) * s[0]) / p
        return float(1 - q / counts[0] - (1 - 1 / counts[0]) * pair), same
    Q = labels.matrix(m)
    given = np.maximum(1, np.round(counts @ Q)).astype(int)
    known = cosines.block
    block = np.asarray(np.searchsorted(cosines.counts, given) if known is None else known)
    C = b[np.ix_(block, block)]
    np.fill_diagonal(C, a[block])
    pair = ((Q @ C) * Q).sum(1)
    q = (Q @ (1 + (p - 1) * s[block])) / p
    joint = counts[:, None] * Q
    same = float(((joint / joint.sum(0)) ** 2).sum(0) @ joint.sum(0) / counts.sum())
    return float((1 - q / counts - (1 - 1 / counts) * pair).mean()), same
