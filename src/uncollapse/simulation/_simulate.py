"""The synthetic experiment: minimise the loss, and see what is reached."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from uncollapse.progress import Progress, quiet
from uncollapse.records import Phase, Reached, Setting, SimulationOptions, worst_phase
from uncollapse.simulation._batches import all_batches, batch_loss, draw_batch, labels_of
from uncollapse.simulation._descent import choose_optimiser, descend
from uncollapse.simulation._models import check_model, generator_of, make_model

# Where there are too many batches to sum, the loss reached is the mean over so many.
EVALUATED_BATCHES = 500


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
    run = descend(setting, options, model, generator_of(seed, 2), on_step)
    with torch.no_grad():
        embeddings = model.population()
        embeddings = embeddings / embeddings.norm(dim=-1, keepdim=True)
        loss, error, batches = _expected_loss(setting, embeddings, seed)
    within, instance, view, between = _variances(embeddings, labels_of(setting))
    phases = [
        _phase(i, v, options.collapsed_below) if n > 1 else None
        for i, v, n in zip(instance.tolist(), view.tolist(), setting.counts, strict=True)
    ]
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
    """What `simulate` raises for these arguments, without a run.

    Raises:
        InputError: The options do not fit the setting, or it does not fit into memory.
    """
    check_model(setting, options)
    choose_optimiser(setting, options)


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


def _phase(instance: float, view: float, limit: float) -> Phase:
    if instance > limit:
        return "spread"
    return "view-splitting" if view > limit else "collapse"
