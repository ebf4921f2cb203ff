"""The losses as operators that torch.compile takes whole, without a break in its graph."""

# No future annotations: the operator's schema is read from the types themselves.
from dataclasses import dataclass
from typing import Any, Optional, cast

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import (
    Backend,
    Checks,
    Degenerate,
    Ids,
    Options,
    Precision,
)
from uncollapse.losses._engine.beside import ClassWeights, compute_kept
from uncollapse.losses._engine.choice import is_traceable
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.objective import compute, evaluate
from uncollapse.losses._engine.prepared import PreparedReference
from uncollapse.losses._engine.samples import as_tensor
from uncollapse.losses.degenerate import warn_of
from uncollapse.losses.terms import supcl_definition
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass, Reduction, SelfPairs

_NOT_IN_A_GRAPH = ("gather", "process_group", "track")


@torch.library.custom_op("uncollapse::supcl_loss", mutates_args=())
def supcl_operator(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None,
    alpha: float,
    temperature: float,
    self_pairs: str,
    reduction: str,
    anchors_without_positives: str,
    one_class: str,
    degenerate: str,
    normalize: bool,
    tile_size: int | None,
    backend: str,
    checks: str | None,
    precision: str,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """The loss and its gradient in the embeddings, which is empty where it is not asked for."""
    conventions = Conventions(
        cast(SelfPairs, self_pairs),
        cast(Reduction, reduction),
        cast(AnchorsWithoutPositives, anchors_without_positives),
        cast(OneClass, one_class),
    )
    definition = supcl_definition(alpha, conventions)
    options = Options(
        temperature,
        normalize,
        tile_size=tile_size,
        degenerate=cast(Degenerate, degenerate),
        backend=cast(Backend, backend),
        checks=cast(Checks | None, checks),
        precision=cast(Precision, precision),
    )
    _, computed = compute(
        embeddings, labels, instances, definition, options, with_gradient=with_gradient
    )
    if computed.shown.lacks is not None:
        warn_of(computed.shown.lacks)
    gradient = embeddings.new_empty(0)
    if computed.gradient is not None:
        gradient = computed.gradient.to(embeddings.dtype).view_as(embeddings)
    return computed.shown.loss, gradient


@supcl_operator.register_fake
def _shapes(embeddings: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    gradient = torch.empty_like(embeddings) if rest[-1] else embeddings.new_empty(0)
    return embeddings.new_empty((), dtype=dtype), gradient


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


def _backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Any, ...]:
    (gradient,) = ctx.saved_tensors
    others = len(ctx.needs_input_grad) - 1
    return ((gradient * upstream).to(gradient.dtype), *(None,) * others)


supcl_operator.register_autograd(_backward, setup_context=_keep)


@torch.library.custom_op("uncollapse::retention_loss", mutates_args=())
def retention_operator(
    embeddings: Tensor,
    reference: Tensor,
    is_prepared: bool,
    labels: Tensor,
    instances: Tensor | None,
    reduction: str,
    degenerate: str,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """1 - retention and its gradient in the embeddings, which is empty where not asked for."""
    _, kept = compute_kept(
        embeddings,
        PreparedReference(reference, 1.0, reference.shape[-1]) if is_prepared else reference,
        labels,
        instances,
        cast(ClassWeights, reduction),
        Options(1.0, normalize=True, degenerate=cast(Degenerate, degenerate)),
        with_gradient=with_gradient,
    )
    gradient = embeddings.new_empty(0)
    if kept.gradient is not None:
        gradient = kept.gradient.to(embeddings.dtype).view_as(embeddings)
    return kept.loss, gradient


retention_operator.register_fake(_shapes)
retention_operator.register_autograd(_backward, setup_context=_keep)


# What `SupCLLoss` is defined by: the arguments of `supcl_terms` after the batch.
Settings = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """What a compiler cannot look into, made before it comes."""

    settings: Settings  # What it was made of; they may have been changed since.
    definition: Definition
    options: Options

    @classmethod
    def of(cls, settings: Settings) -> Optional["Prepared"]:
        """None where the compiler never comes: alpha follows a schedule, or tau is learned."""
        alpha, temperature = settings["alpha"], settings["temperature"]
        if callable(alpha) or not isinstance(temperature, float):
            return None
        names = ("self_pairs", "reduction", "anchors_without_positives", "one_class")
        conventions = Conventions(*(settings[name] for name in names))
        options = Options(**{k: v for k, v in settings.items() if k not in ("alpha", *names)})
        return cls(settings, supcl_definition(alpha, conventions), options)


def in_a_graph(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None,
    reference: Tensor | PreparedReference | None,
    settings: Settings,
    keep: float,
    prepared: Prepared | None,
) -> Tensor:
    """`SupCLLoss` where it is compiled: operations seen through, or operators of ours."""
    labels = None if labels is None else as_tensor("labels", labels)
    instances = None if instances is None else as_tensor("instances", instances)
    with_gradient = torch.is_grad_enabled() and embeddings.requires_grad
    is_as_made = prepared is not None and prepared.settings == settings
    if (
        prepared is not None
        and is_as_made
        and is_traceable(embeddings, prepared.definition, prepared.options)
    ):
        loss = evaluate(embeddings, labels, instances, prepared.definition, prepared.options).loss
    else:
        others = {k: v for k, v in settings.items() if k not in _NOT_IN_A_GRAPH}
        batch = embeddings, labels, instances
        loss, _ = supcl_operator(*batch, **others, with_gradient=with_gradient)
    if keep and reference is not None and labels is not None:
        is_prepared = isinstance(reference, PreparedReference)
        kept = retention_operator(
            embeddings,
            reference.rows if isinstance(reference, PreparedReference) else reference,
            is_prepared,
            labels,
            instances,
            settings["reduction"],
            settings["degenerate"],
            with_gradient,
        )
        loss = loss + keep * kept[0]
    return loss
