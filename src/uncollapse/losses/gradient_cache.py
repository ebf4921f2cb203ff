"""A batch larger than the encoder's memory: the gradient of the whole batch, chunk by chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from uncollapse.errors import InputError
from uncollapse.losses.replay import RandomState, buffers_restored

Chunk = TypeVar("Chunk")
_REMEDY = "compute the loss from the embeddings that loss_of is given"


def backward_in_chunks(
    encoder: nn.Module,
    chunks: Iterable[Chunk],
    loss_of: Callable[[Tensor], Tensor],
    *,
    embed: Callable[[nn.Module, Chunk], Tensor] | None = None,
    scale: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Loss of a whole batch and its gradient in the encoder, with the memory of one chunk.

        1. embed each chunk without a graph,      z = [f(x_1), ..., f(x_k)]
        2. loss and its gradient in z,            g = dL/dz
        3. embed each chunk again, with a graph, and back-propagate its part of g.

    The encoder's parameters get the gradient of the full batch, for one forward pass more. What is
    random in the encoder (dropout) draws the same numbers in 3 as in 1 from the global generators
    of torch, numpy and Python, and 1 leaves no trace in its buffers, so batch norm's running
    statistics are updated once per chunk. That 3 gives the embeddings of 1 is checked, within the
    square root of the precision. Batch norm in training mode still normalises by the statistics of
    a chunk, not of the batch: its gradient is that of an encoder which does so. Layer and group
    norm have no such dependence. Under DistributedDataParallel, also inside of a compiled or
    another module, gradients are exchanged once, after the last chunk, however many chunks each
    process has.

    Args:
        encoder: The module whose parameters get gradients, in its current mode.
        chunks: Its inputs, split along the batch; every process must have at least one.
        loss_of: From the embeddings of all chunks, concatenated along the first dimension, to a
            scalar; for example `lambda z: supcl_loss(z, labels, alpha=0.5, temperature=0.1)`.
        embed: How the encoder is called on a chunk; by default `encoder(chunk)`.
        scale: Applied to the loss before its backward pass, for example `GradScaler.scale`.

    Returns:
        The loss (not scaled), without a graph. Gradients are added to `.grad`.

    Raises:
        InputError: There is no chunk, gradients are disabled, `loss_of` does not give a scalar
            that depends on z, no parameter of the encoder takes gradients, its second pass differs
            from the first (gradients of earlier chunks are then in `.grad`), or synchronised batch
            norm meets unequal numbers of chunks.

    Examples:
        >>> import torch
        >>> from uncollapse.losses import supcl_loss
        >>> encoder = torch.nn.Linear(8, 4)
        >>> inputs, labels = torch.randn(6, 8), torch.tensor([0, 0, 1, 1, 2, 2])
        >>> loss = backward_in_chunks(
        ...     encoder,
        ...     inputs.split(2),
        ...     lambda z: supcl_loss(z, labels, alpha=0, temperature=0.1),
        ... )
        >>> encoder.weight.grad.shape
        torch.Size([4, 8])

    References:
        Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
        2021 (arXiv 2101.06983).
    """
    if not torch.is_grad_enabled():
        raise InputError(
            "gradients to be enabled",
            "a call under torch.no_grad() or torch.inference_mode()",
            "call backward_in_chunks outside of it",
        )
    first = _first_pass(encoder, _read_chunks(chunks), embed)
    embeddings = first.embeddings.detach().requires_grad_()
    loss = loss_of(embeddings)
    _check_loss(loss)
    torch.autograd.backward(scale(loss) if scale else loss)
    if embeddings.grad is None:
        raise InputError("a loss that depends on the embeddings", "a loss that does not", _REMEDY)
    first.backward(embeddings.grad)
    return loss.detach()


def loss_in_chunks(
    encoder: nn.Module,
    chunks: Iterable[Chunk],
    loss_of: Callable[[Tensor], Tensor],
    *,
    embed: Callable[[nn.Module, Chunk], Tensor] | None = None,
) -> Tensor:
    """The loss of `backward_in_chunks`, for trainers that call its backward pass themselves.

    `loss.backward()` embeds the chunks again, under the autocast of this call, whatever the loss is
    scaled by, and gives gradients to parameters of `loss_of` too. Where gradients are disabled, it
    is the loss of the chunks' embeddings. Arguments and errors are those of `backward_in_chunks`.

    Returns:
        The loss, a scalar with a graph.

    Examples:
        >>> import torch
        >>> from uncollapse.losses import supcl_loss
        >>> encoder, inputs = torch.nn.Linear(8, 4), torch.randn(6, 8)
        >>> labels = torch.tensor([0, 0, 1, 1, 2, 2])
        >>> loss = loss_in_chunks(
        ...     encoder,
        ...     inputs.split(2),
        ...     lambda z: supcl_loss(z, labels, alpha=0, temperature=0.1),
        ... )
        >>> (loss / 4).backward()
        >>> encoder.weight.grad.shape
        torch.Size([4, 8])
    """
    chunks = _read_chunks(chunks)
    if not torch.is_grad_enabled():
        call = embed or _call
        return loss_of(torch.cat([call(encoder, chunk) for chunk in chunks]))
    first = _first_pass(encoder, chunks, embed)
    embeddings = first.embeddings.detach().requires_grad_()
    loss = loss_of(embeddings)
    _check_loss(loss)
    kind = embeddings.device.type
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)

    def again(gradient: Tensor) -> None:
        with torch.enable_grad(), torch.autocast(kind, dtype=dtype, enabled=enabled):
            first.backward(gradient)

    hook: Callable[[Callable[[Tensor], None]], Any] = embeddings.register_hook
    hook(again)
    return loss


def _call(module: nn.Module, chunk: Any) -> Tensor:
    embeddings: Tensor = module(chunk)
    return embeddings


@dataclass(frozen=True)
class _FirstPass:
    """Every chunk embedded without a graph, and what is needed to embed it again."""

    encoder: nn.Module
    chunks: tuple[Any, ...]
    call: Callable[[nn.Module, Any], Tensor]
    parallels: list[DistributedDataParallel]
    states: list[RandomState]
    sizes: list[int]
    embeddings: Tensor

    def backward(self, gradient: Tensor) -> None:
        """Embed each chunk again, with a graph, and back-propagate its part of the gradient."""
        parts = (self.embeddings, gradient)
        rows = zip(*(part.split_with_sizes(self.sizes) for part in parts), strict=True)
        for index, (chunk, state, (first, of_chunk)) in enumerate(
            zip(self.chunks, self.states, rows, strict=True)
        ):
            silent = self.parallels if index + 1 < len(self.chunks) else []
            with _no_sync(silent), state.replayed():
                again = self.call(self.encoder, chunk)
                _check_second_pass(first, again, index)
                torch.autograd.backward(again, of_chunk.to(again.dtype))


def _first_pass(
    encoder: nn.Module,
    chunks: tuple[Chunk, ...],
    embed: Callable[[nn.Module, Chunk], Tensor] | None,
) -> _FirstPass:
    call = embed or _call
    # Wherever they are: compiled, in a Fabric module, in a module of the caller's.
    parallels = [part for part in encoder.modules() if isinstance(part, DistributedDataParallel)]
    bare = cast(nn.Module, encoder.module) if encoder in parallels else encoder
    _check_exchanges(encoder, len(chunks))
    devices = sorted({weight.get_device() for weight in bare.parameters() if weight.is_cuda})
    states, parts = [], []
    with torch.no_grad(), buffers_restored(bare), _silent(parallels):
        for chunk in chunks:
            states.append(RandomState.now(devices))
            parts.append(_embeddings(call(bare, chunk)))
    # Under autocast the first pass has cached casted weights that know no gradient.
    torch.clear_autocast_cache()
    sizes = [len(part) for part in parts]
    return _FirstPass(encoder, chunks, call, parallels, states, sizes, torch.cat(parts))


def _embeddings(given: object) -> Tensor:
    if not isinstance(given, Tensor):
        raise InputError(
            "an encoder that gives a tensor of embeddings",
            type(given).__name__,
            "take them out by embed=lambda encoder, chunk: encoder(chunk)[...]",
        )
    return given


def _read_chunks(chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
    remedy = "split the batch with tensor.split(size)"
    if isinstance(chunks, Tensor):
        raise InputError("a sequence of chunks", "one tensor", remedy)
    chunks = tuple(chunks)
    if not chunks:
        raise InputError("at least one chunk", "none", remedy)
    return chunks


def _check_loss(loss: object) -> None:
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        return
    given = type(loss).__name__
    if isinstance(loss, Tensor):
        given = f"shape {tuple(loss.shape)}, requires_grad = {loss.requires_grad}"
    expected = "loss_of to give a scalar with a gradient in the embeddings"
    raise InputError(expected, given, _REMEDY)


def _check_exchanges(encoder: nn.Module, chunks: int) -> None:
    """Synchronised batch norm exchanges in every forward pass: no rank may have more of them."""
    for part in encoder.modules():
        if isinstance(part, nn.SyncBatchNorm) and part.training and dist.is_initialized():
            counts: list[Any] = [None] * dist.get_world_size(part.process_group)
            dist.all_gather_object(counts, chunks, group=part.process_group)
            if len(set(counts)) > 1:
                raise InputError(
                    "as many chunks on every process, with synchronised batch norm",
                    f"{counts}",
                    "split the batches alike, or use a norm of single samples (layer, group)",
                )
            return


def _check_second_pass(first: Tensor, again: Tensor, index: int) -> None:
    """The gradient is right only where the encoder says the same again."""
    if not again.requires_grad:
        raise InputError(
            "an encoder with parameters that take gradients",
            "embeddings without a graph",
            "unfreeze what is to be trained, or compute the loss of a frozen encoder directly",
        )
    tolerance = torch.finfo(first.dtype).eps ** 0.5
    if first.shape == again.shape:
        norms = torch.linalg.vector_norm(first, dim=-1) * tolerance
        if bool((torch.linalg.vector_norm(first - again.detach(), dim=-1) <= norms).all()):
            return
    raise InputError(
        "an encoder that gives the same embeddings for the same chunk again",
        f"others in the second pass over chunk {index}",
        "draw random numbers from the global generators of torch, numpy or random (not from one "
        "of the encoder's own) and keep no state that changes the output; then zero the gradients, "
        "of which a part has been added",
    )


@contextlib.contextmanager
def _no_sync(parallels: list[DistributedDataParallel]) -> Iterator[None]:
    """No gradients are exchanged inside the block."""
    with contextlib.ExitStack() as stack:
        for part in parallels:
            stack.enter_context(part.no_sync())
        yield


@contextlib.contextmanager
def _silent(parallels: list[DistributedDataParallel]) -> Iterator[None]:
    """Neither gradients nor buffers are exchanged inside the block; that comes later, and once."""
    before = [part.require_forward_param_sync for part in parallels]
    with _no_sync(parallels):
        for part in parallels:
            part.require_forward_param_sync = False
        try:
            yield
        finally:
            for part, value in zip(parallels, before, strict=True):
                part.require_forward_param_sync = value
