"""The phase diagram of a setting: what theory predicts over alpha and tau, all else kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncollapse.records import BalancedBatch, Batch, Part, Phase, RandomBatch, Setting
from uncollapse.theory import alpha_threshold, balanced_optimum, predict

Floats = NDArray[np.float64]

# Columns and rows where a point costs nothing, and where each is solved.
FINE, COARSE = (48, 36), (14, 10)
# A solved diagram may take this long; else equal classes stand in.
SECONDS = 12.0
# Sizes that differ by less than this factor are drawn as equal.
NEARLY_EQUAL = 1.1
# alpha is shown on the scale alpha ** EXPONENT, as thresholds are small.
EXPONENT = 0.4
COLLAPSED = 1e-9

Drawn = Literal["exact", "equal-classes"]


@dataclass(frozen=True)
class Cell(Part):
    """One cell of the diagram: its middle and its edges, and what is predicted there."""

    alpha: float
    alpha0: float
    alpha1: float
    tau: float
    tau0: float
    tau1: float
    phase: Phase
    variance: float


@dataclass(frozen=True)
class PhaseDiagram(Part):
    """Predicted phases and variances over alpha and tau.

    Attributes:
        drawn: "exact", or "equal-classes" where classes of one size (the mean) stand in.
        per_class: The mean size.
        cells: Row by row.
        threshold: Pairs (tau, alpha) below which the classes are collapsed; empty where unknown.
    """

    drawn: Drawn
    classes: int
    per_class: float
    views: int
    batch: Batch
    cells: tuple[Cell, ...]
    threshold: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Mark(Part):
    """Where something stands in the diagram: "before", "after" or "recommended".

    The variance is that between instances as it is predicted there; None where it is not known.
    """

    name: str
    role: str
    alpha: float
    tau: float
    variance: float | None


class _Grid(NamedTuple):
    """Edges of the cells, and what is predicted in each, (tau, alpha)."""

    alpha: Floats
    tau: Floats
    phase: NDArray[np.str_]
    variance: Floats


_Threshold = tuple[tuple[float, float], ...]


def phase_diagram(setting: Setting, taus: list[float]) -> PhaseDiagram | None:
    """The diagram around a setting, in which certain temperatures must lie.

    None where even equal classes would take long.
    """
    drawn: Drawn = "exact"
    counts = setting.counts
    if not setting.balanced:
        if counts.max() > NEARLY_EQUAL * counts.min() and (solved := _solved(setting, taus)):
            return _diagram(setting, drawn, solved)
        setting, drawn = _equal(setting), "equal-classes"
    if isinstance(setting.batch, RandomBatch):
        solved = _solved(setting, taus)
        return None if solved is None else _diagram(setting, drawn, solved)
    alpha, tau = _edges(FINE, taus)
    a, t = _centres(alpha, tau)
    optimum = balanced_optimum(setting, alpha=a[None, :], temperature=t[:, None])
    phase = np.where(optimum.instance_variance > COLLAPSED, "spread", "collapse")
    phase = np.where(optimum.view_variance > COLLAPSED, "view-splitting", phase)
    grid = _Grid(alpha, tau, phase, optimum.instance_variance)
    return _diagram(setting, drawn, grid, _threshold(setting, tau))


def _threshold(setting: Setting, tau: Floats) -> _Threshold:
    """Pairs (tau, alpha) of the threshold, from edge to edge."""
    lines = np.geomspace(tau[0], tau[-1], 60)
    limits = np.asarray(alpha_threshold(setting, temperature=lines), dtype=float)
    kept = np.isfinite(limits) & (limits >= 0) & (limits <= 1)
    places = [[_rounded(x, 4) for x in part[kept]] for part in (lines, limits)]
    return tuple(zip(*places, strict=True))


def _rounded(value: Any, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _equal(setting: Setting) -> Setting:
    """As many classes, all of the mean size."""
    mean = max(2, round(float(setting.counts.mean())))
    batch = setting.batch
    if isinstance(batch, BalancedBatch) and batch.per_class > mean:
        batch = BalancedBatch(mean, batch.classes)
    classes = len(setting.counts)
    return setting.with_(class_counts=None, classes=classes, per_class=mean, batch=batch)


def _edges(size: tuple[int, int], taus: list[float]) -> tuple[Floats, Floats]:
    """Edges of the cells in alpha and in tau."""
    alpha = np.linspace(0, 1, size[0] + 1) ** (1 / EXPONENT)
    low, high = min([0.02, *(tau / 1.5 for tau in taus)]), max([1.0, *(tau * 1.5 for tau in taus)])
    return alpha, np.geomspace(max(low, 1e-3), min(high, 1e3), size[1] + 1)


def _centres(alpha: Floats, tau: Floats) -> tuple[Floats, Floats]:
    middle = (alpha[:-1] ** EXPONENT + alpha[1:] ** EXPONENT) / 2
    return middle ** (1 / EXPONENT), np.sqrt(tau[:-1] * tau[1:])


def _solved(setting: Setting, taus: list[float]) -> _Grid | None:
    """Every cell by `predict`; None where that would take too long."""
    alpha, tau = _edges(COARSE, taus)
    a, t = _centres(alpha, tau)
    variance = np.zeros((len(t), len(a)))
    phase = np.empty((len(t), len(a)), dtype="<U14")
    began = time.monotonic()
    for done, (row, column) in enumerate(np.ndindex(variance.shape), 1):
        at = setting.with_(alpha=float(a[column]), temperature=float(t[row]))
        optimum = predict(at, thresholds=False)
        variance[row, column], phase[row, column] = optimum.instance_variance, optimum.phase
        if done >= 4 and (time.monotonic() - began) / done * variance.size > SECONDS:
            return None
    return _Grid(alpha, tau, phase, variance)


def _diagram(
    setting: Setting, drawn: Drawn, grid: _Grid, threshold: _Threshold = ()
) -> PhaseDiagram:
    a, t = _centres(grid.alpha, grid.tau)
    phases: Any = grid.phase.tolist()
    cells = []
    for row, column in np.ndindex(grid.variance.shape):
        cell = Cell(
            alpha=_rounded(a[column], 3),
            alpha0=_rounded(grid.alpha[column], 4),
            alpha1=_rounded(grid.alpha[column + 1], 4),
            tau=_rounded(t[row], 3),
            tau0=_rounded(grid.tau[row], 4),
            tau1=_rounded(grid.tau[row + 1], 4),
            phase=phases[row][column],
            variance=_rounded(grid.variance[row, column], 3),
        )
        cells.append(cell)
    counts, batch = setting.counts, setting.batch
    size = float(counts.mean())
    return PhaseDiagram(drawn, len(counts), size, setting.views, batch, tuple(cells), threshold)
