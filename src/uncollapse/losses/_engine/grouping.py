"""Classes and instances of a batch as runs of one sorted order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import UNLABELLED, precise_dtype

_LONGEST_PLAIN_SUM = 256


@dataclass(frozen=True)
class Runs:
    """Consecutive rows that belong together."""

    run_of_row: Tensor  # (N,) int64, ascending.
    starts: Tensor  # (R,) int64, first row of each run.
    sizes: Tensor  # (R,) int64.
    longest: int  # Size of the longest run.

    def sums(self, rows: Tensor, weights: Tensor | None = None) -> Tensor:
        """(R, d): sum of weights_i rows_i over each run; the same bits for the same input.

        A long run is summed in pieces and the pieces in float64, so that the error does not grow
        with the size of a class (a plain float32 sum over 10,000 rows loses three digits).
        """
        if self.longest <= _LONGEST_PLAIN_SUM:
            return _sum_runs(rows, self.starts, weights)
        pieces = (self.sizes + (_LONGEST_PLAIN_SUM - 1)) // _LONGEST_PLAIN_SUM
        ends = pieces.cumsum(0)
        run_of_piece = torch.repeat_interleave(pieces)
        within = torch.arange(len(run_of_piece), device=rows.device)
        within = within - (ends - pieces).index_select(0, run_of_piece)
        starts = self.starts.index_select(0, run_of_piece) + within * _LONGEST_PLAIN_SUM
        partial = _sum_runs(rows, starts, weights).to(precise_dtype(rows.device))
        return _sum_runs(partial, ends - pieces, None).to(rows.dtype)


def _sum_runs(rows: Tensor, starts: Tensor, weights: Tensor | None) -> Tensor:
    index = torch.arange(len(rows), device=rows.device)
    weights = weights.to(rows.dtype) if weights is not None else None
    return embedding_bag(index, rows, starts, mode="sum", per_sample_weights=weights)


@dataclass(frozen=True)
class Grouping:
    """A batch sorted by class and instance; each unlabelled instance is a class of its own."""

    order: Tensor  # (N,) int64: row k of the sorted batch is row order[k] of the caller's.
    labels: Tensor  # (N,) int64, in sorted order like everything below.
    labelled: Tensor  # (N,) bool.
    classes: Runs
    instances: Runs
    instances_of_classes: Runs  # Runs of one class in a list of instances.


def group(labels: Tensor, instances: Tensor) -> Grouping:
    """Sort a batch by (label, instance) and find the runs; equal rows keep their order."""
    instances, by_instance = instances.sort(stable=True)
    labels = labels.index_select(0, by_instance)
    differs = (instances[1:] == instances[:-1]) & (labels[1:] != labels[:-1])
    if bool(differs.any()):
        at = int(differs.nonzero()[0])
        raise InputError(
            "one label per instance",
            f"instance {int(instances[at])} with labels {int(labels[at])} and "
            f"{int(labels[at + 1])}",
            "give instances of different classes different numbers",
        )
    by_label = labels.argsort(stable=True)
    labels, instances = labels.index_select(0, by_label), instances.index_select(0, by_label)
    labelled = labels != UNLABELLED
    new_label = labels[1:] != labels[:-1]
    new_instance = new_label | (instances[1:] != instances[:-1])
    new_class = new_label | (new_instance & ~labelled[1:])
    instance_runs = _runs(new_instance)
    return Grouping(
        order=by_instance.index_select(0, by_label),
        labels=labels,
        labelled=labelled,
        classes=_runs(new_class),
        instances=instance_runs,
        instances_of_classes=_runs(new_class.index_select(0, instance_runs.starts[1:] - 1)),
    )


def _runs(new: Tensor) -> Runs:
    """Runs of N rows from (N - 1,) bool: does a run begin at the next row?"""
    begins = torch.cat([new.new_ones(1), new])
    starts = begins.nonzero().squeeze(1)
    sizes = torch.diff(starts, append=starts.new_full((1,), len(begins)))
    return Runs(begins.cumsum(0) - 1, starts, sizes, int(sizes.max()))
