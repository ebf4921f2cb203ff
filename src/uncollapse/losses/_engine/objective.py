"""The engine's door: a loss's definition and a batch to value and gradient, for autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import Ids, Options
from uncollapse.losses._engine.batch import Checked, read_batch
from uncollapse.losses._engine.checks import judge_earlier
from uncollapse.losses._engine.choice import is_traceable
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.dense import evaluate_dense
from uncollapse.losses._engine.fused import evaluate_fused
from uncollapse.losses._engine.result import Computed, Evaluated
from uncollapse.losses._engine.threads import single_threaded
from uncollapse.losses._engine.tiled import evaluate_tiled

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_BACKENDS: dict[str, Callable[[Checked, Definition, bool], Computed]] = {
    "dense": evaluate_dense,
    "tiled": evaluate_tiled,
    "fused": evaluate_fused,
}


def evaluate(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None,
    definition: Definition,
    options: Options,
    temperature: Tensor | None = None,
) -> Evaluated:
    """The loss of a batch, and its gradient if it is needed, because both come from the same walk.

    Only gradient and embeddings live until the backward pass. `temperature` is what a learned one
    (`options.learned`) comes from.
    """
    if torch.compiler.is_compiling():
        if not is_traceable(embeddings, definition, options):
            arguments = (embeddings, labels, instances, definition, options, temperature)
            alone: Evaluated = opaque(evaluate)(*arguments)
            return alone
    else:
        check_mode(embeddings)
        judge_earlier()
    flat, computed = compute(embeddings, labels, instances, definition, options)
    learned = None
    if temperature is not None and computed.slope is not None:
        learned = -temperature.reshape(()).log().to(flat.device), computed.slope
    loss = with_known_gradient(flat, computed.shown.loss, computed.gradient, learned)
    return replace(computed.shown, loss=loss)


def not_compiled(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """The function, which breaks a graph where the compiler would trace it."""

    @wraps(function)
    def called(*args: Arguments.args, **options: Arguments.kwargs) -> Answer:
        if torch.compiler.is_compiling():
            alone: Answer = opaque(function)(*args, **options)
            return alone
        return function(*args, **options)

    return called


def opaque(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a call that the compiler does not look into.

    As a decorator, what is used here would import the compiler for everybody.
    """
    if getattr(torch.compiler, "is_exporting", bool)():  # there is nothing to break out of
        raise InputError(
            "a model without its loss in torch.export",
            "a loss that is called as a function",
            "export the encoder alone",
        )
    disable: Callable[..., Any] = torch.compiler.disable
    disabled: Callable[..., Any] = disable(
        function, reason="with fullgraph=True use SupCLLoss(gather=False) of fixed temperature"
    )
    return disabled


def with_known_gradient(
    embeddings: Tensor,
    loss: Tensor,
    gradient: Tensor | None,
    learned: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """The loss as part of the embeddings' graph, and of log(1 / tau) with the slope in it."""
    apply: Callable[..., Tensor] = _Loss.apply
    return apply(embeddings, *(learned or (None, None)), [loss], gradient)


def check_mode(embeddings: Tensor) -> None:
    """Backward passes only: torch would refuse the others in its own words, or half way."""
    remedy = "use loss.backward() or torch.autograd.grad, or reference_supcl, which knows them all"
    if torch._C._are_functorch_transforms_active():
        expected = "a call outside of torch.func's transforms"
        raise InputError(expected, "one inside (grad, jacrev, jvp, vmap or another)", remedy)
    unpack: Callable[..., Any] = unpack_dual
    if isinstance(embeddings, Tensor) and unpack(embeddings).tangent is not None:
        raise InputError("a derivative by backward passes", "one in forward mode", remedy)


def compute(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None,
    definition: Definition,
    options: Options,
    *,
    with_gradient: bool | None = None,
) -> tuple[Tensor, Computed]:
    """The embeddings as (N, d) rows, and their loss; with its gradient where they ask for one."""
    checked = read_batch(embeddings, labels, instances, definition, options)
    flat = checked.samples.embeddings
    if with_gradient is None:
        with_gradient = options.learned or (torch.is_grad_enabled() and flat.requires_grad)
    with torch.no_grad(), torch.autocast(flat.device.type, enabled=False):
        return flat, _BACKENDS[checked.backend](checked, definition, with_gradient)


class _Loss(torch.autograd.Function):
    """A loss whose gradient in the embeddings, and in log(1 / tau) where learned, is known."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        log_inverse: Tensor | None,
        slope: Tensor | None,
        loss: list[Tensor],
        gradient: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(embeddings, gradient, log_inverse, slope)
        # Out of a list: as an argument it would be a view, which nobody may change in place.
        return loss[0]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        embeddings, gradient, log_inverse, slope = ctx.saved_tensors
        apply: Callable[..., Tensor] = _Gradient.apply
        of_temperature = None if slope is None else apply(upstream, log_inverse, slope)
        return apply(upstream, embeddings, gradient), of_temperature, None, None, None


class _Gradient(torch.autograd.Function):
    """upstream * gradient, and a clear error for whoever differentiates that again."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor, embeddings: Tensor, gradient: Tensor) -> Tensor:
        scaled = torch.empty_like(gradient, dtype=embeddings.dtype)
        with single_threaded(embeddings.device):
            return torch.mul(gradient, upstream, out=scaled)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> None:
        raise InputError(
            "first derivatives of the loss",
            "a second derivative",
            "this loss has none; use a dense implementation where you need it",
        )
