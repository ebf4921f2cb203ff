"""The share without one direction: a single dimension may fool a share, both ways.

On instances (views averaged), with every class weighing the same, S_w the mean covariance inside
classes, S_b that of the class means, S = S_w + S_b, and u removed from all rows,

    share = tr S_w / tr S           without = (tr S_w - u' S_w u) / (tr S - u' S u)

for the u of most total variance (the first eigenvector of S), and for that of most variance inside
classes (of S_w). Each part is unbiased for a fixed u; u itself is that of the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uncollapse.metrics.features import SQUARE, Floats
from uncollapse.metrics.moments import ClassMoments
from uncollapse.records import FirstDirection, number

# Classes that the direction is found from, evenly spaced.
_MOST_CLASSES = 100
# Dimensions up to which the matrix is made; above it, steps of the power method: a direction that
# makes the share stands out, and among several alike any will do.
_DENSE, _STEPS = 256, 20
# A total variance, or a part of one, that is rounding.
_ROUNDING = 1e-12


class _Parts(NamedTuple):
    """Variance within classes, between them, and both."""

    within: float
    between: float

    @property
    def total(self) -> float:
        """Within plus between."""
        return self.within + self.between


def first_direction(classes: Sequence[ClassMoments]) -> FirstDirection | None:
    """Share with and without the first directions; None where nothing is left beside them."""
    means = np.stack([moments.mean for moments in classes])
    whole = _parts(classes, np.array([_trace(moments) for moments in classes]), means)
    chosen = classes[:: -(-len(classes) // _MOST_CLASSES)]
    along = [_along(classes, means, _first(chosen, between)) for between in (True, False)]
    left = [whole.total - part.total for part in along]
    if not whole.total > _ROUNDING or not min(left) > _ROUNDING * whole.total:
        return None
    without = [(whole.within - part.within) / rest for part, rest in zip(along, left, strict=True)]
    return FirstDirection(
        of_total=number(along[0].total / whole.total),
        share=number(whole.within / whole.total),
        without=number(without[0]),
        without_inside=number(without[1]),
    )


def _along(classes: Sequence[ClassMoments], means: Floats, u: Floats) -> _Parts:
    spread = np.array([float(moments.along(u[None])[0]) for moments in classes])
    return _parts(classes, spread, means @ u[:, None])


def _parts(classes: Sequence[ClassMoments], spread: Floats, means: Floats) -> _Parts:
    """Variance within classes and, less its sampling noise, between their (C, k) means."""
    counts = np.array([moments.instances for moments in classes])
    noise = (1 - 1 / len(classes)) * float(np.mean(spread / counts))
    return _Parts(float(spread.mean()), float(np.sum(np.var(means, axis=0))) - noise)


def _trace(moments: ClassMoments) -> float:
    """Trace of the covariance of the instances."""
    mean = moments.mean
    return float(moments.totals[SQUARE] - moments.units * (mean @ mean)) / (moments.units - 1)


def _first(classes: Sequence[ClassMoments], between: bool) -> Floats:
    """The direction of most variance of some classes: total, or inside them alone."""
    means = np.stack([moments.mean for moments in classes])
    d = classes[0].dimension
    rows = [(means - means.mean(axis=0)) / np.sqrt(len(classes))] if between else []
    scatter = np.zeros((d, d)) if any(m.rows is None for m in classes) else None
    for moments in classes:
        weight = 1 / (len(classes) * (moments.units - 1))
        if moments.rows is not None:
            rows.append((moments.rows[:, :d] - moments.mean) * np.sqrt(weight))
        elif scatter is not None and moments.scatter is not None:
            scatter += weight * moments.scatter[:d, :d]
    together = np.concatenate(rows) if rows else np.zeros((0, d))

    if d <= _DENSE:
        matrix = together.T @ together + (0 if scatter is None else scatter)
        return np.asarray(np.linalg.eigh(matrix)[1][:, -1])
    v = np.random.default_rng(0).standard_normal(d)
    for _ in range(_STEPS):
        found = together.T @ (together @ v)
        found = found if scatter is None else found + scatter @ v
        v = found / max(float(np.linalg.norm(found)), _ROUNDING**2)
    return np.asarray(v)
