"""Torch's own threads, set aside where they would only wait for each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def single_threaded(device: torch.device) -> Iterator[int]:
    """Operations inside the block, in new threads too, use one thread; gives how many they had."""
    # A compiler asks for no number of threads, and shares out what it makes by itself.
    if device.type != "cpu" or torch.compiler.is_compiling() or torch.get_num_threads() == 1:
        yield 1
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
