"""Encoders: a backbone and a projection head (torch, timm); weights are never unpickled."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.training.config import EncoderConfig, HeadConfig

CONVNET_WIDTHS = (32, 64, 128)
MLP_WIDTHS = (512, 512)
# Wrappers in which public checkpoints keep their state dict.
_INSIDE = ("state_dict", "model", "model_state_dict")
_UNREADABLE = (UnpicklingError, OSError, RuntimeError, ValueError, EOFError, KeyError)


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
        _load_weights(backbone, encoder, encoder.weights, base)
    return Encoder(backbone, projection, frozen=encoder.frozen)


def _backbone(config: EncoderConfig, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    """The backbone and its width."""
    if config.kind not in ("mlp", "convnet"):
        return _timm(config, shape)
    flat = config.kind == "mlp"
    widths = config.widths or (MLP_WIDTHS if flat else CONVNET_WIDTHS)
    layers: list[nn.Module] = []
    for before, after in pairwise((shape[0], *widths)):
        layer = nn.Linear(before, after) if flat else nn.Conv2d(before, after, 3, 2, padding=1)
        layers += [layer, *_norm(config.norm, after, flat), nn.ReLU()]
    pooling = [] if flat else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pooling), widths[-1]


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


def _load_weights(model: nn.Module, config: EncoderConfig, given: str, base: Path | None) -> None:
    """Load every parameter and buffer of a model from a file.

    Tensors are matched by "name" (what the model has no place for, such as a classifier, is left
    out), or by "order", each of the same shape as its counterpart.
    """
    path = _weights_path(given, base)
    tensors, wanted = _tensors(path), model.state_dict()
    if config.match == "order":
        # Counters of batch norm do not count: older files have none.
        names = [name for name in wanted if not name.endswith("num_batches_tracked")]
        tensors = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
        if len(tensors) < len(names):
            raise InputError(
                f"{len(names)} tensors in {path}", f"{len(tensors)}", "give weights of this model"
            )
        tensors = wanted | dict(zip(names, tensors.values(), strict=False))
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise InputError(
            f"all {len(wanted)} tensors of the model in {path}",
            f"{len(missing)} missing, the first {missing[0]!r}",
            "give weights of this model, or match: order where only names differ",
        )
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise InputError(
                f"shape {tuple(tensor.shape)} for {name!r} in {path}",
                f"{tuple(tensors[name].shape)}",
                "give weights of this model, with as many input channels",
            )
    model.load_state_dict({name: tensors[name] for name in wanted})


def _weights_path(given: str, base: Path | None) -> Path:
    """Where a file of weights is: a path from `base`, or "package:NAME/FILE" in a package."""
    if not given.startswith("package:"):
        return Path(given) if base is None else base / given
    name, _, file = given.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the installed package {name}, for {given!r}",
            "an environment without it",
            f"pip install {name.replace('_', '-')}",
        )
    return Path(next(iter(spec.submodule_search_locations))) / file


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"a file of weights at {path}", "none", "check encoder.weights")
    try:
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (*_UNREADABLE, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"weights in {path} that load without unpickling", reason, "save them as safetensors"
        ) from error
    for key in _INSIDE:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if state else {}
    if not tensors:
        raise InputError(f"a state dict in {path}", "no tensors by name", "save model.state_dict()")
    return tensors
