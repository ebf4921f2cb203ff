"""Measure a model while it trains, and leave it as it was found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, Margins
from uncollapse.records import Measurement, Prediction

Embed = Callable[[Any, Any], tuple[Any, ...]]
# What torch's cross-entropy (`ignore_index`) and Hugging Face mark a row without a label by.
_IGNORED = -100

# Up to this dimension intervals are exact: (d + 6)^2 numbers a class; above it, from 16 blocks.
_EXACT_DIMENSION = 256


@contextmanager
def _undisturbed(model: nn.Module, dropout: bool) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; after it the model is as before.

    With `dropout` torch's dropout modules stay on.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, tensor, None if tensor is None else tensor.detach().clone())
        for module in model.modules()
        for name, tensor in module._buffers.items()
    ]
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  (kept, never drawn from)
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch's has no types
    devices = list(range(torch.cuda.device_count())) if in_use else []
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            model.eval()
            for module in model.modules():
                if dropout and isinstance(module, _DropoutNd):
                    module.train()
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002  (put back as it was)
        with torch.no_grad():
            for module, name, tensor, values in buffers:
                module._buffers[name] = tensor
                if tensor is not None and values is not None:
                    tensor.copy_(values)
        for module, mode in modes:
            module.training = mode


def measure_model(
    model: nn.Module,
    batches: Iterable[Any],
    embed: Embed,
    *,
    prediction: Prediction | Mapping[str, Any] | None = None,
    margins: Margins | None = None,
    confidence: float = 0.95,
    layer: str | None = None,
    split: str | None = None,
    sharded: bool = False,
    dropout: bool = False,
) -> Measurement:
    """Embed batches in evaluation mode and measure them; the model is left as it was found.

    Args:
        model: The model. Restored are every module's mode, every buffer (its tensor and its values)
            and the random state of Python, NumPy and torch (the CPU's, and that of CUDA devices in
            use). Batches are moved to its device; the model is not moved.
        batches: What `embed` takes: a DataLoader, or any iterable that ends.
        embed: (model, batch) -> (embeddings, labels) or (embeddings, labels, instances), shaped as
            in `measure`: (N, d), or (N, p, d) for p views of each of N instances. Of labels in a
            tensor, -100, which cross-entropy ignores, is read as -1, unlabelled.
        prediction: What theory predicts for the run's setting.
        margins: Where collapse begins, and what counts as kept.
        confidence: Of every interval.
        layer: Name of the layer, for the record.
        split: Name of the data split, for the record.
        sharded: With several processes (`torch.distributed`): whether each has its own share of the
            batches, as with a DistributedSampler. Otherwise all are given the same batches in the
            same order, and each embeds its part. Every process must call, and gets the whole.
        dropout: Keep dropout modules (`torch.nn.Dropout` and its kin) on, for an `embed` whose
            views are passes of the same inputs. Without it they coincide, view variance is None
            and it is said (UC513). The variances are then those of embeddings with dropout.

    Returns:
        The record. Intervals are exact up to dimension 256, above it from blocks. Rows that are not
        finite and classes of one instance are left out and counted (`conditions["dropped"]`).

    Raises:
        InputError: Fewer than two classes of two instances; an `embed` that returns other things.

    Examples:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout())
        >>> batch = torch.eye(4).repeat(10, 1), torch.arange(40) % 2
        >>> record = measure_model(model, [batch], lambda model, batch: (model(batch[0]), batch[1]))
        >>> record.conditions.samples, model.training
        (40, True)
    """
    whole = _gathered(model, batches, unlabelled_where_ignored(embed), sharded, dropout)
    return whole.measurement(
        prediction=prediction, margins=margins, confidence=confidence, layer=layer, split=split
    )


def unlabelled_where_ignored(embed: Embed) -> Embed:
    """The same function, labels (N, 1) as (N,), with -1 for -100, which `measure` would refuse."""

    def embed_and_mark(model: Any, batch: Any) -> Any:
        columns = embed(model, batch)
        if not isinstance(columns, tuple) or len(columns) < 2:
            return columns
        labels = columns[1]
        with suppress(TypeError, ValueError, RuntimeError):  # words, which `measure` takes
            labels = torch.as_tensor(labels)
        if isinstance(labels, torch.Tensor) and not labels.is_complex():
            labels = labels.squeeze(1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
            labels = labels.masked_fill(labels == _IGNORED, -1) if labels.is_signed() else labels
        return columns[0], labels, *columns[2:]

    return embed_and_mark


def _gathered(
    model: nn.Module, batches: Iterable[Any], embed: Embed, sharded: bool, dropout: bool
) -> Accumulator:
    """What all processes have accumulated, in each of them."""
    processes, part = _processes(), own_part(sharded)
    mine: Accumulator | InputError
    try:
        mine = accumulated(model, batches, part, embed, dropout)
    except InputError as error:
        # Not raised before the others know: they would wait for this process for ever.
        mine = error
    gathered: list[Any] = [mine] * processes
    if processes > 1:
        torch.distributed.all_gather_object(gathered, mine)
    for state in gathered:
        if isinstance(state, InputError):
            raise state
    whole: Accumulator = gathered[0]
    for state in gathered[1:]:
        whole.merge(state)
    return whole


def _processes() -> int:
    """How many processes there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def own_part(sharded: bool) -> tuple[int, int]:
    """This process's first batch, and how many there are to its next."""
    processes = _processes()
    if sharded or processes == 1:
        return 0, 1
    return torch.distributed.get_rank(), processes


def accumulated(
    model: nn.Module,
    batches: Iterable[Any],
    part: tuple[int, int],
    embed: Embed,
    dropout: bool = False,
) -> Accumulator:
    """Every n-th of the batches of n processes, from this process's first on."""
    state: Accumulator | None = None
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with _undisturbed(model, dropout):
        # Only here, because a loader draws a random number when it is iterated over.
        for batch in islice(batches, part[0], None, part[1]):
            columns = embed(model, _on_device(batch, device))
            if not isinstance(columns, tuple) or not 2 <= len(columns) <= 3:
                raise InputError(
                    "embed to return (embeddings, labels) or (embeddings, labels, instances)",
                    f"{type(columns).__name__}",
                    "return a tuple",
                )
            if state is None:
                exact = columns[0].shape[-1] <= _EXACT_DIMENSION
                state = Accumulator("exact" if exact else "blocks", drop_invalid=True)
            state.update(*columns)
    return state or Accumulator(drop_invalid=True)


def _on_device(batch: Any, device: torch.device) -> Any:
    """The same batch with its tensors on a device; other things stay as they are."""
    if callable(getattr(batch, "to", None)):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _on_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_on_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(_on_device(value, device) for value in batch)
    return batch
