"""From embeddings, of one process or of a group, to sorted and scaled rows, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import Ids, Options, precise_dtype
from uncollapse.losses._engine.choice import choose, looks
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.grouping import group
from uncollapse.losses._engine.partition import single_threaded
from uncollapse.losses._engine.processes import Processes, read_together
from uncollapse.losses._engine.products import HalfRows, has_half_products
from uncollapse.losses._engine.samples import (
    Samples,
    check_least,
    read_samples,
    refuse_overflow,
    row_scales,
)
from uncollapse.losses._engine.tiles import Layout

_SMALL_BATCH = 1024


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


def lay_out(checked: Checked, threads: int) -> Batch:
    """Sort and scale the batch; gather it first if it is spread over processes."""
    options, samples, processes = checked.options, checked.samples, checked.processes
    embeddings, dtype, scales = samples.embeddings, samples.compute_dtype, checked.scales
    is_half = has_half_products(embeddings)
    if processes is None:
        grouping = group(samples.labels, samples.instances)
        own_column, row_order = None, grouping.order
        ordered, scales = (part.index_select(0, grouping.order) for part in (embeddings, scales))
    else:
        instances = samples.instances
        if not samples.instances_given:
            instances = instances + processes.own_rows.start
        ids = processes.gather(torch.stack([samples.labels, instances], dim=1))
        grouping = group(ids[:, 0], ids[:, 1])
        places = torch.empty_like(grouping.order)
        places[grouping.order] = torch.arange(len(places), device=places.device)
        own_column, row_order = places[processes.own_rows].sort()
        ordered = processes.exchange_to(embeddings, places)
        scales = processes.gather(scales).index_select(0, grouping.order)
    columns = ordered.to(dtype).mul_(scales[:, None])  # Of a copy, or in it.
    rows = columns if own_column is None else columns.index_select(0, own_column)
    half = None
    if is_half:
        everyone = HalfRows(ordered, scales, options.precision)
        half = everyone if own_column is None else everyone.selected(own_column), everyone
    # In cache on a CPU, large enough to fill a GPU.
    default = 320 if len(columns) <= _SMALL_BATCH else 512
    tile_size = options.tile_size or (default if columns.device.type == "cpu" else 4096)
    largest = 1 / options.temperature
    if not options.normalize:
        norm = float(torch.linalg.vector_norm(columns, dim=1).max())
        refuse_overflow(norm, dtype)
        largest = norm * norm
    layout = Layout(rows, columns, grouping, own_column, tile_size, largest, threads, half)
    return Batch(layout, row_order, checked)
