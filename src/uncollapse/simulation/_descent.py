"""Minimising the loss of a simulation: quasi-Newton without chance, or steps on drawn batches."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from uncollapse.errors import InputError
from uncollapse.progress import Progress
from uncollapse.records import Optimiser, Setting, SimulationOptions, Stopped
from uncollapse.simulation._batches import (
    LISTED_BATCHES,
    all_batches,
    batch_loss,
    draw_batch,
    labels_of,
)
from uncollapse.simulation._models import FreeVectors, Model

# Defaults of sgd and adam, for free vectors; a network takes a tenth.
RATES = {"sgd": 1.0, "adam": 0.01}


class Run(NamedTuple):
    """What was done: optimiser, learning rate (None for lbfgs), steps taken and why no more."""

    optimiser: Optimiser
    learning_rate: float | None
    steps: int
    stopped: Stopped


def descend(
    setting: Setting,
    options: SimulationOptions,
    model: Model,
    generator: torch.Generator,
    on_step: Progress,
) -> Run:
    """Move the model's parameters down the loss, on batches of the generator."""
    optimiser = choose_optimiser(setting, options)
    if optimiser == "lbfgs":
        return _quasi_newton(setting, options, model, all_batches(setting) or [], on_step)
    return _first_order(setting, options, model, generator, optimiser, on_step)


def choose_optimiser(setting: Setting, options: SimulationOptions) -> Optimiser:
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
    setting: Setting,
    options: SimulationOptions,
    model: Model,
    batches: list[tuple[float, Tensor]],
    on_step: Progress,
) -> Run:
    labels, limit = labels_of(setting), options.steps or 3000
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
    limits: Any = {"maxiter": limit, "maxfun": 3 * limit, "ftol": 0.0, "gtol": 1e-10}
    limits["maxcor"] = remembered
    answer: Any = minimize(
        value, start, jac=True, method="L-BFGS-B", callback=count, options=limits
    )
    vector_to_parameters(torch.from_numpy(answer.x), model.parameters)
    model.retract()
    # Status 2: no step along the direction lowers the loss by more than its rounding.
    reasons: dict[int, Stopped] = {0: "converged", 1: "steps", 2: "precision"}
    return Run("lbfgs", None, done, reasons[int(answer.status)])


def _first_order(
    setting: Setting,
    options: SimulationOptions,
    model: Model,
    generator: torch.Generator,
    name: Optimiser,
    on_step: Progress,
) -> Run:
    """Sgd or adam on drawn batches; a run that diverges stays where it was last finite."""
    labels, limit = labels_of(setting), options.steps or 2000
    scale = 1.0 if isinstance(model, FreeVectors) else 0.1
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
        model.retract()
        on_step(step + 1, limit)
    if not bool(model.population().isfinite().all()):
        vector_to_parameters(finite, parameters)
        return Run(name, rate, limit, "diverged")
    return Run(name, rate, limit, "steps")
