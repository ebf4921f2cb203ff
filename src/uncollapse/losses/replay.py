"""What a pass through an encoder changes outside of its output: random state and buffers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class RandomState:
    """The global generators: torch's, those of its devices, numpy's and Python's."""

    cpu: Tensor
    gpus: dict[int, Tensor]
    numpy: Any
    python: Any

    @classmethod
    def now(cls, devices: Iterable[int]) -> RandomState:
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
def buffers_restored(module: nn.Module) -> Iterator[None]:
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
