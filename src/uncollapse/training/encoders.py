"""Encoders: a backbone and a projection head (torch, timm)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.training.config import EncoderConfig, HeadConfig
from uncollapse.training.weights import load_weights, weights_path

CONVNET_WIDTHS = (32, 64, 128)
MLP_WIDTHS = (512, 512)
MOST_WEIGHTS = 1 << 30  # 4 GiB


class Encoder(nn.Module):
    """From inputs to (N, width) features by `backbone`, and to (N, d) embeddings by `head`."""

    def __init__(self, backbone: nn.Module, head: nn.Module, *, frozen: bool = False) -> None:
        super().__init__()
        self.backbone, self.head, self.frozen = backbone, head, frozen
        if frozen:
            backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Encoder:
        """As in torch, but a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, d) embeddings, not normalised."""
        return self.layers(inputs)["projector"]

    def layers(self, inputs: Tensor) -> dict[str, Tensor]:
        """Outputs of both layers by name: "backbone" (N, width) and "projector" (N, d)."""
        features = self.backbone(inputs)
        return {"backbone": features, "projector": self.head(features)}


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """No gradients, no dropout, running statistics that stay; every module's mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def build_encoder(
    encoder: EncoderConfig,
    head: HeadConfig,
    shape: tuple[int, ...],
    *,
    seed: int,
    base: Path | None = None,
) -> Encoder:
    """The encoder that a configuration asks for, with the initial weights of a seed.

    The shape is that of one input, (C, H, W) or (D,); a relative path of pretrained weights refers
    to `base`. The global generator is left as it was.
    """
    wants_vector = encoder.kind == "mlp"
    if wants_vector != (len(shape) == 1):
        raise InputError(
            "an encoder for these inputs: mlp for vectors, any other kind for images",
            f"{encoder.kind} for inputs of shape {shape}",
            "change encoder.kind",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone, width = _backbone(encoder, shape)
        projection = _head(head, width)
    if encoder.weights is not None:
        load_weights(backbone, weights_path(encoder.weights, base), encoder.match)
    return Encoder(backbone, projection, frozen=encoder.frozen)


def _backbone(config: EncoderConfig, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    """The backbone and its width."""
    if config.kind not in ("mlp", "convnet"):
        return _timm(config, shape)
    flat = config.kind == "mlp"
    widths = config.widths or (MLP_WIDTHS if flat else CONVNET_WIDTHS)
    layers: list[nn.Module] = []
    _check_weights((shape[0], *widths), 1 if flat else 9, "encoder.widths")
    for before, after in pairwise((shape[0], *widths)):
        layer = nn.Linear(before, after) if flat else nn.Conv2d(before, after, 3, 2, padding=1)
        layers += [layer, *_norm(config.norm, after, flat), nn.ReLU()]
    pooling = [] if flat else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pooling), widths[-1]


def _check_weights(widths: tuple[int, ...], each: int, key: str) -> None:
    """Refuse layers of these widths whose weights no memory holds, before they are made."""
    count = each * sum(before * after for before, after in pairwise(widths))
    if count > MOST_WEIGHTS:
        raise InputError(f"at most {MOST_WEIGHTS:,} weights by {key}", f"{count:,}", "narrow it")


def _norm(kind: str, width: int, flat: bool) -> list[nn.Module]:
    if kind == "none":
        return []
    if kind == "batch":
        return [nn.BatchNorm1d(width) if flat else nn.BatchNorm2d(width)]
    groups = next(groups for groups in (8, 4, 2, 1) if width % groups == 0)
    return [nn.LayerNorm(width) if flat else nn.GroupNorm(groups, width)]


def _timm(config: EncoderConfig, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    import timm

    name = config.name or f"resnet{config.depth}"
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:3]
        raise InputError(
            "the name of a timm model",
            repr(name),
            f"for example {', '.join(near)}" if near else "see timm.list_models()",
        )
    model = _created(name, shape)
    if config.kind == "resnet" and config.stem == "small":
        # As SimCLR and SupCon do on CIFAR: 32 px must not shrink to 8 before the first block.
        stem = nn.Conv2d(shape[0], 64, 3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        model.conv1, model.maxpool = stem, nn.Identity()
    with _fitting(name, shape), evaluation_mode(model):
        return model, int(model(torch.zeros(1, *shape)).shape[1])


def _created(name: str, shape: tuple[int, ...]) -> nn.Module:
    """The model without a classifier; one of a fixed image size is made for these images."""
    import timm

    published = timm.get_pretrained_cfg(name)
    size: dict[str, Any] = {}
    if published is not None and published.fixed_input_size:
        size = {"img_size": shape[1:]}
    with _fitting(name, shape):
        model: nn.Module = timm.create_model(
            name,
            pretrained=False,
            in_chans=shape[0],
            num_classes=0,
            **size,
        )
        return model


@contextmanager
def _fitting(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    """timm's models raise anything for a size that they cannot take."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"a timm model for images of {shape[1]} x {shape[2]} pixels",
            f"{name}, which says: {reason}",
            "set data.image.size to the model's own size, or choose another encoder.name",
        ) from error


def _head(config: HeadConfig, width: int) -> nn.Module:
    if config.layers == 0:
        return nn.Identity()
    if config.layers == 1:
        return nn.Linear(width, config.dimension)
    hidden = config.hidden or width
    _check_weights((width, hidden, config.dimension), 1, "head.hidden and head.dimension")
    norm: list[nn.Module] = [nn.BatchNorm1d(hidden)] if config.norm == "batch" else []
    return nn.Sequential(
        nn.Linear(width, hidden, bias=not norm),
        *norm,
        nn.ReLU(),
        nn.Linear(hidden, config.dimension),
    )
