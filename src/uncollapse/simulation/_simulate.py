"""The synthetic experiment: minimise the loss, and see what is reached."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from uncollapse.errors import InputError
from uncollapse.progress import Progress, quiet
from uncollapse.records import (
    Optimiser,
    Reached,
    Setting,
    SimulationOptions,
    Stopped,
    phases_of,
    worst_phase,
)
from uncollapse.simulation._batches import (
    LISTED_BATCHES,
    all_batches,
    batch_loss,
    draw_batch,
    labels_of,
)
from uncollapse.simulation._models import Embedder, check_model, generator_of, make_model

# Where there are too many batches to sum, the loss reached is the mean over so many.
EVALUATED_BATCHES = 500
# Defaults of sgd and adam, for free vectors; a network takes a tenth.
RATES = {"sgd": 1.0, "adam": 0.01}


def simulate(
    setting: Setting,
    options: SimulationOptions | None = None,
    *,
    seed: int = 0,
    on_step: Progress = quiet,
) -> Reached:
    """Minimise the SupCL loss over free vectors or a small network, and evaluate what is reached.

    Free vectors have no capacity limit: with lbfgs and d at least the number of embeddings they
    reach the global optimum that `uncollapse.theory.predict` computes. Everything else (batches,
    first-order steps, few dimensions, a network, augmentation noise) is what theory leaves out.

    Computed in float64 on the CPU. The global random state is neither read nor changed.

    Args:
        setting: Data, loss and batch.
        options: How it is minimised; the defaults where left out.
        seed: Of the data, the start and the batches.
        on_step: Called after each step with (steps done, steps at most).

    Raises:
        InputError: The options do not fit the setting.

    Examples:
        >>> from uncollapse.theory import Setting, predict
        >>> setting = Setting(classes=3, per_class=2, views=1, alpha=0, temperature=1)
        >>> reached = simulate(setting)
        >>> reached.phase, abs(reached.loss - predict(setting).loss) < 1e-9
        ('collapse', True)
    """
    options = options or SimulationOptions()
    check_simulation(setting, options)
    began = time.perf_counter()
    model = make_model(setting, options, seed)
    if _optimiser(setting, options) == "lbfgs":
        run = _quasi_newton(setting, options, model, on_step)
    else:
        run = _first_order(setting, options, model, seed, on_step)
    with torch.no_grad():
        embeddings = model.population()
        embeddings = embeddings / embeddings.norm(dim=-1, keepdim=True)
        loss, error, batches = _expected_loss(setting, embeddings, seed)
    within, instance, view, between = _variances(embeddings, labels_of(setting))
    phases = phases_of(instance.tolist(), view.tolist(), setting.counts, options.collapsed_below)
    return Reached(
        seed=seed,
        loss=loss,
        loss_error=error,
        loss_batches=batches,
        phase=worst_phase(phases),
        phase_per_class=tuple(phases),
        within_class_variance=float(within.mean()),
        within_class_variance_per_class=tuple(within.tolist()),
        instance_variance=float(instance.mean()),
        instance_variance_per_class=tuple(instance.tolist()),
        view_variance=float(view.mean()),
        view_variance_per_class=tuple(view.tolist()),
        between_class_variance=between,
        **run._asdict(),
        seconds=time.perf_counter() - began,
    )


def check_simulation(setting: Setting, options: SimulationOptions) -> None:
    """What `simulate` raises for these arguments, without a run."""
    check_model(setting, options)
    _optimiser(setting, options)


def _expected_loss(
    setting: Setting, embeddings: Tensor, seed: int
) -> tuple[float, float | None, int]:
    """Loss over all batches, or its mean over drawn ones with the standard error."""
    labels = labels_of(setting)
    listed = all_batches(setting)
    if listed is not None:
        parts = [p * batch_loss(setting, embeddings[rows], labels[rows]) for p, rows in listed]
        return float(torch.stack(parts).sum()), None, len(listed)
    generator = generator_of(seed, 3)
    drawn = (draw_batch(setting, generator) for _ in range(EVALUATED_BATCHES))
    losses = torch.stack([batch_loss(setting, embeddings[b], labels[b]) for b in drawn])
    return float(losses.mean()), float(losses.std() / len(losses) ** 0.5), len(losses)


def _variances(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """Within, instance and view variance by class, (m,) each, and that between classes."""
    of_instance = embeddings.mean(1)
    counts = torch.bincount(labels)
    shape = (len(counts), embeddings.shape[-1])
    means = embeddings.new_zeros(shape).index_add_(0, labels, of_instance) / counts[:, None]
    deviation = ((of_instance - means[labels]) ** 2).sum(1)
    spread = ((embeddings - of_instance[:, None]) ** 2).sum(-1).mean(1)
    zeros = embeddings.new_zeros(len(counts))
    instance = zeros.index_add(0, labels, deviation) / counts
    view = zeros.index_add(0, labels, spread) / counts
    between = float(((means - means.mean(0)) ** 2).sum(1).mean())
    return instance + view, instance, view, between


class Run(NamedTuple):
    """What was done: optimiser, learning rate (None for lbfgs), steps taken and why no more."""

    optimiser: Optimiser
    learning_rate: float | None
    steps: int
    stopped: Stopped


def _optimiser(setting: Setting, options: SimulationOptions) -> Optimiser:
    """The optimiser that was asked for, or that fits; an error where lbfgs cannot be."""
    if options.optimiser in ("sgd", "adam"):
        return options.optimiser
    if options.optimiser is None and options.model == "mlp":
        return "adam"
    batches = all_batches(setting)
    if options.optimiser is None:
        return "lbfgs" if batches is not None and len(batches) == 1 else "adam"
    if batches is None:
        raise InputError(
            f"an objective without chance for lbfgs (at most {LISTED_BATCHES} different batches)",
            "a sampler with more",
            "take full batches, or sgd or adam",
        )
    return "lbfgs"


def _quasi_newton(
    setting: Setting, options: SimulationOptions, model: Embedder, on_step: Progress
) -> Run:
    labels, limit, batches = labels_of(setting), options.steps or 3000, all_batches(setting) or []
    done = 0

    def value(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        vector_to_parameters(torch.from_numpy(flat.copy()), model.parameters)
        total, gradient = 0.0, torch.zeros(len(flat), dtype=torch.float64)
        for probability, rows in batches:
            embeddings = model.embed(rows)
            if not bool(embeddings.isfinite().all()):
                return math.inf, np.zeros_like(flat)
            loss = probability * batch_loss(setting, embeddings, labels[rows])
            gradient += parameters_to_vector(torch.autograd.grad(loss, model.parameters))
            total += loss.item()
        return total, gradient.numpy()

    def count(xk: Any) -> None:
        nonlocal done
        done += 1
        on_step(done, limit)

    start = parameters_to_vector(model.parameters).detach().numpy()
    # Thirty pairs of vectors as long as the parameters are remembered; large ones get fewer.
    remembered = 30 if len(start) <= 1_000_000 else 8
    limits: Any = {"maxiter": limit, "maxfun": 3 * limit, "maxcor": remembered}
    limits |= {"ftol": 0.0, "gtol": 1e-10}
    answer: Any = minimize(
        value, start, jac=True, method="L-BFGS-B", callback=count, options=limits
    )
    vector_to_parameters(torch.from_numpy(answer.x), model.parameters)
    _retract(options, model)
    # Status 2: no step along the direction lowers the loss by more than its rounding.
    reasons: dict[int, Stopped] = {0: "converged", 1: "steps", 2: "precision"}
    return Run("lbfgs", None, done, reasons[int(answer.status)])


def _first_order(
    setting: Setting, options: SimulationOptions, model: Embedder, seed: int, on_step: Progress
) -> Run:
    """Sgd or adam on drawn batches; a run that diverges stays where it was last finite."""
    name, generator = _optimiser(setting, options), generator_of(seed, 2)
    labels, limit = labels_of(setting), options.steps or 2000
    scale = 1.0 if options.model == "vectors" else 0.1
    rate = options.learning_rate or RATES[name] * scale
    parameters = model.parameters
    finite = parameters_to_vector(parameters).detach()
    optimiser: torch.optim.Optimizer = (
        torch.optim.Adam(parameters, rate)
        if name == "adam"
        else torch.optim.SGD(parameters, rate, momentum=options.momentum)
    )
    for step in range(limit):
        if options.schedule == "cosine":
            share = 0.5 * (1 + math.cos(math.pi * step / limit))
            optimiser.param_groups[0]["lr"] = rate * share
        rows = draw_batch(setting, generator)
        embeddings = model.embed(rows)
        if not bool(embeddings.isfinite().all()):
            vector_to_parameters(finite, parameters)
            return Run(name, rate, step, "diverged")
        finite = parameters_to_vector(parameters).detach()
        optimiser.zero_grad()
        batch_loss(setting, embeddings, labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        _retract(options, model)
        on_step(step + 1, limit)
    if not bool(model.population().isfinite().all()):
        vector_to_parameters(finite, parameters)
        return Run(name, rate, limit, "diverged")
    return Run(name, rate, limit, "steps")


def _retract(options: SimulationOptions, model: Embedder) -> None:
    """Unit length: else vectors grow with every step, and their steps on the sphere shrink."""
    if options.model == "vectors":
        with torch.no_grad():
            model.parameters[0] /= model.parameters[0].norm(dim=-1, keepdim=True)
