"""Steps of training: processes and precision (Lightning Fabric), optimiser and rate, one step."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from uncollapse.data import LoadedBatch
from uncollapse.errors import InputError
from uncollapse.losses import SupCLLoss
from uncollapse.training.config import OptimiserConfig, TrainConfig


def make_fabric(config: TrainConfig) -> Any:
    """Fabric for this process; under torchrun, one of its processes."""
    from lightning_fabric import Fabric

    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("a CUDA device", "none", "set device: cpu or auto")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    fabric = Fabric(
        accelerator="cpu" if on_cpu else "cuda",
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def set_up(fabric: Any, config: TrainConfig, model: nn.Module, optimiser: Any) -> tuple[Any, Any]:
    """Model and optimiser on the device, with gradients exchanged between processes."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    normed = any(isinstance(module, kinds) and module.training for module in model.modules())
    if fabric.world_size > 1 and normed:
        if config.sync_batch_norm and fabric.device.type == "cpu":
            raise InputError(
                "an encoder without batch norm for several CPU processes",
                "batch norm, which torch can synchronise on GPUs only",
                "set encoder.norm: group and head.norm: none, or sync_batch_norm: false",
            )
        if config.sync_batch_norm:
            convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
            model = convert(model)
    wrapped: tuple[Any, Any] = fabric.setup(model, optimiser)
    return wrapped


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


class Stepper:
    """Forward, backward and update, by what Lightning Fabric has set up."""

    def __init__(
        self, fabric: Any, model: nn.Module, optimiser: Any, loss: SupCLLoss, seed: int, clip: Any
    ) -> None:
        self.fabric, self.model, self.optimiser, self.loss = fabric, model, optimiser, loss
        self.seed, self.clip = seed, clip

    def step(self, batch: LoadedBatch, number: int) -> dict[str, float]:
        """Take a step on this process's share of a batch; what the loss was made of, in nats.

        The number of the step, from 0, is all beside the seed that dropout depends on.
        """
        views = batch.views.to(self.fabric.device)
        with torch.random.fork_rng(devices=[]):
            key = np.random.SeedSequence((self.seed, number, self.fabric.global_rank))
            torch.manual_seed(int(key.generate_state(1)[0]))
            embeddings = self.model(views.flatten(0, 1))
        try:
            loss = self.loss(
                embeddings.unflatten(0, views.shape[:2]),
                batch.labels.to(self.fabric.device),
                batch.instances.to(self.fabric.device),
            )
        except InputError as error:
            raise InputError(
                error.expected, f"{error.found} at step {number}", error.remedy
            ) from error
        if not bool(torch.isfinite(loss)):
            raise InputError(
                "a finite loss",
                f"a loss of {float(loss):g} at step {number}",
                "lower optimiser.learning_rate, add warmup_epochs or clip, or train in fp32",
            )
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimiser.step()
        terms = self.loss.last
        assert terms is not None  # the loss was called a moment ago
        values = {"loss": float(terms.loss)}
        if terms.supervised is not None:
            values["supervised"] = float(terms.supervised)
        if terms.self_supervised is not None:
            values["self_supervised"] = float(terms.self_supervised)
        lacking = terms.supervised_anchors_without_positives
        return values | {"anchors_without_positives": float(lacking)}
