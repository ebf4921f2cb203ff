"""What takes the steps of a run: the optimiser, its rate, and a temperature that is learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from uncollapse.losses import LearnableTemperature
from uncollapse.training._loss_config import LossConfig
from uncollapse.training.config import OptimiserConfig


def temperature_of(config: LossConfig) -> LearnableTemperature | None:
    """What the temperature is learned by; None where it stays."""
    if config.learn_temperature is None:
        return None
    return LearnableTemperature(config.temperature, config.learn_temperature)


def make_optimiser(
    config: OptimiserConfig, model: nn.Module, *others: nn.Module | None
) -> torch.optim.Optimizer:
    """The optimiser over what is trained; no decay for biases, norms and a temperature."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for other in others:
        trained += [] if other is None else list(other.parameters())
    decayed = {"weight_decay": config.weight_decay, "params": [p for p in trained if p.ndim > 1]}
    plain = {"weight_decay": 0.0, "params": [p for p in trained if p.ndim <= 1]}
    groups: list[dict[str, Any]] = [group for group in (decayed, plain) if group["params"]]
    if config.kind == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def make_schedule(
    config: OptimiserConfig, optimiser: torch.optim.Optimizer, steps_per_epoch: int, epochs: int
) -> Any:
    """What sets the rate of a step by its number alone: a resumed run needs no state of it."""
    from timm.scheduler.cosine_lr import CosineLRScheduler

    return CosineLRScheduler(
        optimiser,
        t_initial=max(1, steps_per_epoch * epochs),
        lr_min=config.learning_rate * (config.final if config.schedule == "cosine" else 1.0),
        warmup_t=round(config.warmup_epochs * steps_per_epoch),
        warmup_lr_init=config.learning_rate / 100,
        t_in_epochs=False,
    )
