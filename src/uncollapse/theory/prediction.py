"""`predict`: what the loss will do, before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uncollapse.errors import InputError
from uncollapse.records import (
    BlockCosines,
    Calibration,
    LabelNoise,
    Prediction,
    Setting,
    phases_of,
    worst_phase,
)
from uncollapse.theory._label_terms import Labelled, labelled_program
from uncollapse.theory._labels import Labels, read_labels, within_true_classes
from uncollapse.theory._program import Array, IntArray, softmax
from uncollapse.theory._ranges import feasible, ranges_of
from uncollapse.theory._solve import Solution, optimum, solve
from uncollapse.theory._thresholds import Thresholds, thresholds_of, thresholds_with_labels
from uncollapse.theory.calibration import forecast

# Nearer to the threshold than this part of it, an optimiser hardly feels the phase.
EDGE = 0.02
# A fraction of the norm below this is zero: the solvers resolve it, the loss hardly does.
ZERO = 1e-6


def predict(
    setting: Setting,
    *,
    label_noise: float = 0.0,
    confusion: Sequence[Sequence[float]] | None = None,
    noise_learned: bool = False,
    alpha_per_class: Sequence[float] | None = None,
    seed: int = 0,
    thresholds: bool = True,
    ranges: bool | None = None,
    calibration: Calibration | None = None,
) -> Prediction:
    """The global optimum of the SupCL loss: phase, variances, thresholds, and a proof.

    The loss is convex in the Gram matrix of the embeddings; its minimum over all embeddings on
    the unit sphere (dimension at least the number of instances minus one) is computed from a
    small convex program. No network, optimiser or augmentation enters: it is what training is
    pulled towards.

    Args:
        setting: Data, loss and batch; the class counts are those of the true classes.
        label_noise: Share of labels that are wrong, from 0 to below 1, even over the other classes
            and independent from instance to instance.
        confusion: Instead of it: how many (or what share of the) instances of each true class
            carry each label, (m, m), rows true classes.
        noise_learned: False: the embeddings depend on true classes only, as those of an encoder
            that cannot know which labels are wrong. True: it has learnt the labels by heart; then
            the classes of the prediction are those of the labels.
        alpha_per_class: Alpha of the anchors of each label, (m,), instead of `setting.alpha`.
        seed: Seed of the sampled batches and labels, where there are too many to enumerate.
        thresholds: Whether to compute the thresholds; for unequal classes they take several times
            as long as the rest.
        ranges: Whether to compute the ranges of the variances, a tenth of a second or more; as
            `thresholds` where left out.
        calibration: Of networks (`calibrate`), to say beside the optimum what one like those
            shows; not together with wrong labels or alphas by class.

    Returns:
        A `Prediction`; `certificate_gap` bounds the distance of its loss to the global minimum.

    Raises:
        InputError: Where the setting cannot be evaluated.

    Examples:
        >>> setting = Setting(classes=10, per_class=50, views=2, alpha=0.5, temperature=0.1)
        >>> prediction = predict(setting)
        >>> prediction.phase, round(prediction.within_class_variance, 4)
        ('spread', 0.4467)
        >>> prediction.within_class_variance_range.high > 0.447  # the loss hardly feels it
        True
        >>> noisy = predict(setting, label_noise=0.1)  # classes move together
        >>> round(prediction.between_class_variance, 2), round(noisy.between_class_variance, 2)
        (0.55, 0.34)

    Reference: Lee et al., arXiv:2503.08203 (balanced classes, full batch); beyond it, see
    docs/theory.md.
    """
    setting, labels = read_labels(setting, label_noise, confusion, alpha_per_class)
    network = None
    if calibration is not None:
        _check_calibrated(labels)
        network = forecast(calibration, setting, seed=seed, thresholds=thresholds)
    ranges = thresholds if ranges is None else ranges
    if noise_learned and labels.wrong:
        return _learned(setting, labels, seed, thresholds, ranges)
    if not labels.wrong and len(labels.alpha) == 1:
        solution = optimum(setting, seed=seed)
        limits = thresholds_of(setting, solution, seed) if thresholds else Thresholds()
        prediction = _prediction(setting, solution, limits, ranges)
        return replace(prediction, network=network)
    labelled = labelled_program(setting, labels, seed)
    solution = solve(labelled.program)
    limits = Thresholds(notes=tuple(_label_notes(labelled)))
    if thresholds:
        found = thresholds_with_labels(setting, labels, labelled, solution, seed)
        limits = found._replace(notes=(*limits.notes, *found.notes))
    prediction = _prediction(setting, solution, limits, ranges)
    if not labels.wrong:
        return prediction
    noise = _noise(labels, labelled.same, prediction.within_class_variance, learned=False)
    return replace(prediction, label_noise=noise)


def _check_calibrated(labels: Labels) -> None:
    if labels.wrong or len(labels.alpha) > 1:
        raise InputError(
            "a calibration, or wrong labels and alphas by class",
            "both",
            "a calibration is of networks trained on the labels at hand, with one alpha",
        )


def _learned(
    setting: Setting, labels: Labels, seed: int, thresholds: bool, ranges: bool
) -> Prediction:
    """The labels are the classes: their numbers of instances are those expected, rounded."""
    m = len(setting.counts)
    each: Sequence[float] | None = labels.alpha.tolist() if len(labels.alpha) > 1 else None
    given = setting
    if not (setting.balanced and labels.confusion is None):
        counts = np.maximum(1, np.round(setting.counts @ labels.matrix(m))).astype(int)
        given = setting.with_(class_counts=counts.tolist(), classes=None, per_class=None)
    prediction = predict(
        given, alpha_per_class=each, seed=seed, thresholds=thresholds, ranges=ranges
    )
    within, same = within_true_classes(setting, labels, prediction.cosines)
    return replace(prediction, label_noise=_noise(labels, same, within, learned=True))


def _noise(labels: Labels, same: float, within: float, *, learned: bool) -> LabelNoise:
    return LabelNoise(
        rate=None if labels.confusion is not None else labels.rate,
        confusion=None
        if labels.confusion is None
        else tuple(map(tuple, labels.confusion.tolist())),
        learned=learned,
        same_class_positives=same,
        within_true_class_variance=within,
    )


def _label_notes(labelled: Labelled) -> list[str]:
    if not labelled.sampled:
        return []
    return [
        f"expectation over {labelled.sampled} sampled batches with their labels; certificate_gap "
        "is for the sampled expectation"
    ]


def _prediction(
    setting: Setting, solution: Solution, limits: Thresholds, ranges: bool
) -> Prediction:
    notes = [*_notes(setting, solution), *limits.notes]
    if limits.alpha is not None and abs(setting.alpha - limits.alpha) < EDGE * limits.alpha:
        notes.append(
            f"alpha lies within {EDGE:.0%} of its threshold: there the loss is almost flat, "
            "and training may end on either side"
        )
    program, means = solution.program, solution.point.means
    M, (view, instance, _) = program.multiplicity, solution.point.fractions
    within, m = view + instance, float(M.sum())
    block = program.block
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
        **(ranges_of(solution) if ranges and feasible(program) else {}),
    )


def _cosines(solution: Solution) -> BlockCosines:
    program = solution.program
    s, a, b = solution.point.cosines(program)
    M, blocks = program.multiplicity, range(program.blocks)
    return BlockCosines(
        counts=tuple(int(n) for n in program.size),
        multiplicity=tuple(int(k) for k in M),
        # Where sizes alone do not say which class is of which block.
        block=tuple(program.block.tolist()) if (np.diff(program.size) <= 0).any() else None,
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
    one_alpha = abs(program.terms.self_supervised.sum() - setting.alpha) < 1e-9
    dropped = setting.reduction == "pairs" or setting.anchors_without_positives == "drop"
    if one_alpha and dropped and setting.alpha < 1 and missing / (1 - setting.alpha) > 1e-6:
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
