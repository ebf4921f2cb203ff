"""Batches of views for one or many processes, in an order that can be entered anywhere."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from uncollapse.data.dataset import LabelledData
from uncollapse.data.samplers import Sampler
from uncollapse.data.views import Augmenter
from uncollapse.errors import InputError

# Pieces of a global batch, each with random numbers of its own. Never a function of the number of
# processes, or the views would be.
CHUNKS = 8

_Step = tuple[int, NDArray[np.int64]]  # number and positions of a batch


@dataclass(frozen=True)
class LoadedBatch:
    """One process's share of a batch."""

    views: Tensor  # (n, p, ...) float32
    labels: Tensor  # (n,) int64 class codes
    instances: Tensor  # (n,) int64 row numbers in the data


class Loader:
    """Batches of views, epoch by epoch, whose rows are those that the sampler takes of `rows`.

    A global batch is cut in 8 chunks (fewer if it has fewer rows), each augmented with random
    numbers from (seed, epoch, step, chunk). Process `rank` of `world` takes a run of neighbouring
    chunks, so the shares of all processes, one after the other, are bit for bit the batch of a
    single process. They are equal in size if the number of processes divides 8 and 8 divides the
    batch. `workers` processes read and augment ahead of the step, and end with this process; with 0
    it is done between steps. The batches are the same.
    """

    def __init__(
        self,
        data: LabelledData,
        rows: NDArray[np.int64],
        sampler: Sampler,
        augmenter: Augmenter,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
    ) -> None:
        chunks = min(CHUNKS, sampler.size)
        if not 0 <= rank < world:
            raise InputError("0 <= rank < world", f"rank {rank} of {world}", "check the launcher")
        if world > chunks:
            raise InputError(
                f"at most {chunks} processes for batches of {sampler.size} rows",
                f"{world}",
                f"start at most {CHUNKS} processes, with batches of as many rows at least",
            )
        if workers < 0:
            raise InputError("workers of 0 or more", f"{workers}", "0 works between the steps")
        self._data, self._rows, self._sampler, self._augmenter = data, rows, sampler, augmenter
        self._seed, self._workers = seed, workers
        self._chunks = range(chunks * rank // world, chunks * (rank + 1) // world)
        bounds = [sampler.size * chunk // chunks for chunk in range(chunks + 1)]
        self._bounds = bounds[self._chunks.start : self._chunks.stop + 1]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[LoadedBatch]:
        """The batches of an epoch, from step `start` on; a row that cannot be read is refused."""
        batches = self._sampler.batches(epoch)
        if not 0 <= start <= len(batches):
            raise InputError(
                f"a step of 0 to {len(batches)}", f"start = {start}", "resume at a step that exists"
            )
        return self._iterate(epoch, list(enumerate(batches))[start:])

    def _iterate(self, epoch: int, steps: list[_Step]) -> Iterator[LoadedBatch]:
        load = partial(self._load_or_error, epoch)
        loaded: Iterable[LoadedBatch | InputError] = map(load, steps)
        if self._workers:
            # A generator of its own, because DataLoader would draw from the global one.
            loaded = DataLoader(
                cast("Dataset[_Step]", steps),
                batch_size=None,
                num_workers=self._workers,
                collate_fn=load,
                generator=torch.Generator(),
                worker_init_fn=_leave_stopping_to_the_parent,
            )
        for batch in loaded:
            if isinstance(batch, InputError):
                raise batch
            yield batch

    def _load_or_error(self, epoch: int, step: _Step) -> LoadedBatch | InputError:
        # Raised in a worker, DataLoader would turn it into a RuntimeError with a traceback.
        try:
            return self.load(epoch, *step)
        except InputError as error:
            return error

    def load(self, epoch: int, step: int, batch: NDArray[np.int64]) -> LoadedBatch:
        """This process's share of one batch, whose positions are among the training rows."""
        low, high = self._bounds[0], self._bounds[-1]
        rows = self._rows[batch[low:high]]
        raw = self._data.inputs.read(rows)
        views = [
            self._augmenter.views(raw[a - low : b - low], key=(self._seed, epoch, step, chunk))
            for chunk, a, b in zip(self._chunks, self._bounds[:-1], self._bounds[1:], strict=True)
        ]
        labels = torch.from_numpy(self._data.labels[rows].astype(np.int64))
        return LoadedBatch(torch.cat(views), labels, torch.from_numpy(rows.astype(np.int64)))


def _leave_stopping_to_the_parent(_worker: int) -> None:
    """Ctrl-C and SIGTERM reach a whole process group; a worker ends when its parent ends it."""
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, signal.SIG_IGN)
