"""Constants of trained networks, fitted to few runs, and what they foretell of other settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from scipy.special import expit, ndtri

from uncollapse.errors import InputError
from uncollapse.records import (
    CONSTANTS,
    BalancedBatch,
    Calibration,
    Circumstance,
    Constant,
    ConstantName,
    Expected,
    NetworkPrediction,
    NetworkRun,
    NextRun,
    RandomBatch,
    Setting,
)
from uncollapse.theory._conditions import differing
from uncollapse.theory._flow import Array, batches_of
from uncollapse.theory._posterior import (
    BEFORE,
    DISCREPANCY,
    Fit,
    bounded,
    key,
    logits,
    model,
    posterior,
)

DETERMINED = 0.5  # a constant is, if its deviation is below this part of the usual one
ALPHAS = np.geomspace(0.003, 0.99, 20)
CHOOSING = 300  # draws by which the following run is chosen: with few, their noise chooses
# Deviations of each draw's network from the model: quantiles of a normal, each for an equal part,
# so that an estimate has no noise of drawn ones.
DEVIATES = ndtri((np.arange(41) + 0.5) / 41)


def calibrate(
    runs: Sequence[NetworkRun],
    *,
    held: Mapping[ConstantName, float] | None = None,
    draws: int = 150,
    confidence: float = 0.9,
    seed: int = 0,
    discrepancy: float = DISCREPANCY,
) -> Calibration:
    """Fit the constants of a kind of network to runs of it.

    The model is gradient flow for a finite time (docs/networks.md): with the constants progress T,
    agreement rho, dimension r and unlearned mu, and variances w, b of the flow after the time
    T (steps / first run's steps) (tau / 0.1),

        W = w + (1 - rho) b,    B = rho b,    q = 1 - mu (1 - (1 + (m-1) rho) / m).

    Both variances of every setting (means over its runs) are compared in logits. Constants are
    drawn from their posterior by importance sampling around the best fit.

    Args:
        runs: Runs that differ in alpha, temperature, batch, views or steps, not in data or network.
        held: Constants that are given instead of fitted.
        draws: Of the posterior that are kept, from 10.
        confidence: Of the intervals.
        seed: Of the draws.
        discrepancy: Deviation of networks from the model, in logits of a variance; above 0.

    Raises:
        InputError: No run, runs of different classes, or a constant that does not exist.

    Examples:
        >>> setting = Setting(classes=2, per_class=600, alpha=0.01, temperature=0.1)
        >>> run = NetworkRun(setting=setting, steps=300, within_class_variance=0.03,
        ...     between_class_variance=0.3, within_before=0.01, between_before=0.001)
        >>> calibration = calibrate([run])
        >>> [c.name for c in calibration.constants if c.determined]
        ['agreement']
        >>> calibration.following.alpha > 0.1
        True
    """
    _check(runs, held or {}, draws, confidence)
    fit = Fit.of(runs, held or {}, discrepancy)
    many = posterior(fit, max(draws, CHOOSING), np.random.default_rng(seed))
    unbounded = many[:draws]
    constants = tuple(_constant(fit, unbounded, k, confidence) for k in range(len(CONSTANTS)))
    calibration = Calibration(
        constants=constants,
        confidence=confidence,
        steps=runs[0].steps,
        within_before=float(fit.before[0]),
        between_before=float(fit.before[1]),
        discrepancy=discrepancy,
        draws=tuple(map(tuple, bounded(unbounded).tolist())),
        runs=tuple(runs),
        notes=tuple(_notes(runs, constants)),
    )
    chooser = replace(calibration, draws=tuple(map(tuple, bounded(many).tolist())))
    return replace(calibration, following=following(chooser, candidates(runs[0].setting)))


def forecast(
    calibration: Calibration,
    setting: Setting,
    *,
    seed: int = 0,
    thresholds: bool = True,
    steps: int | None = None,
    circumstances: Mapping[Circumstance, str] | None = None,
) -> NetworkPrediction:
    """What a network like those of a calibration shows at a setting, with intervals.

    An interval holds what the runs leave open of the constants, and how far networks are from the
    model. `alpha_where_spread_begins` is where W is twice that at the smallest alpha, a ratio that
    deviates too.

    Args:
        calibration: Of the same data and network.
        setting: Loss, data and batch.
        seed: Of the deviations from the model, where the spread begins.
        thresholds: Whether to compute where the spread begins, which takes most of the time.
        steps: Steps of training; those of the calibration's first run where left out.
        circumstances: What the network is trained with (`circumstances_of`), to say in what the
            calibration's runs were others.

    Examples:
        >>> setting = Setting(classes=2, per_class=600, alpha=0.01, temperature=0.1)
        >>> run = NetworkRun(setting=setting, steps=300, within_class_variance=0.03,
        ...     between_class_variance=0.3, within_before=0.01, between_before=0.001)
        >>> found = forecast(calibrate([run]), setting.with_(alpha=0.9)).within_class_variance
        >>> found.low < found.estimate < found.high
        True
    """
    curve = [setting.with_(alpha=float(alpha)) for alpha in ALPHAS] if thresholds else []
    within, between = _expected(calibration, [setting, *curve], steps)
    rng = np.random.default_rng(seed)
    ends = (1 - calibration.confidence) / 2
    asked = (ends, 0.5, 1 - ends)
    found = []
    for values in (within[:, 0], between[:, 0]):
        moved = logits(values)[:, None] + calibration.discrepancy * DEVIATES
        found.append(_three(expit(moved), asked))
    spread = None
    if curve:
        # The ratio deviates as one variance does: .44 in logs, over the study (docs/networks.md).
        levels = np.log(2) + calibration.discrepancy * rng.standard_normal(len(within))
        begins = _reaching(within[:, 1:], levels)
        spread = _three(np.minimum(begins, 1.0), asked) if np.isinf(begins).mean() < 0.5 else None
    differs = tuple(differing(calibration, setting, steps, circumstances or {}))
    return NetworkPrediction(
        within_class_variance=found[0],
        between_class_variance=found[1],
        alpha_where_spread_begins=spread,
        confidence=calibration.confidence,
        layer=calibration.runs[0].layer,
        differs=differs,
        notes=tuple(map(str, differs)),
    )


def expected_variances(calibration: Calibration, settings: Sequence[Setting]) -> Array:
    """W of networks like those of a calibration at S settings, (S,): medians, all at once.

    Examples:
        >>> setting = Setting(classes=2, per_class=600, alpha=0.01, temperature=0.1)
        >>> run = NetworkRun(setting=setting, steps=300, within_class_variance=0.03,
        ...     between_class_variance=0.3, within_before=0.01, between_before=0.001)
        >>> low, high = expected_variances(calibrate([run]), [setting, setting.with_(alpha=0.9)])
        >>> bool(low < 0.1 < high)
        True
    """
    medians: Array = np.median(_expected(calibration, settings)[0], axis=0)
    return medians


def candidates(setting: Setting) -> list[Setting]:
    """Runs that are considered as the next: alpha, temperature and, down, the batch."""
    batches: list[Any] = [setting.batch]
    if isinstance(setting.batch, BalancedBatch):
        batches.append(replace(setting.batch, per_class=max(2, setting.batch.per_class // 4)))
    elif isinstance(setting.batch, RandomBatch):
        batches.append(replace(setting.batch, size=max(4, setting.batch.size // 4)))
    tau = setting.temperature
    temperatures = [float(f"{min(max(tau * k, 0.001), 1000.0):.9g}") for k in (0.5, 1, 3)]
    return [
        setting.with_(alpha=alpha, temperature=temperature, batch=batch)
        for alpha, temperature, batch in product((0.05, 0.2, 0.5, 0.9), temperatures, batches)
    ]


def following(calibration: Calibration, among: Sequence[Setting]) -> NextRun:
    """The setting whose run would leave the least variance in the predicted W of all of them.

    By the covariance C of the draws' W and the deviation e of a network from the model, a run of
    setting j takes sum_i C_ij^2 / (C_jj + e_j^2) away.
    """
    within, _ = _expected(calibration, among)
    covariance = np.cov(within.T, bias=True)
    noise = (calibration.discrepancy * (within * (1 - within)).mean(0)) ** 2
    gain = (covariance**2).sum(0) / (np.diag(covariance) + noise)
    done = {key(run.setting) for run in calibration.runs}
    gain[[k for k, setting in enumerate(among) if key(setting) in done]] = -1
    best, total = int(gain.argmax()), float(np.trace(covariance))
    chosen, batch = among[best], among[best].batch
    size = getattr(batch, "per_class", None) or getattr(batch, "size", None)
    return NextRun(
        alpha=chosen.alpha,
        temperature=chosen.temperature,
        batch_size=size,
        remaining=float(np.clip(1 - gain[best] / total, 0, 1)) if total > 0 else 1.0,
    )


def _expected(
    calibration: Calibration, settings: Sequence[Setting], steps: int | None = None
) -> tuple[Array, Array]:
    """W and B of every draw, (draws, S) each."""
    longer = 1.0 if steps is None else steps / calibration.steps
    return model(
        np.array(calibration.draws),
        batches_of(settings),
        np.full(len(settings), longer),
        np.array([calibration.within_before, calibration.between_before]),
    )


def _constant(fit: Fit, unbounded: Array, k: int, confidence: float) -> Constant:
    ends = (1 - confidence) / 2
    values = bounded(unbounded)[:, k]
    low, middle, high = np.quantile(values, [ends, 0.5, 1 - ends]).tolist()
    held = bool(fit.width[k] < 1e-5)
    return Constant(
        name=CONSTANTS[k],
        estimate=middle,
        low=low,
        high=high,
        determined=held or bool(unbounded[:, k].std() < DETERMINED * fit.width[k]),
        held=held,
    )


def _three(values: Array, asked: Iterable[float]) -> Expected:
    low, middle, high = np.quantile(values, list(asked)).tolist()
    return Expected(estimate=middle, low=low, high=high)


def _reaching(curves: Array, levels: Array) -> Array:
    """Where the log of each curve over `ALPHAS` is first so far above its start; else infinite."""
    rise = np.maximum.accumulate(np.log(curves / curves[:, :1]), axis=1) - levels[:, None]
    at = np.argmax(rise >= 0, axis=1)
    rows, logs = np.arange(len(curves)), np.log(ALPHAS)
    before = np.maximum(at - 1, 0)
    low, high = rise[rows, before], rise[rows, at]
    part = -low / np.where(high > low, high - low, 1.0)
    found = np.exp(logs[before] + part * (logs[at] - logs[before]))
    return np.where(rise[:, -1] >= 0, found, np.inf)


def _notes(runs: Sequence[NetworkRun], constants: Sequence[Constant]) -> list[str]:
    notes = []
    vague = [constant.name for constant in constants if not constant.determined]
    if vague:
        notes.append(
            f"these runs do not determine {', '.join(vague)}: the intervals say what that leaves "
            "open, and the following run would say most about it"
        )
    if not any(run.within_before for run in runs):
        notes.append(
            "no run was measured before its first step; usual variances are taken "
            f"({BEFORE[0]:g} within, {BEFORE[1]:g} between classes)"
        )
    return notes


def _check(runs: Sequence[NetworkRun], held: Mapping[Any, float], draws: int, conf: float) -> None:
    if not runs:
        raise InputError("one run or more", "none", "give runs of `uncollapse train`")
    sizes = {tuple(sorted(run.setting.counts.tolist())) for run in runs}
    if len(sizes) > 1:
        raise InputError(
            "runs on the same data", f"{len(sizes)} sets of class sizes", "calibrate each alone"
        )
    if unknown := sorted(set(held) - set(CONSTANTS)):
        known = f"one of {', '.join(CONSTANTS)}"
        raise InputError(f"a constant to hold as {known}", unknown[0], "take one of these")
    if draws < 10 or not 0 < conf < 1:
        found = f"draws = {draws}, confidence = {conf}"
        raise InputError("draws >= 10 and confidence in (0, 1)", found, "change them")
