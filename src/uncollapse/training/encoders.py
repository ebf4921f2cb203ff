"""Encoders: a backbone and a projection head (torch, timm)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.training._weights import load_weights, weights_path
from uncollapse.training.config import EncoderConfig, HeadConfig

CONVNET_WIDTHS = (32, 64, 128)
MLP_WIDTHS = (512, 512)


class Encoder(nn.Module):
    """Backbone and projection head.

    Attributes:
        backbone: From inputs to (N, width) features.
        head: From features to (N, d) embeddings, not normalised.
        frozen: Whether the backbone is left as it is.
    """

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
        """(N, d) embeddings."""
        return self.layers(inputs)["projector"]

    def layers(self, inputs: Tensor) -> dict[str, Tensor]:
        """Outputs of both layers by name: "backbone" (N, width) and "projector" (N, d)."""
        features = self.backbone(inputs)
        return {"backbone": features, "projector": self.head(features)}


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; every module's mode is restored after.

    Batch norm then uses its running statistics and does not change them, dropout is off, and no
    random number is drawn.
    """
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
    """The encoder that a configuration asks for, with its initial weights.

    Args:
        encoder: The backbone.
        head: The projection head.
        shape: Of one input: (C, H, W) or (D,).
        seed: Of the initial weights; the global generator is left as it was.
        base: Folder that a relative path of pretrained weights refers to.

    Raises:
        InputError: A backbone for another kind of input, an unknown model, unusable weights.

    Examples:
        >>> model = build_encoder(EncoderConfig(kind="mlp"), HeadConfig(), (64,), seed=0)
        >>> model(torch.zeros(2, 64)).shape
        torch.Size([2, 128])
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
    if config.kind == "mlp":
        widths = config.widths or MLP_WIDTHS
        layers: list[nn.Module] = []
        for before, after in pairwise((shape[0], *widths)):
            layers += [nn.Linear(before, after), *_norm(config.norm, after, 1), nn.ReLU()]
        return nn.Sequential(*layers), widths[-1]
    if config.kind == "convnet":
        widths = config.widths or CONVNET_WIDTHS
        layers = []
        for before, after in pairwise((shape[0], *widths)):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1)
            layers += [convolution, *_norm(config.norm, after, 2), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), widths[-1]
    return _timm(config, shape)


def _norm(kind: str, width: int, dimensions: int) -> list[nn.Module]:
    if kind == "none":
        return []
    if kind == "batch":
        return [nn.BatchNorm1d(width) if dimensions == 1 else nn.BatchNorm2d(width)]
    if dimensions == 1:
        return [nn.LayerNorm(width)]
    groups = next(groups for groups in (8, 4, 2, 1) if width % groups == 0)
    return [nn.GroupNorm(groups, width)]


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
    model: nn.Module = timm.create_model(name, pretrained=False, in_chans=shape[0], num_classes=0)
    if config.kind == "resnet" and config.stem == "small":
        # As SimCLR and SupCon do on CIFAR: 32 px must not shrink to 8 before the first block.
        stem = nn.Conv2d(shape[0], 64, 3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        model.conv1, model.maxpool = stem, nn.Identity()
    with evaluation_mode(model):
        return model, int(model(torch.zeros(1, *shape)).shape[1])


def _head(config: HeadConfig, width: int) -> nn.Module:
    if config.layers == 0:
        return nn.Identity()
    if config.layers == 1:
        return nn.Linear(width, config.dimension)
    hidden = config.hidden or width
    norm: list[nn.Module] = [nn.BatchNorm1d(hidden)] if config.norm == "batch" else []
    return nn.Sequential(
        nn.Linear(width, hidden, bias=not norm),
        *norm,
        nn.ReLU(),
        nn.Linear(hidden, config.dimension),
    )
