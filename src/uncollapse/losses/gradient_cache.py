"""A batch larger than the encoder's memory: the gradient of the whole batch, chunk by chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from uncollapse.errors import InputError

Chunk = TypeVar("Chunk")


def backward_in_chunks(
    encoder: nn.Module,
    chunks: Sequence[Chunk],
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
    random in the encoder (dropout) draws the same numbers in 3 as in 1, and 1 leaves no trace in
    its buffers, so batch norm's running statistics are updated once per chunk. Batch norm in
    training mode still normalises by the statistics of a chunk, not of the batch: its gradient is
    that of an encoder which does so. Layer and group norm have no such dependence. Under
    DistributedDataParallel gradients are exchanged once, after the last chunk.

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
        InputError: There is no chunk, gradients are disabled, or `loss_of` does not give a scalar
            that depends on z.

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
    if len(chunks) == 0:
        raise InputError("at least one chunk", "none", "split the batch with tensor.split(size)")
    if not torch.is_grad_enabled():
        raise InputError(
            "gradients to be enabled",
            "a call under torch.no_grad() or torch.inference_mode()",
            "call backward_in_chunks outside of it",
        )
    call = embed or (lambda module, chunk: module(chunk))
    # The first pass must exchange nothing between processes, the last chunk's backward must.
    parallel = encoder if isinstance(encoder, DistributedDataParallel) else None
    bare = cast(nn.Module, parallel.module) if parallel else encoder
    devices = sorted({weight.get_device() for weight in bare.parameters() if weight.is_cuda})
    states, parts = [], []
    with torch.no_grad(), _buffers_restored(bare):
        for chunk in chunks:
            gpus = {device: torch.cuda.get_rng_state(device) for device in devices}
            states.append((torch.get_rng_state(), gpus))
            parts.append(call(bare, chunk))
    # Under autocast the first pass has cached casted weights that know no gradient.
    torch.clear_autocast_cache()
    embeddings = torch.cat(parts).detach().requires_grad_()
    sizes = [len(part) for part in parts]
    del parts
    loss = loss_of(embeddings)
    remedy = "compute the loss from the embeddings that loss_of is given"
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        given = type(loss).__name__
        if isinstance(loss, Tensor):
            given = f"shape {tuple(loss.shape)}, requires_grad = {loss.requires_grad}"
        expected = "loss_of to give a scalar with a gradient in the embeddings"
        raise InputError(expected, given, remedy)
    torch.autograd.backward(scale(loss) if scale else loss)
    if embeddings.grad is None:
        raise InputError("a loss that depends on the embeddings", "a loss that does not", remedy)
    gradients = embeddings.grad.split_with_sizes(sizes)
    for index, (chunk, state, gradient) in enumerate(zip(chunks, states, gradients, strict=True)):
        is_last = index + 1 == len(chunks)
        context = parallel.no_sync() if parallel and not is_last else contextlib.nullcontext()
        with context, _replayed(*state):
            torch.autograd.backward(call(encoder, chunk), gradient)
    return loss.detach()


@contextlib.contextmanager
def _replayed(cpu: Tensor, gpus: dict[int, Tensor]) -> Iterator[None]:
    """Draw from these states inside the block, and go on from where we were after it."""
    with torch.random.fork_rng(devices=list(gpus)):
        torch.set_rng_state(cpu)
        for device, state in gpus.items():
            torch.cuda.set_rng_state(state, device)
        yield


@contextlib.contextmanager
def _buffers_restored(module: nn.Module) -> Iterator[None]:
    """Undo what happens to the module's buffers inside the block (running statistics, counters).

    A buffer that was assigned anew, and not changed in place, is the old tensor again after it.
    """
    buffers = [
        (owner, name, buffer, buffer.clone())
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for owner, name, buffer, before in buffers:
                setattr(owner, name, buffer.copy_(before))
