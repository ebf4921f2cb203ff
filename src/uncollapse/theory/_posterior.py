"""The model of a trained network in its constants, and the constants that runs leave possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit, logit

from uncollapse.records import CONSTANTS, NetworkRun, Setting
from uncollapse.theory._flow import Array, Batches, batches_of, flow

# What is usual of the constants, before any run: mean and deviation of log progress,
# logit agreement, log (dimension - 1) and logit unlearned. Wide; set with the study's data in view.
USUAL = np.array([0.5, 2.0, np.log(7), -1.5]), np.array([1.5, 1.5, 0.8, 1.5])
# Deviation of networks from the model in logits of a variance: what is left when all settings of
# the study are fitted at once (docs/networks.md).
DISCREPANCY = 0.4
# Variances within and between classes before training, where runs do not say.
BEFORE = 0.01, 0.001
REFERENCE_TEMPERATURE = 0.1
# After so long the flow has settled; the integrator holds up to there.
LONGEST = 100.0
PROPOSALS = 1200  # of the importance sampler
TAILS, WIDER = 4, 1.3  # its t distribution: degrees of freedom, and width beside the fit's
LEAST = 1e-5


def key(setting: Setting) -> tuple[Any, ...]:
    return setting.alpha, setting.temperature, setting.views, setting.batch


def model(constants: Array, batches: Batches, steps: Array, before: Array) -> tuple[Array, Array]:
    """W and B from (D, 4) constants, (D, S) each; steps as a part of the reference's."""
    progress, agreement, dimension, unlearned = constants.T[:, :, None]
    m = batches.classes
    q = 1 - unlearned * (1 - (1 + (m - 1) * agreement) / m)
    time = progress * steps * batches.temperature / REFERENCE_TEMPERATURE
    time = np.minimum(time, LONGEST)
    within, between = flow(before, time, batches, q, dimension)
    return within + (1 - agreement) * between, agreement * between


@dataclass(frozen=True)
class Fit:
    """What is compared: settings with their mean variances, in logits."""

    batches: Batches
    steps: Array  # (S,) as a part of the first run's
    measured: Array  # (2, S) logits of W and B
    before: Array
    centre: Array  # (4,) usual constants, unbounded
    width: Array
    discrepancy: float

    @classmethod
    def of(cls, runs: Sequence[NetworkRun], held: Mapping[Any, float], discrepancy: float) -> Fit:
        groups: dict[Any, list[NetworkRun]] = {}
        for run in runs:
            groups.setdefault((*key(run.setting), run.steps), []).append(run)
        own = list(groups.values())
        pairs = [[(r.within_class_variance, r.between_class_variance) for r in g] for g in own]
        known = [
            (run.within_before, run.between_before)
            for run in runs
            if run.within_before is not None and run.between_before is not None
        ]
        before = np.clip(np.mean(known, axis=0) if known else BEFORE, LEAST, 0.49)
        centre, width = (part.copy() for part in USUAL)
        for name, value in held.items():
            k = CONSTANTS.index(name)
            centre[k] = unbounded(np.full(len(CONSTANTS), value))[k]
            width[k] = 1e-6
        return cls(
            batches=batches_of([group[0].setting for group in own]),
            steps=np.array([group[0].steps / runs[0].steps for group in own]),
            measured=logits(np.array([np.mean(pair, axis=0) for pair in pairs]).T),
            before=before,
            centre=centre,
            width=width,
            discrepancy=discrepancy,
        )

    def residuals(self, points: Array) -> Array:
        """(D, 2 S + 4): differences in deviations, of variances and from what is usual."""
        found = model(bounded(points), self.batches, self.steps, self.before)
        off = [
            (logits(v) - m) / self.discrepancy for v, m in zip(found, self.measured, strict=True)
        ]
        return np.concatenate([*off, (points - self.centre) / self.width], axis=-1)

    def jacobian(self, point: Array) -> Array:
        """Differences of the residuals at a point, in units of the usual deviations."""
        steps = 1e-3 * np.diag(self.width)
        values = self.residuals(np.vstack([point, point + steps]))
        slopes: Array = (values[1:] - values[0]).T / (1e-3 * self.width)
        return slopes


def bounded(points: Array) -> Array:
    """Constants from where they are unbounded, (..., 4)."""
    progress, agreement, dimension, unlearned = np.moveaxis(points, -1, 0)
    parts = [np.exp(progress), expit(agreement), 1 + np.exp(dimension), expit(unlearned)]
    return np.stack(parts, -1)


def unbounded(constants: Array) -> Array:
    progress, agreement, dimension, unlearned = np.moveaxis(constants, -1, 0)
    with np.errstate(divide="ignore"):
        parts = [np.log(progress), logits(agreement), np.log(np.maximum(dimension - 1, LEAST)),
                 logits(unlearned)]  # fmt: skip
    return np.stack(parts, -1)


def logits(values: Array) -> Array:
    found: Array = logit(np.clip(values, LEAST, 1 - LEAST))
    return found


def posterior(fit: Fit, draws: int, rng: np.random.Generator) -> Array:
    """Draws of the constants, unbounded: proposals around the best fit, drawn by their weight."""

    def residuals(point: Array) -> Array:
        flat: Array = fit.residuals(point[None])[0]
        return flat

    starts = (np.zeros(4), np.array([1, -2, 0, 1]), np.array([-1, 1, 1, -1]))
    found = [
        least_squares(
            residuals,
            fit.centre + fit.width * start,
            jac=fit.jacobian,
            x_scale=fit.width,
            max_nfev=50,
        )
        for start in starts
    ]
    best = min(found, key=lambda result: float(result.cost))
    size = len(CONSTANTS)
    scaled: Array = np.asarray(best.jac, float) * fit.width
    factor = np.linalg.cholesky(np.linalg.inv(scaled.T @ scaled))
    normal = rng.standard_normal((PROPOSALS, size))
    tails = np.sqrt(rng.chisquare(TAILS, PROPOSALS) / TAILS)[:, None]
    standard = normal / tails
    points = best.x + WIDER * (standard @ factor.T) * fit.width
    proposed = -(TAILS + size) / 2 * np.log1p((standard**2).sum(-1) / TAILS)
    weight = -0.5 * (fit.residuals(points) ** 2).sum(-1) - proposed
    weight = np.exp(weight - weight.max())
    chosen = rng.choice(len(points), draws, p=weight / weight.sum())
    return np.asarray(points[chosen], float)
