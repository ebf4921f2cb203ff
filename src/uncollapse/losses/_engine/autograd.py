"""From a loss's definition and a batch to its value and gradient, for autograd."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import Options, precise_dtype
from uncollapse.losses._engine.batch import check_batch, lay_out
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.objective import evaluate_terms
from uncollapse.losses._engine.pair_weights import TermPairs, weigh_pairs
from uncollapse.losses._engine.threads import single_threaded


@dataclass(frozen=True)
class Evaluated:
    """A loss of a batch."""

    loss: Tensor  # Scalar, part of the caller's graph.
    terms: list[TermPairs]
    values: list[Tensor]  # Scalars, of the terms, not part of it.


def evaluate(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None,
    definition: Definition,
    options: Options,
) -> Evaluated:
    """The loss of a batch.

    The gradient is computed along with the value, because both come from the same tiles; only
    gradient and embeddings live until the backward pass. Without a need for it, it is left out.
    """
    if torch.compiler.is_compiling():
        # Opaque to the compiler. As a decorator this would import the compiler for everybody.
        disable: Callable[[Any], Any] = torch.compiler.disable
        opaque: Evaluated = disable(evaluate)(embeddings, labels, instances, definition, options)
        return opaque
    # Equal for equal losses, whatever the process and the machine.
    fingerprint = zlib.crc32(repr((options.temperature, options.normalize, definition)).encode())
    checked = check_batch(embeddings, labels, instances, options, fingerprint)
    flat = checked.samples.embeddings
    needs_gradient = torch.is_grad_enabled() and flat.requires_grad
    terms: list[TermPairs] = []
    values: list[Tensor] = []

    def run(rows: Tensor) -> tuple[Tensor, Tensor | None]:
        with single_threaded(rows.device) as threads:
            batch = lay_out(rows, checked, threads)
            rows = batch.layout.rows
            gradient = torch.zeros_like(rows) if needs_gradient else None
            terms.extend(weigh_pairs(definition, batch.layout.grouping))
            total = rows.new_zeros((), dtype=precise_dtype(rows.device))
            for pairs, value in zip(terms, evaluate_terms(batch, terms, gradient), strict=True):
                total.add_(value, alpha=pairs.term.weight)
                values.append(value.to(rows.dtype))
            pulled = None if gradient is None else batch.pull_back(gradient)
            return total.to(rows.dtype), pulled

    apply: Callable[..., Tensor] = _Loss.apply
    return Evaluated(apply(flat, run), terms, values)


class _Loss(torch.autograd.Function):
    """The value of `run(embeddings)`; its gradient is what `run` returned with it."""

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, run: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    ) -> Tensor:
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
        with single_threaded(embeddings.device):
            return (gradient * upstream).to(embeddings.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> None:
        raise InputError(
            "first derivatives of the loss",
            "a second derivative",
            "the tiled loss has none; use a dense implementation where you need it",
        )
