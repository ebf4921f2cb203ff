"""Minimising the loss of a simulation: quasi-Newton without chance, or steps on drawn batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

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

__all__ = ["Run", "choose_optimiser", "descend"]

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
    """Move the model's parameters down the loss.

    Args:
        setting: Data, loss and batch.
        options: How.
        model: Changed in place.
        generator: Of the batches.
        on_step: Called with steps done and steps at most.
    """
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


@contextmanager
def _trained(parameters: list[Tensor]) -> Iterator[None]:
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def _quasi_newton(
    setting: Setting,
    options: SimulationOptions,
    model: Model,
    batches: list[tuple[float, Tensor]],
    on_step: Progress,
) -> Run:
    labels, limit = labels_of(setting), options.steps or 3000
    sizes = [parameter.numel() for parameter in model.parameters]
    done = 0

    def place(flat: np.ndarray[Any, Any]) -> None:
        parts = torch.split(torch.from_numpy(flat), sizes)
        with torch.no_grad():
            for parameter, part in zip(model.parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))
                parameter.grad = None

    def value(
        flat: np.ndarray[Any, np.dtype[np.float64]],
    ) -> tuple[float, np.ndarray[Any, np.dtype[np.float64]]]:
        place(flat)
        total = 0.0
        for probability, rows in batches:
            embeddings = model.embed(rows)
            if not bool(embeddings.isfinite().all()):
                return math.inf, np.zeros_like(flat)
            loss = probability * batch_loss(setting, embeddings, labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        gradients = [parameter.grad for parameter in model.parameters]
        flattened = [torch.zeros(0) if g is None else g.reshape(-1) for g in gradients]
        return total, torch.cat(flattened).numpy()

    def count(xk: Any) -> None:
        nonlocal done
        done += 1
        on_step(done, limit)

    start = torch.cat([parameter.reshape(-1) for parameter in model.parameters]).numpy().copy()
    # Thirty pairs of vectors as long as the parameters are remembered; large ones get fewer.
    remembered = 30 if len(start) <= 1_000_000 else 8
    with _trained(model.parameters):
        limits: Any = {
            "maxiter": limit,
            "maxfun": 3 * limit,
            "ftol": 0.0,
            "gtol": 1e-10,
            "maxcor": remembered,
        }
        answer: Any = minimize(
            value, start, jac=True, method="L-BFGS-B", callback=count, options=limits
        )
        place(answer.x)
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
    optimiser: torch.optim.Optimizer = (
        torch.optim.Adam(parameters, rate)
        if name == "adam"
        else torch.optim.SGD(parameters, rate, momentum=options.momentum)
    )
    finite = [parameter.clone() for parameter in parameters]
    with _trained(parameters):
        for step in range(limit):
            if options.schedule == "cosine":
                share = 0.5 * (1 + math.cos(math.pi * step / limit))
                optimiser.param_groups[0]["lr"] = rate * share
            rows = draw_batch(setting, generator)
            embeddings = model.embed(rows)
            if not bool(embeddings.isfinite().all()):
                _restore(parameters, finite)
                return Run(name, rate, step, "diverged")
            _restore(finite, parameters)
            optimiser.zero_grad()
            batch_loss(setting, embeddings, labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            model.retract()
            on_step(step + 1, limit)
        with torch.no_grad():
            if not bool(model.population().isfinite().all()):
                _restore(parameters, finite)
                return Run(name, rate, limit, "diverged")
    return Run(name, rate, limit, "steps")


def _restore(to: list[Tensor], values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(to, values, strict=True):
            parameter.copy_(value)
