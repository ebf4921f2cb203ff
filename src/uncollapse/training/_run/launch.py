"""Device, precision and processes, by Lightning Fabric."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from uncollapse.errors import InputError
from uncollapse.training.config import TrainConfig


def make_fabric(config: TrainConfig) -> Any:
    """Fabric for this process; under torchrun, one of its processes."""
    import torch
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
    if fabric.world_size > 1 and _has_batch_norm(model):
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


def _has_batch_norm(model: nn.Module) -> bool:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return any(isinstance(module, kinds) and module.training for module in model.modules())
