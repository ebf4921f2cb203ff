"""A batch that was given, of one process or of a group, as all backends take it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from uncollapse.losses._engine.arguments import Ids, Options, precise_dtype
from uncollapse.losses._engine.choice import choose, looks
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.processes import Processes, read_together
from uncollapse.losses._engine.samples import (
    Samples,
    check_least,
    read_samples,
    row_scales,
)
from uncollapse.losses._engine.threads import single_threaded


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


def pulled_back(
    rows: Tensor, gradient: Tensor, scales: Tensor, checked: Checked
) -> tuple[Tensor, Tensor | None]:
    """`tiled.layout.Batch.pull_back` of rows in the caller's order; the gradient is overwritten."""
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
