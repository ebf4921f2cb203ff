"""`predict`: what the loss will do, before training."""

from __future__ import annotations

import numpy as np

from uncollapse.records import (
    BlockCosines,
    Calibration,
    Prediction,
    Setting,
    phases_of,
    worst_phase,
)
from uncollapse.theory._program import Array, IntArray, softmax
from uncollapse.theory._solve import Solution, optimum
from uncollapse.theory._terms import plain_batch
from uncollapse.theory._thresholds import Thresholds, thresholds_of
from uncollapse.theory.calibration import forecast

# Nearer to the threshold than this part of it, an optimiser hardly feels the phase.
EDGE = 0.02
# A fraction of the norm below this is zero: the solvers resolve it, the loss hardly does.
ZERO = 1e-6


def predict(
    setting: Setting,
    *,
    seed: int = 0,
    thresholds: bool = True,
    calibration: Calibration | None = None,
) -> Prediction:
    """The global optimum of the SupCL loss: phase, variances, thresholds, and a proof.

    The loss is convex in the Gram matrix of the embeddings; its minimum over all embeddings on
    the unit sphere (dimension at least the number of instances minus one) is computed from a
    small convex program. No network, optimiser or augmentation enters: it is what training is
    pulled towards.

    Args:
        setting: Data, loss and batch.
        seed: Seed of the sampled batches, where a random batch of unequal classes has too many
            compositions to enumerate.
        thresholds: Whether to compute the thresholds; for unequal classes they take several
            times as long as the rest.
        calibration: Of networks (`calibrate`), to say beside the optimum what one like those shows.

    Returns:
        A `Prediction`; `certificate_gap` bounds the distance of its loss to the global minimum.

    Raises:
        InputError: Where the setting cannot be evaluated.

    Examples:
        >>> setting = Setting(classes=10, per_class=50, views=2, alpha=0.5, temperature=0.1)
        >>> prediction = predict(setting)
        >>> prediction.phase, round(prediction.within_class_variance, 4)
        ('spread', 0.4467)

    Reference: Lee et al., arXiv:2503.08203 (balanced classes, full batch); beyond it, see
    docs/theory.md.
    """
    network = None
    if calibration is not None:
        network = forecast(calibration, setting, seed=seed, thresholds=thresholds)
    setting = plain_batch(setting)
    solution = optimum(setting, seed=seed)
    limits = thresholds_of(setting, solution, seed) if thresholds else Thresholds()
    notes = [*_notes(setting, solution), *limits.notes]
    if limits.alpha is not None and abs(setting.alpha - limits.alpha) < EDGE * limits.alpha:
        notes.append(
            f"alpha lies within {EDGE:.0%} of its threshold: there the loss is almost flat, "
            "and training may end on either side"
        )
    program, means = solution.program, solution.point.means
    M, (view, instance, _) = program.multiplicity, solution.point.fractions
    within, m = view + instance, float(M.sum())
    block = np.searchsorted(program.size, setting.counts)
    phases = phases_of(instance, view, program.size, ZERO)
    between = float(M @ (1 - view - instance)) / m - float(M @ means @ M) / m**2
    return Prediction(
        phase=worst_phase(phases),
        phase_per_class=tuple(phases[g] for g in block),
        within_class_variance=float(M @ within) / m,
        within_class_variance_per_class=tuple(within[block].tolist()),
        instance_variance=float(M @ instance) / m,
        instance_variance_per_class=tuple(instance[block].tolist()),
        view_variance=float(M @ view) / m,
        view_variance_per_class=tuple(view[block].tolist()),
        between_class_variance=max(0.0, between),
        loss=solution.loss,
        cosines=_cosines(solution),
        alpha_threshold=limits.alpha,
        temperature_threshold=limits.temperature,
        view_splitting_threshold=limits.view_splitting,
        certificate_gap=solution.gap,
        notes=tuple(notes),
        network=network,
    )


def _cosines(solution: Solution) -> BlockCosines:
    program = solution.program
    s, a, b = solution.point.cosines(program)
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


def _notes(setting: Setting, solution: Solution) -> list[str]:
    notes = []
    m, n, d = len(setting.counts), setting.instances, setting.dimension
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
    program, (_, instance, _) = solution.program, solution.point.fractions
    several = program.size > 1
    collapsed = several & (instance <= ZERO)
    if collapsed.any() and not collapsed[several].all():
        classes = int(program.multiplicity[collapsed].sum())
        sizes = program.size[collapsed]
        notes.append(
            f"{classes} of {m} classes are collapsed (sizes {sizes.min():.0f} to "
            f"{sizes.max():.0f}), the others spread"
        )
    if not several.all():
        lone = int(program.multiplicity[~several].sum())
        notes.append(f"{lone} class(es) of one instance have nothing to collapse: no phase")
    if solution.gap > 1e-5:
        notes.append(f"not solved to the usual accuracy: certificate_gap is {solution.gap:.1e}")
    missing = 1 - setting.alpha - program.terms.supervised.sum()
    dropped = setting.reduction == "pairs" or setting.anchors_without_positives == "drop"
    if dropped and setting.alpha < 1 and missing / (1 - setting.alpha) > 1e-6:
        notes.append(
            f"{missing / (1 - setting.alpha):.2%} of the batches hold no supervised positive pair; "
            "there L_sup counts as zero"
        )
    if program.terms.draw is not None:
        losses = _batch_losses(solution, program.terms.draw)
        error = float(losses.std(ddof=1) / np.sqrt(len(losses)))
        notes.append(
            f"expectation over {len(losses)} sampled batches; standard error of the loss "
            f"{error:.1e}, certificate_gap is for the sampled expectation"
        )
    return notes


def _batch_losses(solution: Solution, draw: IntArray) -> Array:
    program, terms = solution.program, solution.program.terms
    s, a, _ = solution.point.cosines(program)
    pull = terms.supervised * a[terms.block]
    pull += terms.self_supervised * program.self_cosine(s)[terms.block]
    value = terms.weight * softmax(program, solution.point)[0] - pull / program.temperature
    batches = int(draw.max()) + 1
    return np.bincount(draw, value, minlength=batches).astype(np.float64) * batches
