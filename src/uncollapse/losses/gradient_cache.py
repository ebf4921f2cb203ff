"""A batch larger than the encoder's memory: the gradient of the whole batch, chunk by chunk."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from uncollapse.errors import InputError

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
    chunks = _read_chunks(chunks)
    call = embed or (lambda module, chunk: module(chunk))
    # Wherever they are: compiled, in a Fabric module, in a module of the caller's.
    parallels = [part for part in encoder.modules() if isinstance(part, DistributedDataParallel)]
    bare = cast(nn.Module, encoder.module) if encoder in parallels else encoder
    _check_exchanges(encoder, len(chunks))
    devices = sorted({weight.get_device() for weight in bare.parameters() if weight.is_cuda})
    states, parts = [], []
    with torch.no_grad(), _buffers_restored(bare), _silent(parallels):
        for chunk in chunks:
            states.append(_RandomState.now(devices))
            parts.append(call(bare, chunk))
    # Under autocast the first pass has cached casted weights that know no gradient.
    torch.clear_autocast_cache()
    embeddings = torch.cat(parts).detach().requires_grad_()
    sizes = [len(part) for part in parts]
    del parts
    loss = loss_of(embeddings)
    _check_loss(loss)
    torch.autograd.backward(scale(loss) if scale else loss)
    if embeddings.grad is None:
        raise InputError("a loss that depends on the embeddings", "a loss that does not", _REMEDY)
    rows = zip(
        embeddings.detach().split_with_sizes(sizes),
        embeddings.grad.split_with_sizes(sizes),
        strict=True,
    )
    for index, (chunk, state, (first, gradient)) in enumerate(
        zip(chunks, states, rows, strict=True)
    ):
        with _no_sync(parallels if index + 1 < len(chunks) else []), state.replayed():
            again = call(encoder, chunk)
            _check_second_pass(first, again, index)
            torch.autograd.backward(again, gradient)
    return loss.detach()


def _read_chunks(chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
    remedy = "split the batch with tensor.split(size)"
    if isinstance(chunks, Tensor):
        raise InputError("a sequence of chunks", "one tensor", remedy)
    chunks = tuple(chunks)
    if not chunks:
        raise InputError("at least one chunk", "none", remedy)
    if not torch.is_grad_enabled():
        raise InputError(
            "gradients to be enabled",
            "a call under torch.no_grad() or torch.inference_mode()",
            "call backward_in_chunks outside of it",
        )
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


@dataclass(frozen=True)
class _RandomState:
    """The global generators: torch's, those of its devices, numpy's and Python's."""

    cpu: Tensor
    gpus: dict[int, Tensor]
    numpy: Any
    python: Any

    @classmethod
    def now(cls, devices: Iterable[int]) -> _RandomState:
        """As they are."""
        gpus = {device: torch.cuda.get_rng_state(device) for device in devices}
        legacy = np.random.get_state()  # noqa: NPY002  (the global one is what encoders draw from)
        return cls(torch.get_rng_state(), gpus, legacy, random.getstate())

    def _set(self) -> None:
        torch.set_rng_state(self.cpu)
        for device, state in self.gpus.items():
            torch.cuda.set_rng_state(state, device)
        np.random.set_state(self.numpy)  # noqa: NPY002  (as above)
        random.setstate(self.python)

    @contextlib.contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw from this state inside the block, and go on from where we were after it."""
        before = self.now(self.gpus)
        try:
            self._set()
            yield
        finally:
            before._set()


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
