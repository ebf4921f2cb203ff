"""Optimiser and learning rate, the rate as a pure function of the step (torch, timm)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from uncollapse.training.config import OptimiserConfig


def make_optimiser(config: OptimiserConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over the parameters that are trained; no decay for biases and norms."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.kind == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def rate_setter(
    config: OptimiserConfig, optimiser: torch.optim.Optimizer, steps_per_epoch: int, epochs: int
) -> Callable[[int], float]:
    """A function that sets the learning rate of a step, counted from 0, and returns it.

    It depends on the step alone, so that a resumed run needs no state of it.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if config.schedule == "constant" and not warmup:
        return lambda step: config.learning_rate
    from timm.scheduler.cosine_lr import CosineLRScheduler

    final = config.final if config.schedule == "cosine" else 1.0
    schedule = CosineLRScheduler(
        optimiser,
        t_initial=max(1, steps_per_epoch * epochs),
        lr_min=config.learning_rate * final,
        warmup_t=warmup,
        warmup_lr_init=config.learning_rate / 100,
        t_in_epochs=False,
    )

    def set_rate(step: int) -> float:
        schedule.step_update(step)
        return float(optimiser.param_groups[0]["lr"])

    return set_rate
