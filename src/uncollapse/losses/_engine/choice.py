"""Which backend computes a loss, and whether the values of its batch are looked at first."""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import Options
from uncollapse.losses._engine.definition import Definition

# Up to this batch a matrix fits where it is fast to read again, and one walk over it is the least.
_DENSE = 4096
# Bytes for each entry of the matrix that the dense backend holds at once.
_DENSE_BYTES = 13


def choose(definition: Definition, options: Options, rows: Tensor, count: int) -> str:
    """The backend of a batch of `count` rows, like these of this process.

    On a CPU tiles, which halve the work and stay in cache. On another device the matrix as a whole
    up to N = 4096. Beyond, the fused kernels where they can be; else the matrix, or tiles where
    it would take more than a quarter of the memory.
    """
    if options.backend != "auto":
        return options.backend
    if rows.device.type == "cpu":
        return "tiled"
    if count <= _DENSE:
        return "dense"
    if _lacking_for_fused(definition, options, rows) is None:
        return "fused"
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


def is_traceable(embeddings: Tensor, definition: Definition, options: Options) -> bool:
    """Whether a compiler sees through the whole computation."""
    if options.gather or options.learned or options.track:
        return False
    count = embeddings.shape[:-1].numel()
    backend = choose(definition, options, embeddings, count)
    return backend == "dense" and not looks(options, backend, embeddings.device, together=False)


def refuse_fused(definition: Definition, options: Options, rows: Tensor) -> None:
    """Raise if the fused kernels cannot be what computes a loss."""
    if (lacking := _lacking_for_fused(definition, options, rows)) is not None:
        raise InputError(*lacking)


def _lacking_for_fused(
    definition: Definition, options: Options, rows: Tensor
) -> tuple[str, str, str] | None:
    """What the fused kernels would need, what there is, and what to do; None if nothing."""
    scopes = {term.scope for term in definition.terms}
    if not scopes <= {"all", "others"}:
        found = "one of own classes, or of single pairs"
        return "a loss with one denominator, over all samples", found, "give backend='dense'"
    if rows.dtype == torch.float64:
        return "embeddings of at most 32 bits for backend='fused'", "float64", "give .float()"
    if importlib.util.find_spec("triton") is None:
        return "Triton for backend='fused'", "none installed", "pip install triton"
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if rows.device.type == "cpu" and not interpreted:
        expected = "a GPU for backend='fused', or TRITON_INTERPRET=1 from the start, to test it"
        return expected, "embeddings on the CPU", "give backend='auto'"
    if rows.device.type == "cuda" and torch.cuda.get_device_capability(rows.device) < (8, 0):
        return "compute capability 8.0 for backend='fused'", "less", "give backend='auto'"
    return None


def _memory(device: torch.device) -> float:
    """Bytes of the device; where it does not say, as much as a small one has."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return 2.0**33
