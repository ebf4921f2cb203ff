"""The synthetic experiment: minimise the loss, and see what is reached."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from uncollapse.records import Phase
from uncollapse.simulation.batches import all_batches, batch_loss, draw_batch, labels_of
from uncollapse.simulation.descent import OnStep, Stopped, choose_optimiser, descend
from uncollapse.simulation.models import check_model, generator_of, make_model
from uncollapse.simulation.options import Optimiser, Problem, SimulationOptions

__all__ = ["EVALUATED_BATCHES", "Reached", "SimulationOptions", "check_simulation", "simulate"]

# Where there are too many batches to sum, the loss reached is the mean over so many.
EVALUATED_BATCHES = 500


@dataclass(frozen=True)
class Reached:
    """Where one run ended, over the whole population of embeddings, in float64.

    Variances are defined as in `uncollapse.records.Prediction`.

    Attributes:
        seed: Of the run: data, start, batches.
        loss: Expectation of the loss over the sampler's batches, in nats.
        loss_error: Standard error of it; None where all batches were summed.
        loss_batches: Batches that it is the mean of.
        phase: As `Prediction.phase`, where a variance up to `collapsed_below` counts as none.
        phase_per_class: The same for each class; None for a class of one instance.
        within_class_variance: Mean over classes.
        within_class_variance_per_class: By class.
        instance_variance: Mean over classes.
        instance_variance_per_class: By class.
        view_variance: Mean over classes.
        view_variance_per_class: By class.
        between_class_variance: Variance of the class means.
        optimiser: That was taken.
        learning_rate: That was taken; None for lbfgs.
        steps: Steps done.
        stopped: "converged" (gradient of lbfgs below 1e-10), "precision" (lbfgs found no lower
            loss that rounding would show), "steps" (all were done), or "diverged" (a number was no
            longer finite; the values are those before).
        seconds: Wall time.
    """

    seed: int
    loss: float
    loss_error: float | None
    loss_batches: int
    phase: Phase
    phase_per_class: tuple[Phase | None, ...]
    within_class_variance: float
    within_class_variance_per_class: tuple[float, ...]
    instance_variance: float
    instance_variance_per_class: tuple[float, ...]
    view_variance: float
    view_variance_per_class: tuple[float, ...]
    between_class_variance: float
    optimiser: Optimiser
    learning_rate: float | None
    steps: int
    stopped: Stopped
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, one key per attribute."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def simulate(
    problem: Problem,
    options: SimulationOptions | None = None,
    *,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Reached:
    """Minimise the SupCL loss over free vectors or a small network, and evaluate what is reached.

    Free vectors have no capacity limit: with lbfgs and d at least the number of embeddings they
    reach the global optimum that `uncollapse.theory.predict` computes. Everything else (batches,
    first-order steps, few dimensions, a network, augmentation noise) is what theory leaves out.

    Computed in float64 on the CPU. The global random state is neither read nor changed.

    Args:
        problem: Data, loss and batch, such as a `uncollapse.theory.Setting`.
        options: How it is minimised; the defaults where left out.
        seed: Of the data, the start and the batches.
        on_step: Called after each step with (steps done, steps at most).

    Raises:
        InputError: The options do not fit the problem.

    Example:
        >>> from uncollapse.theory import Setting, predict
        >>> setting = Setting(classes=3, per_class=2, views=1, alpha=0, temperature=1)
        >>> reached = simulate(setting)
        >>> reached.phase, abs(reached.loss - predict(setting).loss) < 1e-9
        ('collapse', True)
    """
    options = options or SimulationOptions()
    check_simulation(problem, options)
    began = time.perf_counter()
    model = make_model(problem, options, seed)
    run = descend(problem, options, model, generator_of(seed, 2), on_step or _quiet)
    with torch.no_grad():
        embeddings = model.population()
        embeddings = embeddings / embeddings.norm(dim=-1, keepdim=True)
        loss, error, batches = _expected_loss(problem, embeddings, seed)
    within, instance, view, between = _variances(embeddings, labels_of(problem))
    phases = [
        _phase(i, v, options.collapsed_below) if n > 1 else None
        for i, v, n in zip(instance.tolist(), view.tolist(), problem.counts, strict=True)
    ]
    return Reached(
        seed=seed,
        loss=loss,
        loss_error=error,
        loss_batches=batches,
        phase=_overall(phases),
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


def check_simulation(problem: Problem, options: SimulationOptions) -> None:
    """What `simulate` raises for these arguments, without a run.

    Raises:
        InputError: The options do not fit the problem, or it does not fit into memory.
    """
    check_model(problem, options)
    choose_optimiser(problem, options)


def _quiet(done: int, limit: int) -> None:
    pass


def _expected_loss(
    problem: Problem, embeddings: Tensor, seed: int
) -> tuple[float, float | None, int]:
    """Loss over all batches, or its mean over drawn ones with the standard error."""
    labels = labels_of(problem)
    listed = all_batches(problem)
    if listed is not None:
        parts = [p * batch_loss(problem, embeddings[rows], labels[rows]) for p, rows in listed]
        return float(torch.stack(parts).sum()), None, len(listed)
    generator = generator_of(seed, 3)
    drawn = (draw_batch(problem, generator) for _ in range(EVALUATED_BATCHES))
    losses = torch.stack([batch_loss(problem, embeddings[b], labels[b]) for b in drawn])
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


def _phase(instance: float, view: float, limit: float) -> Phase:
    if instance > limit:
        return "spread"
    return "view-splitting" if view > limit else "collapse"


def _overall(phases: list[Phase | None]) -> Phase:
    """The worst phase of any class, as in a prediction."""
    for worst in ("collapse", "view-splitting"):
        if worst in phases:
            return worst
    return "spread"
