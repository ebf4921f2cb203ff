"""Value and gradient of an objective, for autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses.batch import Batch, Options, check_batch, lay_out
from uncollapse.losses.grouping import Grouping
from uncollapse.losses.objective import Part
from uncollapse.losses.samples import precise_dtype
from uncollapse.losses.workers import alone

__all__ = ["evaluate"]

# The value of the loss and its gradient.
_Results = tuple[Tensor, Tensor | None]


def evaluate(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None,
    options: Options,
    parts_of: Callable[[Grouping], Sequence[Part]],
) -> tuple[Tensor, list[Tensor]]:
    """The loss, part of the caller's graph, and the values of its terms, which are not.

    The gradient is computed along with the value, because both come from the same tiles; only
    gradient and embeddings live until the backward pass. Without a need for it, it is left out.
    """
    run = _evaluate
    if torch.compiler.is_compiling():
        # Opaque to the compiler. As a decorator this would import the compiler for everybody.
        disable: Callable[[Any], Any] = torch.compiler.disable
        run = disable(_evaluate)
    return run(embeddings, labels, instances, options, parts_of)


def _evaluate(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None,
    options: Options,
    parts_of: Callable[[Grouping], Sequence[Part]],
) -> tuple[Tensor, list[Tensor]]:
    checked = check_batch(embeddings, labels, instances, options)
    flat = checked.samples.embeddings
    wanted = torch.is_grad_enabled() and flat.requires_grad
    values: list[Tensor] = []

    def run(rows: Tensor) -> _Results:
        with alone(rows.device) as threads:
            return compute(lay_out(rows, checked, options, threads))

    def compute(batch: Batch) -> _Results:
        dtype = batch.layout.rows.dtype
        gradient = torch.zeros_like(batch.layout.rows) if wanted else None
        total = batch.layout.rows.new_zeros((), dtype=precise_dtype(batch.layout.rows.device))
        for part in parts_of(batch.layout.grouping):
            for term, value in zip(part.terms, part.evaluate(batch, gradient), strict=True):
                total.add_(value, alpha=term.weight)
                values.append(value.to(dtype))
        return total.to(dtype), None if gradient is None else batch.pull_back(gradient)

    apply: Callable[..., Tensor] = _Evaluated.apply
    return apply(flat, run), values


class _Evaluated(torch.autograd.Function):
    """The value of `run(embeddings)`; its gradient is what `run` returned with it."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, run: Callable[[Tensor], _Results]) -> Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            loss, gradient = run(embeddings.detach())
        ctx.save_for_backward(embeddings, gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        embeddings, gradient = ctx.saved_tensors
        apply: Callable[..., Tensor] = _Gradient.apply
        return apply(upstream, embeddings, gradient), None


class _Gradient(torch.autograd.Function):
    """upstream * gradient, and a clear error for whoever differentiates that again."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor, embeddings: Tensor, gradient: Tensor) -> Tensor:
        with alone(embeddings.device):
            return (gradient * upstream).to(embeddings.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> None:
        raise InputError(
            "first derivatives of the loss",
            "a second derivative",
            "the tiled loss has none; use a dense implementation where you need it",
        )
