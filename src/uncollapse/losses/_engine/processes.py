"""The processes that share a batch: what they exchange, and that each can use what it has."""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import FLOATS, Options
from uncollapse.losses._engine.samples import Samples

Read = TypeVar("Read")


@dataclass(frozen=True)
class Processes:
    """The processes that share a batch, and how many rows each has."""

    group: dist.ProcessGroup | None  # None for the default one.
    sizes: list[int]  # Rows of each process.
    own_rows: slice  # Where this process's rows stand in the gathered batch.

    def gather(self, rows: Tensor) -> Tensor:
        """Few numbers of each row of all processes; each pads to the longest for the exchange."""
        longest = max(self.sizes)
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows
        everything = rows.new_empty(longest * len(self.sizes), *rows.shape[1:])
        _all_gather(everything, padded, self.group)
        if min(self.sizes) == longest:
            return everything
        parts = everything.view(len(self.sizes), longest, *rows.shape[1:])
        return torch.cat([part[:size] for part, size in zip(parts, self.sizes, strict=True)])

    def exchange(self, rows: Tensor) -> Exchange:
        """Rows of all processes, one after the other, in one copy, on their way.

        By one exchange where all have as many, and by one for each process where not.
        """
        everything = rows.new_empty(sum(self.sizes), *rows.shape[1:])
        if min(self.sizes) == max(self.sizes):
            return Exchange(everything, [_all_gather(everything, rows, self.group, wait=False)])
        everything[self.own_rows] = rows
        parts = enumerate(everything.split_with_sizes(self.sizes))
        return Exchange(everything, [w for rank, part in parts for w in self._sent(part, rank)])

    def exchange_to(self, rows: Tensor, places: Tensor) -> Tensor:
        """Rows of all processes, each in its place of (N,); others come while one's are put there.

        Beside the copy of them all there are those of two processes.
        """
        everything = rows.new_empty(sum(self.sizes), *rows.shape[1:])

        def start(rank: int) -> Exchange:
            # A copy of one's own too: whoever sends is said to change what it sends.
            is_own = rank == dist.get_rank(self.group)
            part = rows.clone() if is_own else rows.new_empty(self.sizes[rank], *rows.shape[1:])
            return Exchange(part, self._sent(part, rank))

        coming = start(0)
        for rank, of_rank in enumerate(places.split_with_sizes(self.sizes)):
            here, coming = coming, start(rank + 1) if rank + 1 < len(self.sizes) else coming
            everything.index_copy_(0, of_rank, here.rows)
        return everything

    def _sent(self, part: Tensor, rank: int) -> list[Any]:
        """A process's rows on their way to all others."""
        if not len(part):
            return []
        source = rank if self.group is None else dist.get_global_rank(self.group, rank)
        return [dist.broadcast(part, source, group=self.group, async_op=True)]

    def summed(self, parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Each part, of one dtype, as the sum over all processes; by one exchange."""
        flat = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(flat, group=self.group)
        pieces = flat.split_with_sizes([part.numel() for part in parts])
        return tuple(piece.view_as(part) for piece, part in zip(pieces, parts, strict=True))


@dataclass(frozen=True)
class Exchange:
    """Rows that are on their way."""

    everything: Tensor
    works: Sequence[Any] = ()

    @property
    def rows(self) -> Tensor:
        """They, arrived; a device waits for them, the host does not."""
        for work in self.works:
            work.wait()
        return self.everything


def _all_gather(
    everything: Tensor, mine: Tensor, group: dist.ProcessGroup | None, *, wait: bool = True
) -> Any:
    # Newer releases have renamed it and warn at the old name.
    name = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
    return getattr(dist, name)(everything, mine.contiguous(), group=group, async_op=not wait)


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
