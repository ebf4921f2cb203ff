"""The phase diagram of a setting: what theory predicts over alpha and tau, all else kept."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from uncollapse.records import BalancedBatch, RandomBatch
from uncollapse.theory import (
    Setting,
    alpha_threshold,
    balanced_optimum,
    predict,
)

__all__ = ["Mark", "PhaseDiagram", "phase_diagram"]

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
class PhaseDiagram:
    """Predicted phases and variances over alpha and tau.

    Attributes:
        drawn: "exact", or "equal-classes" where classes of one size (the mean) stand in.
        classes, per_class, views: Of what was drawn; per_class is the mean size.
        batch: In words of the record: kind and numbers.
        cells: One entry per cell: alpha and its edges, tau and its edges, phase, variance.
        threshold: Pairs (tau, alpha) below which the classes are collapsed; empty where unknown.
    """

    drawn: Drawn
    classes: int
    per_class: float
    views: int
    batch: dict[str, Any]
    cells: tuple[dict[str, Any], ...]
    threshold: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Mark:
    """Where something stands in the diagram.

    Attributes:
        name: For the reader.
        role: "before", "after" or "recommended".
        alpha, tau: Where.
        variance: The predicted instance variance there; None where it is not known.
    """

    name: str
    role: str
    alpha: float
    tau: float
    variance: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dict(vars(self))


def phase_diagram(setting: Setting, taus: list[float]) -> PhaseDiagram | None:
    """The diagram around a setting; None where even equal classes would take long.

    Args:
        setting: The run's; alpha and temperature are varied.
        taus: Temperatures that must be inside the diagram.
    """
    drawn: Drawn = "exact"
    counts = setting.counts
    if not setting.balanced:
        if counts.max() > NEARLY_EQUAL * counts.min() and (found := _solved(setting, taus)):
            return _diagram(setting, "exact", *found, threshold=())
        setting, drawn = _equal(setting), "equal-classes"
    if isinstance(setting.batch, RandomBatch):
        solved = _solved(setting, taus)
        return None if solved is None else _diagram(setting, drawn, *solved, threshold=())
    alpha, tau = _edges(FINE, taus)
    a, t = _centres(alpha, tau)
    grid = balanced_optimum(setting, alpha=a[None, :], temperature=t[:, None])
    variance, view = grid.instance_variance, grid.view_variance
    phase = np.where(variance > COLLAPSED, "spread", "collapse")
    phase = np.where(view > COLLAPSED, "view-splitting", phase)
    lines = np.geomspace(tau[0], tau[-1], 60)
    limits = np.asarray(alpha_threshold(setting, temperature=lines), dtype=float)
    kept = np.isfinite(limits) & (limits >= 0) & (limits <= 1)
    threshold = tuple(
        (float(f"{x:.4g}"), float(f"{y:.4g}"))
        for x, y in zip(lines[kept], limits[kept], strict=True)
    )
    return _diagram(setting, drawn, alpha, tau, phase, variance, threshold=threshold)


def _equal(setting: Setting) -> Setting:
    """As many classes, all of the mean size."""
    mean = max(2, round(float(setting.counts.mean())))
    batch = setting.batch
    if isinstance(batch, BalancedBatch) and batch.per_class > mean:
        batch = BalancedBatch(mean, batch.classes)
    return setting.with_(
        class_counts=None, classes=len(setting.counts), per_class=mean, batch=batch
    )


def _edges(size: tuple[int, int], taus: list[float]) -> tuple[Any, Any]:
    """Edges of the cells in alpha and in tau."""
    alpha = np.linspace(0, 1, size[0] + 1) ** (1 / EXPONENT)
    low, high = min([0.02, *(tau / 1.5 for tau in taus)]), max([1.0, *(tau * 1.5 for tau in taus)])
    return alpha, np.geomspace(max(low, 1e-3), min(high, 1e3), size[1] + 1)


def _centres(alpha: Any, tau: Any) -> tuple[Any, Any]:
    middle = (alpha[:-1] ** EXPONENT + alpha[1:] ** EXPONENT) / 2
    return middle ** (1 / EXPONENT), np.sqrt(tau[:-1] * tau[1:])


def _solved(setting: Setting, taus: list[float]) -> tuple[Any, Any, Any, Any] | None:
    """Every cell by `predict`; None where that would take too long."""
    alpha, tau = _edges(COARSE, taus)
    a, t = _centres(alpha, tau)
    variance = np.zeros((len(t), len(a)))
    phase = np.empty((len(t), len(a)), dtype="<U14")
    began, done = time.monotonic(), 0
    for row, temperature in enumerate(t):
        for column, weight in enumerate(a):
            at = setting.with_(alpha=float(weight), temperature=float(temperature))
            found = predict(at, thresholds=False)
            variance[row, column], phase[row, column] = found.instance_variance, found.phase
            done += 1
            spent = time.monotonic() - began
            if done >= 4 and spent / done * variance.size > SECONDS:
                return None
    return alpha, tau, phase, variance


def _diagram(
    setting: Setting,
    drawn: Drawn,
    alpha: Any,
    tau: Any,
    phase: Any,
    variance: Any,
    *,
    threshold: tuple[tuple[float, float], ...],
) -> PhaseDiagram:
    a, t = _centres(alpha, tau)
    cells = tuple(
        {
            "alpha": float(f"{a[column]:.3g}"),
            "alpha0": float(f"{alpha[column]:.4g}"),
            "alpha1": float(f"{alpha[column + 1]:.4g}"),
            "tau": float(f"{t[row]:.3g}"),
            "tau0": float(f"{tau[row]:.4g}"),
            "tau1": float(f"{tau[row + 1]:.4g}"),
            "phase": str(phase[row, column]),
            "variance": float(f"{variance[row, column]:.3g}"),
        }
        for row in range(len(t))
        for column in range(len(a))
    )
    batch = setting.batch
    counts = setting.counts
    return PhaseDiagram(
        drawn,
        len(counts),
        float(counts.mean()),
        setting.views,
        batch.to_dict(),
        cells,
        threshold,
    )
