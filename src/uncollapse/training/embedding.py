"""Embeddings of rows by an encoder, which is left as it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from uncollapse.data import Augmenter, LabelledData
from uncollapse.progress import Progress, quiet
from uncollapse.training.encoders import Encoder

# Inputs of a batch at most, and on a CPU numbers in them: more leaves the cache in every layer.
BATCH, CPU_NUMBERS = 256, 2**20


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; every module's mode is restored after.

    Batch norm then uses its running statistics and does not change them, dropout is off, and no
    random number is drawn.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def inference_precision(precision: str, device: torch.device) -> torch.autocast:
    """Autocast for "bf16", nothing for "fp32"."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def embed_rows(
    model: Encoder,
    data: LabelledData,
    rows: NDArray[np.int64],
    augmenter: Augmenter,
    *,
    key: tuple[int, ...] | None = None,
    precision: str = "fp32",
    progress: Progress = quiet,
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Embeddings of both layers, batch by batch.

    Args:
        model: The encoder; its modes, buffers and the random state are as before afterwards.
        data: Where the rows are.
        rows: (n,) numbers of the rows.
        augmenter: Makes inputs of them.
        key: None for the rows as they are; else augmented views, by this key and the batch.
        precision: "fp32" or "bf16".
        progress: Called with (rows done, rows in all).

    Yields:
        {"backbone": (b, p, width), "projector": (b, p, d)} float32 batch by batch;
        p is 1 for rows as they are.
    """
    device = next(model.parameters()).device
    size = _rows_at_once(data.inputs.shape, 1 if key is None else augmenter.count, device)
    for number, start in enumerate(range(0, len(rows), size)):
        raw = data.inputs.read(rows[start : start + size])
        if key is None:
            inputs = augmenter.plain(raw)[:, None]
        else:
            inputs = augmenter.views(raw, key=(*key, number))
        with evaluation_mode(model), inference_precision(precision, device):
            layers = model.layers(inputs.flatten(0, 1).to(device))
        yield {name: _array(values, inputs.shape[:2]) for name, values in layers.items()}
        progress(min(start + size, len(rows)), len(rows))


def _rows_at_once(shape: tuple[int, ...], views: int, device: torch.device) -> int:
    most = BATCH if device.type != "cpu" else min(BATCH, CPU_NUMBERS // max(1, math.prod(shape)))
    return max(1, most // views)


def _array(values: Tensor, leading: torch.Size) -> NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy()).reshape(*leading, -1)
