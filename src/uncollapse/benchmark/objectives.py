"""Losses of methods by their names, as the trainer's loop takes an objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

import uncollapse.losses as losses
from uncollapse.benchmark.specs import Argument, MethodSpec
from uncollapse.errors import InputError, nearest
from uncollapse.training import Problem

BASE, SUPCL, CROSS_ENTROPY = "base", "supcl", "cross-entropy"
_NONE: Mapping[str, str] = {}


class CrossEntropy(nn.Module):
    """Softmax cross-entropy of a linear classifier on the embedding as the projector gives it.

        L = -mean_i log( exp(w_y z_i + b_y) / sum_c exp(w_c z_i + b_c) )

    Rows without label (-1) take no part.
    """

    def __init__(self, dimension: int, classes: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.linear = nn.Linear(dimension, classes)

    def forward(self, embeddings: Tensor, labels: Tensor, instances: Tensor) -> Tensor:
        """Of embeddings (n, p, d) and labels (n,)."""
        every = labels.repeat_interleave(embeddings.shape[1])
        scores = self.linear(embeddings.flatten(0, 1))
        return nn.functional.cross_entropy(scores, every, ignore_index=-1)


class Named(nn.Module):
    """A loss as a function of embeddings, labels and its arguments."""

    def __init__(self, loss: Callable[..., Tensor], arguments: Mapping[str, Argument]) -> None:
        super().__init__()
        self.loss, self.arguments = loss, dict(arguments)

    def forward(self, embeddings: Tensor, labels: Tensor, instances: Tensor) -> Tensor:
        """Of embeddings (n, p, d), labels (n,) and instances (n,)."""
        return self.loss(embeddings, labels, **self.arguments)


def loss_named(name: str, own: Mapping[str, str] = _NONE) -> Callable[..., Tensor]:
    """A function of `uncollapse.losses`, or one of one's own: name -> MODULE:FUNCTION.

    Raises:
        InputError: No such function.
    """
    if name in own:
        return _imported(name, own[name])
    every = [n for n in losses.__all__ if n.endswith("_loss") and "labels" in _arguments(n)]
    known = {n.removesuffix("_loss").replace("_", "-"): n for n in every}
    if name not in known:
        names = [BASE, SUPCL, CROSS_ENTROPY, *known, *own]
        near = nearest(name, names)
        remedy = f"did you mean {near}?" if near else f"name one of {', '.join(names)}"
        raise InputError("a loss by its name", repr(name), remedy)
    loss: Callable[..., Tensor] = getattr(losses, known[name])
    return loss


def _imported(name: str, place: str) -> Callable[..., Tensor]:
    module, _, function = place.partition(":")
    try:
        found: Any = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"a loss {name!r} that can be imported from {place!r}",
            str(error),
            "write MODULE:FUNCTION, and set PYTHONPATH to the module's folder",
        ) from error
    if not callable(found):
        raise InputError(f"a function {place!r}", type(found).__name__, "name a function")
    loss: Callable[..., Tensor] = found
    return loss


def check_loss(method: MethodSpec, own: Mapping[str, str] = _NONE) -> None:
    """Refuse a method whose loss there is not, or does not take its arguments.

    Those of supcl are keys of the training configuration, and cross-entropy and base have none.
    """
    given = [*method.arguments, *method.choices]
    if method.loss == SUPCL:
        return
    taken: list[str] = []
    if method.loss not in (BASE, CROSS_ENTROPY):
        loss = loss_named(method.loss, own)
        parameters = signature(loss).parameters
        if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            return
        taken = [*parameters][2:]
    for name in given:
        if name not in taken:
            near = nearest(name, taken)
            remedy = f"did you mean {near}?" if near else f"it takes {', '.join(taken) or 'none'}"
            raise InputError(f"arguments of the loss {method.loss}", repr(name), remedy)


def _arguments(name: str) -> Mapping[str, Any]:
    return signature(getattr(losses, name)).parameters


def objective_of(
    method: MethodSpec,
    arguments: Mapping[str, Argument],
    problem: Problem,
    own: Mapping[str, str] = _NONE,
) -> nn.Module | None:
    """What a method minimises; None where it is the configuration's own loss."""
    if method.loss == SUPCL:
        return None
    if method.loss == CROSS_ENTROPY:
        head, classes = problem.config.head, len(problem.data.label_names)
        return CrossEntropy(head.dimension, classes, problem.config.seed)
    return Named(loss_named(method.loss, own), arguments)
