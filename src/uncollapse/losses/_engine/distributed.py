"""The batch of all processes of a torch.distributed group, gathered."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError

_DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@dataclass(frozen=True)
class Processes:
    """The processes that share a batch, and how many rows each has."""

    group: dist.ProcessGroup | None  # None for the default one.
    rank: int  # This process's number in the group.
    sizes: tuple[int, ...]  # Rows of each process.

    @property
    def own_rows(self) -> slice:
        """Where this process's rows stand in the gathered batch."""
        start = sum(self.sizes[: self.rank])
        return slice(start, start + self.sizes[self.rank])

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


def _all_gather(everything: Tensor, mine: Tensor, group: dist.ProcessGroup | None) -> None:
    # Newer releases have renamed it and warn at the old name.
    name = "all_gather_single" if hasattr(dist, "all_gather_single") else "all_gather_into_tensor"
    getattr(dist, name)(everything, mine, group=group)


def join(
    embeddings: Tensor | None,
    instances_given: bool,
    fingerprint: int,
    device: torch.device,
    group: dist.ProcessGroup | None,
) -> Processes:
    """Exchange sizes, so that a bad batch on one process is an error on all and not a hang.

    `embeddings` are the (n, d) of this process, None if its input was unusable; `fingerprint` is
    that of the loss and its arguments.
    """
    usable = embeddings is not None
    mine = [int(usable), int(instances_given), 0, 0, 0, fingerprint]
    if embeddings is not None:
        mine[2:5] = [*embeddings.shape, _DTYPES.index(embeddings.dtype)]
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
        ("dtype", [str(_DTYPES[dtype]) for dtype in dtypes]),
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
    return Processes(group, dist.get_rank(group), tuple(sizes))
