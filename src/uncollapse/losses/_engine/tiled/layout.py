"""From a batch as it was given to sorted and scaled rows, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncollapse.losses._engine.batch import Checked, pulled_back
from uncollapse.losses._engine.grouping import group
from uncollapse.losses._engine.products import has_half_products
from uncollapse.losses._engine.samples import refuse_overflow
from uncollapse.losses._engine.tiled.tiles import HalfRows, Layout

_SMALL_BATCH = 1024


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
