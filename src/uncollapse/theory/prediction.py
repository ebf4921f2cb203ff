"""`predict`: what the loss will do, before training."""

from __future__ import annotations

from typing import Any

import numpy as np

from uncollapse.records import (
    BlockCosines,
    FullBatch,
    Phase,
    Prediction,
    RandomBatch,
    Setting,
    worst_phase,
)
from uncollapse.theory.balanced import balanced_optimum
from uncollapse.theory.program import Point, Program, log_denominators
from uncollapse.theory.solve import Solution, certified, simplex, solve
from uncollapse.theory.terms import is_sampled, program_of
from uncollapse.theory.thresholds import thresholds_of

__all__ = ["optimum", "predict"]

Array = np.ndarray[Any, np.dtype[np.float64]]

# Nearer to the threshold than this part of it, an optimiser hardly feels the phase.
EDGE = 0.02

# A fraction of the norm below this is zero: the solvers resolve it, the loss hardly does.
ZERO = 1e-6


def predict(setting: Setting, *, seed: int = 0, thresholds: bool = True) -> Prediction:
    """The global optimum of the SupCL loss: phase, variances, thresholds, and a proof.

    The loss is convex in the Gram matrix of the embeddings; its minimum over all embeddings on
    the unit sphere (dimension at least the number of instances minus one) is computed from a
    small convex program, see `uncollapse.theory.program`. No network, optimiser or augmentation
    enters: it is what training is pulled towards.

    Args:
        setting: Data, loss and batch.
        seed: Seed of the sampled batches, where a random batch of unequal classes has too many
            compositions to enumerate.
        thresholds: Whether to compute the thresholds; for unequal classes they take several
            times as long as the rest.

    Returns:
        A `Prediction`; `certificate_gap` bounds the distance of its loss to the global minimum.

    Raises:
        InputError: Where the setting cannot be evaluated.

    Example:
        >>> setting = Setting(classes=10, per_class=50, views=2, alpha=0.5, temperature=0.1)
        >>> prediction = predict(setting)
        >>> prediction.phase, round(prediction.within_class_variance, 4)
        ('spread', 0.4467)

    Reference: Lee et al., arXiv:2503.08203 (balanced classes, full batch); beyond it, see
    docs/theory.md.
    """
    program, solution = optimum(setting, seed=seed)
    notes = list(_notes(setting, program, solution))
    limits = thresholds_of(setting, program, solution, seed) if thresholds else None
    if limits is not None:
        notes += limits.notes
        if limits.alpha is not None and abs(setting.alpha - limits.alpha) < EDGE * limits.alpha:
            notes.append(
                f"alpha lies within {EDGE:.0%} of its threshold: there the loss is almost flat, "
                "and training may end on either side"
            )
    return _record(setting, program, solution, limits, tuple(notes))


def optimum(
    setting: Setting, *, seed: int = 0, near: Solution | None = None
) -> tuple[Program, Solution]:
    """The convex program of a setting and its solution.

    Args:
        setting: The problem.
        seed: Seed of sampled batches.
        near: The solution of a neighbouring setting, to begin there if its blocks are the same.
    """
    program = program_of(setting, seed)
    everyone = isinstance(setting.batch, FullBatch | RandomBatch)
    if setting.alpha == 1 and everyone:
        return program, simplex(program)
    random = isinstance(setting.batch, RandomBatch) and setting.batch.size < setting.instances
    if setting.balanced and not random:
        full = setting if not isinstance(setting.batch, RandomBatch) else _full(setting)
        best = balanced_optimum(full)
        view, instance = best.view_variance.reshape(1), best.instance_variance.reshape(1)
        return program, certified(
            program, Point(view, instance, 1 - view - instance, np.zeros((1, 1)))
        )
    if near is not None and len(near.point.view) != program.blocks:
        near = None
    return program, solve(program, near)


def _full(setting: Setting) -> Setting:
    return setting.with_(batch=FullBatch())


def _record(
    setting: Setting, program: Program, solution: Solution, limits: Any, notes: tuple[str, ...]
) -> Prediction:
    point, M = solution.point, program.multiplicity
    block = _block_of_class(setting, program)
    m = float(M.sum())
    view, instance = point.view, point.instance
    phases: list[Phase | None] = [
        _phase(v, i) if n > 1 else None
        for v, i, n in zip(view, instance, program.size, strict=True)
    ]
    between = float(M @ (1 - view - instance)) / m - float(M @ point.means @ M) / m**2
    return Prediction(
        phase=worst_phase(phases),
        phase_per_class=tuple(phases[g] for g in block),
        within_class_variance=float(M @ (view + instance)) / m,
        within_class_variance_per_class=tuple((view + instance)[block].tolist()),
        instance_variance=float(M @ instance) / m,
        instance_variance_per_class=tuple(instance[block].tolist()),
        view_variance=float(M @ view) / m,
        view_variance_per_class=tuple(view[block].tolist()),
        between_class_variance=max(0.0, between),
        loss=solution.loss,
        cosines=_cosines(program, point),
        alpha_threshold=limits.alpha if limits else None,
        temperature_threshold=limits.temperature if limits else None,
        view_splitting_threshold=limits.view_splitting if limits else None,
        certificate_gap=solution.gap,
        notes=notes,
    )


def _block_of_class(setting: Setting, program: Program) -> Any:
    if program.blocks == 1:
        return np.zeros(len(setting.counts), dtype=np.int64)
    return np.searchsorted(program.size, setting.counts)


def _phase(view: float, instance: float) -> Phase:
    if instance > ZERO:
        return "spread"
    return "view-splitting" if view > ZERO else "collapse"


def _cosines(program: Program, point: Point) -> BlockCosines:
    s, a, b = point.cosines(program)
    M, blocks = program.multiplicity, range(program.blocks)
    return BlockCosines(
        counts=tuple(int(n) for n in program.size),
        multiplicity=tuple(int(k) for k in M),
        s=tuple(float(v) if program.views > 1 else None for v in s),
        a=tuple(float(v) if n > 1 else None for v, n in zip(a, program.size, strict=True)),
        b=tuple(
            tuple(None if g == h and M[g] == 1 else float(b[g, h]) for h in blocks) for g in blocks
        ),
    )


def _notes(setting: Setting, program: Program, solution: Solution) -> list[str]:
    notes = []
    m, n = len(setting.counts), setting.instances
    d = setting.dimension
    if d is not None and d < m - 1:
        notes.append(
            f"dimension {d} is below classes - 1 = {m - 1}: the class means cannot form a simplex, "
            "so neither variances nor thresholds are exact"
        )
    elif d is not None and d < n - 1:
        notes.append(
            f"dimension {d} is below instances - 1 = {n - 1}: the variances are an upper guide, "
            + ("the thresholds still hold" if d >= m else "the thresholds hold from d = classes")
        )
    collapsed = (program.size > 1) & (solution.point.instance <= ZERO)
    several = program.size > 1
    if collapsed.any() and not collapsed[several].all():
        classes = int(program.multiplicity[collapsed].sum())
        sizes = program.size[collapsed]
        notes.append(
            f"{classes} of {m} classes are collapsed (sizes {sizes.min():.0f} to "
            f"{sizes.max():.0f}), the others spread"
        )
    if (program.size == 1).any():
        lone = int(program.multiplicity[program.size == 1].sum())
        notes.append(f"{lone} class(es) of one instance have nothing to collapse: no phase")
    if solution.gap > 1e-5:
        notes.append(f"not solved to the usual accuracy: certificate_gap is {solution.gap:.1e}")
    return notes + _batch_notes(setting, program, solution)


def _batch_notes(setting: Setting, program: Program, solution: Solution) -> list[str]:
    terms = program.terms
    notes = []
    missing = 1 - setting.alpha - terms.supervised.sum()
    dropped = setting.reduction == "pairs" or setting.anchors_without_positives == "drop"
    if dropped and setting.alpha < 1 and missing / (1 - setting.alpha) > 1e-6:
        notes.append(
            f"{missing / (1 - setting.alpha):.2%} of the batches hold no supervised positive pair; "
            "there L_sup counts as zero"
        )
    if terms.draw is not None and is_sampled(setting):
        batches = int(terms.draw.max()) + 1
        error = _sampling_error(program, solution.point, terms.draw, batches)
        notes.append(
            f"expectation over {batches} sampled batches; standard error of the loss {error:.1e}, "
            "certificate_gap is for the sampled expectation"
        )
    return notes


def _sampling_error(program: Program, point: Point, draw: Any, batches: int) -> float:
    s, a, _ = point.cosines(program)
    terms, p, tau = program.terms, program.views, program.temperature
    log_d = log_denominators(program, point)[0]
    q = (1 + (p - 1) * s) / p if program.include else s
    g = terms.block
    value = terms.weight * log_d - (terms.supervised * a[g] + terms.self_supervised * q[g]) / tau
    losses = np.bincount(draw, value, minlength=batches) * batches
    return float(losses.std(ddof=1) / np.sqrt(batches))
