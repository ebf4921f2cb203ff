"""From embeddings, of one process or of a group, to sorted and scaled rows, and back."""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import (
    FLOATS,
    Ids,
    Options,
    Samples,
    check_least,
    precise_dtype,
    read_samples,
    refuse_overflow,
    row_scales,
)
from uncollapse.losses._engine.choice import choose, looks
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.grouping import group
from uncollapse.losses._engine.partition import single_threaded
from uncollapse.losses._engine.tiles import Layout

_SMALL_BATCH = 1024
Read = TypeVar("Read")


@dataclass(frozen=True)
class Processes:
    """The processes that share a batch, and how many rows each has."""

    group: dist.ProcessGroup | None  # None for the default one.
    sizes: list[int]  # Rows of each process.
    own_rows: slice  # Where this process's rows stand in the gathered batch.

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all processes, one after the other; each pads to the longest for the exchange."""
        longest = max(self.sizes)
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows
        everything = rows.new_empty(longest * len(self.sizes), *rows.shape[1:])
        _all_gather(everything, padded, self.group)
        if min(self.sizes) == longest:
            return everything
        parts = everything.view(len(self.sizes), longest, *rows.shape[1:])
        return torch.cat([part[:size] for part, size in zip(parts, self.sizes, strict=True)])

    def summed(self, parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Each part, of one dtype, as the sum over all processes; by one exchange."""
        flat = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(flat, group=self.group)
        pieces = flat.split_with_sizes([part.numel() for part in parts])
        return tuple(piece.view_as(part) for piece, part in zip(pieces, parts, strict=True))


def _all_gather(everything: Tensor, mine: Tensor, group: dist.ProcessGroup | None) -> None:
    # Newer releases have renamed it and warn at the old name.
    name = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
    getattr(dist, name)(everything, mine, group=group)


@dataclass(frozen=True)
class Checked:
    """Usable input of this process."""

    options: Options
    samples: Samples
    known_scales: Tensor | None  # `scales`, where they have been made.
    processes: Processes | None  # The processes whose batch it is, if not this one's alone.
    backend: str
    is_looked_at: bool  # Whether the values of the batch are checked in the call.

    @property
    def scales(self) -> Tensor:
        """(n,) factor of each row, such that scaled rows' inner products are logits."""
        if self.known_scales is None:
            rows = self.samples.embeddings
            return row_scales(rows, self.samples.compute_dtype, self.options, look=False)
        return self.known_scales


@dataclass(frozen=True)
class Batch:
    """A batch laid out for computation."""

    layout: Layout
    row_order: Tensor  # (R,) int64, the caller's row of each row.
    checked: Checked  # What it was made from.

    def to_columns(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Vectors over this process's rows as vectors over all columns, by one exchange."""
        if self.checked.processes is None:
            return values
        stacked = torch.stack(values, dim=1)
        in_callers_order = torch.empty_like(stacked).index_copy_(0, self.row_order, stacked)
        everyone = self.checked.processes.gather(in_callers_order)
        return everyone.index_select(0, self.layout.grouping.order).unbind(1)

    def pull_back(self, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """The gradients in the caller's embeddings and, where it is learned, in log(1 / tau).

        From that in the scaled rows, which is overwritten.
        A row is y = e / (|e| sqrt(tau)), so with u = e / |e|

            dL/de = (g - (u . g) u) / (|e| sqrt(tau)),  dL/dlog(1 / tau) = sum of y . g / 2

        over the rows of all processes. The average that DDP takes over processes divides by their
        number; this multiplies by it.
        """
        factors = self.checked.scales.index_select(0, self.row_order)
        gradient, slope = pulled_back(self.layout.rows, gradient, factors, self.checked)
        return torch.empty_like(gradient).index_copy_(0, self.row_order, gradient), slope


def pulled_back(
    rows: Tensor, gradient: Tensor, scales: Tensor, checked: Checked
) -> tuple[Tensor, Tensor | None]:
    """`Batch.pull_back` of rows in the caller's order; the gradient is overwritten."""
    options, processes, slope = checked.options, checked.processes, None
    if options.normalize or options.learned:
        along = (rows * gradient).sum(1, keepdim=True)
    if options.learned:
        slope = along.sum(dtype=precise_dtype(rows.device)).div_(2)
        if processes is not None:
            (slope,) = processes.summed([slope])
    if options.normalize:
        gradient.addcmul_(rows, along, value=-options.temperature)
    if processes is not None:
        scales = scales * len(processes.sizes)
    return gradient.mul_(scales[:, None]), slope


def read_batch(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None,
    definition: Definition,
    options: Options,
) -> Checked:
    """Check this process's input, and with the other processes that theirs fits."""

    def read(together: bool) -> tuple[Samples, tuple[Tensor | None, bool]]:
        samples = read_samples(embeddings, labels, instances, allow_empty=together, look=False)
        rows = samples.embeddings
        backend = choose(definition, options, rows, len(rows))
        look = looks(options, backend, rows.device, together=together)
        if look and len(rows):
            check_least(int(samples.labels.min()))
        if backend == "fused" and not look:
            return samples, (None, look)  # Its first kernel makes them.
        with single_threaded(rows.device):
            return samples, (row_scales(rows, samples.compute_dtype, options, look=look), look)

    samples, (scales, look), processes = read_together(read, definition, options)
    count = len(samples.embeddings) if processes is None else sum(processes.sizes)
    backend = choose(definition, options, samples.embeddings, count)
    return Checked(options, samples, scales, processes, backend, look)


def read_together(
    read: Callable[[bool], tuple[Samples, Read]], loss: object, options: Options
) -> tuple[Samples, Read, Processes | None]:
    """What `read` gives, and the processes whose batch it is, if not this one's alone.

    `read` is told whether a process may have no rows. Every process must be able to use what it
    reads, and compute the same loss.
    """
    process_group = options.process_group
    distributed = options.gather and dist.is_available() and dist.is_initialized()
    if distributed:
        _check_membership(process_group)
        distributed = dist.get_world_size(process_group) > 1
    fingerprint = _fingerprint(loss, options) if distributed else 0
    try:
        samples, also = read(distributed)
    except Exception as error:
        if distributed:
            # The other processes raise that one rank's input is unusable; this one, why.
            with contextlib.suppress(InputError):
                _join(None, _exchange_device(process_group), fingerprint, process_group)
        if isinstance(error, InputError) or not distributed:
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise InputError("a usable batch on this process", reason, "see the cause above") from error
    device = samples.embeddings.device
    processes = _join(samples, device, fingerprint, process_group) if distributed else None
    return samples, also, processes


def _fingerprint(loss: object, options: Options) -> int:
    """Equal for equal losses, whatever the process and the machine."""
    said = (
        (options.temperature, options.learned),
        (options.normalize, options.degenerate, options.backend, options.precision),
        loss,
    )
    return zlib.crc32(repr(said).encode())


def _check_membership(group: dist.ProcessGroup | None) -> None:
    if dist.get_rank(group) < 0:
        raise InputError(
            "a process group that this process belongs to",
            "one without it",
            "give the group that holds this rank, or gather=False for its own batch alone",
        )
    if _in_join_context():
        raise InputError(
            "gather=True outside of torch's Join context",
            "a call inside of it",
            "give every process as many batches (drop_last, DistributedSampler): only DDP's own "
            "exchanges go on without a process that has ended",
        )


@functools.cache
def _in_join_context() -> bool:
    """Whether there is a Join context in this process; looked for once, as objects are many."""
    module = sys.modules.get("torch.distributed.algorithms.join")
    return module is not None and any(type(item) is module.Join for item in gc.get_objects())


def _exchange_device(group: dist.ProcessGroup | None) -> torch.device:
    """Where tensors must be to be exchanged, whatever the caller gave."""
    on_gpu = dist.get_backend(group) == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def lay_out(checked: Checked, threads: int) -> Batch:
    """Sort and scale the batch; gather it first if it is spread over processes."""
    options, samples, processes = checked.options, checked.samples, checked.processes
    embeddings, dtype = samples.embeddings, samples.compute_dtype
    if processes is None:
        grouping = group(samples.labels, samples.instances)
        order = grouping.order
        columns = embeddings.index_select(0, order).to(dtype)
        columns.mul_(checked.scales.index_select(0, order)[:, None])
        rows, own_column, row_order = columns, None, order
    else:
        everyone = processes.gather(embeddings.to(dtype) * checked.scales[:, None])
        instances = samples.instances
        if not samples.instances_given:
            instances = instances + processes.own_rows.start
        ids = processes.gather(torch.stack([samples.labels, instances], dim=1))
        grouping = group(ids[:, 0], ids[:, 1])
        columns = everyone.index_select(0, grouping.order)
        positions = torch.empty_like(grouping.order)
        positions[grouping.order] = torch.arange(len(positions), device=positions.device)
        own_column, row_order = positions[processes.own_rows].sort()
        rows = columns.index_select(0, own_column)
    # In cache on a CPU, large enough to fill a GPU.
    default = 320 if len(columns) <= _SMALL_BATCH else 512
    tile_size = options.tile_size or (default if columns.device.type == "cpu" else 4096)
    largest = 1 / options.temperature
    if not options.normalize:
        norm = float(torch.linalg.vector_norm(columns, dim=1).max())
        refuse_overflow(norm, dtype)
        largest = norm * norm
    layout = Layout(rows, columns, grouping, own_column, tile_size, largest, threads)
    return Batch(layout, row_order, checked)


def _join(
    samples: Samples | None,
    device: torch.device,
    fingerprint: int,
    group: dist.ProcessGroup | None,
) -> Processes:
    """Exchange sizes, so that a bad batch on one process is an error on all and not a hang.

    The samples are None if this process's input was unusable; the fingerprint is that of the loss
    and its arguments.
    """
    mine = [0, 0, 0, 0, 0, fingerprint]
    if samples is not None:
        dtype = FLOATS.index(samples.embeddings.dtype)
        mine[:5] = [1, int(samples.instances_given), *samples.embeddings.shape, dtype]
    world = dist.get_world_size(group)
    everyone = torch.empty(world * len(mine), dtype=torch.int64, device=device)
    _all_gather(everyone, torch.tensor(mine, device=device), group)
    usables, given, sizes, widths, dtypes, fingerprints = everyone.view(world, -1).T.tolist()
    unusable = [str(rank) for rank, usable in enumerate(usables) if not usable]
    if unusable:
        raise InputError(
            "a usable batch on every process",
            f"an unusable one on rank {', '.join(unusable)}",
            "see the error of that rank",
        )
    for what, values in (
        ("instances given or not", [("none", "given")[is_given] for is_given in given]),
        ("embedding size", list(map(str, widths))),
        ("dtype", [str(FLOATS[dtype]) for dtype in dtypes]),
    ):
        if len(set(values)) > 1:
            raise InputError(
                f"the same {what} on every process",
                f"{', '.join(values)} on ranks 0 to {world - 1}",
                "give every process the same kind of batch",
            )
    others = [str(rank) for rank, other in enumerate(fingerprints) if other != fingerprints[0]]
    if others:
        raise InputError(
            "the same loss with the same arguments on every process",
            f"those of rank {', '.join(others)} are not those of rank 0",
            "compute alpha, temperature and the like from what is equal on all, such as the step",
        )
    if not any(sizes):
        raise InputError("a batch with samples", "no row on any process", "give embeddings")
    rank = dist.get_rank(group)
    return Processes(group, sizes, slice(sum(sizes[:rank]), sum(sizes[: rank + 1])))
