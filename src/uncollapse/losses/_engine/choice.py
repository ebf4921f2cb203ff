"""Which backend computes a loss, and whether the values of its batch are looked at first."""

from __future__ import annotations

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import Options

# Up to this batch a matrix fits where it is fast to read again, and one walk over it is the least.
_DENSE = 4096
# Bytes for each entry of the matrix that the dense backend holds at once.
_DENSE_BYTES = 13


def choose(options: Options, rows: Tensor, count: int) -> str:
    """The backend of a batch of `count` rows, like these of this process.

    On a CPU tiles, which halve the work and stay in cache. On another device the matrix as a whole,
    as long as N <= 4096, and beyond as long as it takes at most a quarter of the memory where there
    is no other; tiles where it does not.
    """
    if options.backend != "auto":
        return options.backend
    if rows.device.type == "cpu":
        return "tiled"
    if count <= _DENSE:
        return "dense"
    return "dense" if _DENSE_BYTES * count**2 <= _memory(rows.device) / 4 else "tiled"


def looks(options: Options, backend: str, device: torch.device, *, together: bool) -> bool:
    """Whether the host waits for the values of a batch.

    The tiled backend does anyway, and so do processes that gather; what counts a degenerate batch
    as nothing has to know in the step.
    """
    if backend == "tiled" or together or options.degenerate == "zero":
        return True
    default = "now" if device.type == "cpu" else "deferred"
    return (options.checks or default) == "now"


def is_traceable(embeddings: Tensor, options: Options) -> bool:
    """Whether a compiler sees through the whole computation."""
    if options.gather or options.learned or options.track:
        return False
    count = embeddings.shape[:-1].numel()
    backend = choose(options, embeddings, count)
    return backend == "dense" and not looks(options, backend, embeddings.device, together=False)


def _memory(device: torch.device) -> float:
    """Bytes of the device; where it does not say, as much as a small one has."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return 2.0**33
