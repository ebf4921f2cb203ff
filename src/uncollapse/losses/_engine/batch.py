"""From the caller's embeddings to sorted, scaled rows and columns, and their gradient back."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import Options, Samples, compute_dtype, read_samples
from uncollapse.losses._engine.distributed import Processes, join
from uncollapse.losses._engine.grouping import group
from uncollapse.losses._engine.threads import single_threaded
from uncollapse.losses._engine.tiles import Layout, default_tile_size


@dataclass(frozen=True)
class Checked:
    """Usable input of this process."""

    options: Options
    samples: Samples
    scales: Tensor  # (n,) factor of each row, such that scaled rows' inner products are logits.
    processes: Processes | None  # The processes whose batch it is, if not this one's alone.


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

    def pull_back(self, gradient: Tensor) -> Tensor:
        """The gradient in the caller's embeddings from that in the scaled rows (overwritten).

        A row is y = e / (|e| sqrt(tau)), so with u = e / |e|

            dL/de = (g - (u . g) u) / (|e| sqrt(tau)).

        The average that DDP takes over processes divides by their number; this multiplies by it.
        """
        rows = self.layout.rows
        if self.checked.options.normalize:
            along = (rows * gradient).sum(1, keepdim=True).mul_(self.checked.options.temperature)
            gradient.addcmul_(rows, along, value=-1)
        factors = self.checked.scales.index_select(0, self.row_order)
        if self.checked.processes is not None:
            factors = factors * len(self.checked.processes.sizes)
        gradient.mul_(factors[:, None])
        return torch.empty_like(gradient).index_copy_(0, self.row_order, gradient)


def check_batch(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None,
    options: Options,
    fingerprint: int,
) -> Checked:
    """Check this process's input, and with the other processes that theirs fits."""
    process_group = options.process_group
    distributed = options.gather and dist.is_available() and dist.is_initialized()
    distributed = distributed and dist.get_world_size(process_group) > 1
    try:
        samples = read_samples(embeddings, labels, instances, allow_empty=distributed)
        with single_threaded(samples.embeddings.device):
            scales = _row_scales(samples.embeddings.detach(), options)
    except InputError:
        if distributed:
            device = embeddings.device if isinstance(embeddings, Tensor) else torch.device("cpu")
            # The other processes raise that one rank's input is unusable; this one, why.
            with contextlib.suppress(InputError):
                join(None, False, fingerprint, device, process_group)
        raise
    if not distributed:
        return Checked(options, samples, scales, None)
    flat, given = samples.embeddings, samples.instances_given
    processes = join(flat, given, fingerprint, flat.device, process_group)
    return Checked(options, samples, scales, processes)


def _row_scales(embeddings: Tensor, options: Options) -> Tensor:
    """(n,): 1 / (|e| sqrt(tau)), or 1 / sqrt(tau) if embeddings are taken as they are."""
    dtype = compute_dtype(embeddings.dtype)
    norms: Tensor = torch.linalg.vector_norm(embeddings, dim=1, dtype=dtype)
    scale = options.temperature**-0.5
    if len(norms) == 0:
        return norms
    smallest, largest = norms.aminmax()
    if not bool(torch.isfinite(largest)):
        row = int((~torch.isfinite(norms)).nonzero()[0])
        what = "nan" if bool(embeddings[row].isnan().any()) else "infinity"
        if bool(embeddings[row].isfinite().all()):
            what = "a norm that overflows"
        raise InputError(
            "finite embeddings",
            f"{what} in row {row}",
            "look for a diverged training step, or for half precision that overflows",
        )
    if not options.normalize:
        return torch.full_like(norms, scale)
    # Below this, squares are no longer normal numbers, and the norm loses its digits.
    if float(smallest) < torch.finfo(dtype).tiny ** 0.5:
        row = int(norms.argmin())
        is_zero = not bool(embeddings[row].any())
        raise InputError(
            "embeddings with a direction",
            f"a {'' if is_zero else 'nearly '}zero vector in row {row}",
            "check the encoder's last layer (a ReLU can silence a whole row), or give unit "
            "vectors with normalize=False",
        )
    scales: Tensor = scale / norms
    return scales


def lay_out(embeddings: Tensor, checked: Checked, threads: int) -> Batch:
    """Sort and scale the batch; gather it first if it is spread over processes."""
    options, samples, processes = checked.options, checked.samples, checked.processes
    dtype = compute_dtype(embeddings.dtype)
    if processes is None:
        grouping = group(samples.labels, samples.instances)
        order = grouping.order
        columns = embeddings.index_select(0, order).to(dtype)
        columns.mul_(checked.scales.index_select(0, order)[:, None])
        rows, own_column, row_order = columns, None, order
    else:
        everyone = processes.gather(embeddings.to(dtype) * checked.scales[:, None])
        instances = samples.instances
        if not samples.instances_given:
            instances = instances + processes.own_rows.start
        ids = processes.gather(torch.stack([samples.labels, instances], dim=1))
        grouping = group(ids[:, 0], ids[:, 1])
        columns = everyone.index_select(0, grouping.order)
        positions = torch.empty_like(grouping.order)
        positions[grouping.order] = torch.arange(len(positions), device=positions.device)
        own_column, row_order = positions[processes.own_rows].sort()
        rows = columns.index_select(0, own_column)
    if len(grouping.instances.sizes) < 2:
        raise InputError(
            "at least two instances in the batch",
            f"{len(columns)} view(s) of one",
            "give a larger batch; with nothing to contrast the loss says nothing",
        )
    tile_size = options.tile_size or default_tile_size(len(columns), columns.device)
    largest = 1 / options.temperature
    if not options.normalize:
        largest = float(torch.linalg.vector_norm(columns, dim=1).max()) ** 2
        if largest > torch.finfo(dtype).max / 1e6:
            raise InputError(
                "inner products / temperature that do not overflow",
                f"up to {largest:.0e}",
                "scale the embeddings down, or let them be normalised",
            )
    layout = Layout(rows, columns, grouping, own_column, tile_size, largest, threads)
    return Batch(layout, row_order, checked)
