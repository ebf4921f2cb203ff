"""A batch and a reference beside it: from rows to the instances of classes, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import (
    UNLABELLED,
    Degenerate,
    DegenerateBatchError,
    Ids,
    Options,
    precise_dtype,
)
from uncollapse.losses._engine.grouping import Grouping, Runs, group
from uncollapse.losses._engine.prepared import (
    LEAST,
    REFERENCE,
    PreparedReference,
    check_reference_tensor,
)
from uncollapse.losses._engine.processes import Processes, read_together
from uncollapse.losses._engine.retained import Instances, OwnClass, retained
from uncollapse.losses._engine.samples import Samples, read_samples, row_scales
from uncollapse.losses._engine.threads import single_threaded

ClassWeights = Literal["classes", "anchors", "pairs"]
_POWERS: dict[ClassWeights, int] = {"classes": 0, "anchors": 1, "pairs": 2}
_WIDEST_GATHERED = 4096


@dataclass(frozen=True)
class Kept:
    """1 - retention of a batch without a graph, its gradient, and the classes in it."""

    loss: Tensor  # Scalar.
    gradient: Tensor | None  # (N, d) in the rows of the embeddings; None where not asked for.
    classes: int
    few: int
    alike: int


@dataclass(frozen=True)
class _Side:
    """One embedding of the batch: (b p, d) rows, and what makes them unit."""

    rows: Tensor
    views: int
    scales: Tensor

    def means(self) -> tuple[Tensor, Tensor]:
        """(b, d) rows and (b,) scales whose products are the means of the unit views."""
        if self.views == 1:
            return self.rows, self.scales
        rows = self.rows.to(self.scales.dtype)
        first, *others = rows.view(-1, self.views, rows.shape[1]).unbind(1)
        scale, *scales = self.scales.view(-1, self.views, 1).div(self.views).unbind(1)
        means = first * scale
        for view, own in zip(others, scales, strict=True):
            means.addcmul_(view, own)
        return means, torch.ones_like(means[:, 0])


def compute_kept(
    embeddings: Tensor,
    reference: Tensor | PreparedReference,
    labels: Ids,
    instances: Ids | None,
    reduction: ClassWeights,
    options: Options,
    *,
    with_gradient: bool | None = None,
) -> tuple[Tensor, Kept]:
    """The embeddings as (N, d) rows, and 1 - retention; with a gradient where they ask for one."""

    def read(allow_empty: bool) -> tuple[Samples, tuple[_Side, _Side]]:
        samples = read_samples(embeddings, labels, instances, allow_empty=allow_empty)
        beside = _read_reference(reference, embeddings, samples.compute_dtype, options)
        with single_threaded(embeddings.device):
            scales = row_scales(samples.embeddings, samples.compute_dtype, options)
        views = embeddings.shape[1] if embeddings.ndim == 3 else 1
        return samples, (_Side(samples.embeddings.detach(), views, scales), beside)

    given = reference.rows if isinstance(reference, PreparedReference) else reference
    width = given.shape[-1] if isinstance(given, Tensor) and given.ndim else 0
    loss = f"1 - retention of a reference of {width} dimensions, {reduction}"
    samples, sides, processes = read_together(read, loss, options)
    if processes is not None and width > _WIDEST_GATHERED:
        raise InputError(
            f"a reference of at most {_WIDEST_GATHERED} dimensions where processes gather, as "
            "products of its dimensions are exchanged",
            f"{width}",
            "project it first (principal components, or a seeded random projection)",
        )
    flat = samples.embeddings
    if with_gradient is None:
        with_gradient = torch.is_grad_enabled() and flat.requires_grad
    with torch.no_grad(), torch.autocast(flat.device.type, enabled=False):
        power = _POWERS[reduction]
        return flat, _kept(samples, sides, processes, power, with_gradient, options.degenerate)


def _read_reference(
    reference: Tensor | PreparedReference, embeddings: Tensor, dtype: torch.dtype, options: Options
) -> _Side:
    count, device = len(embeddings), embeddings.device
    expected = f"a reference of shape ({count}, e) or ({count}, q, e), beside the embeddings"
    is_prepared = isinstance(reference, PreparedReference)
    given = reference.rows if isinstance(reference, PreparedReference) else reference
    check_reference_tensor(given, expected)
    shape = tuple(given.shape)
    if given.ndim not in (2, 3) or shape[0] != count or 0 in shape[1:]:
        remedy = "give one row, or one row for each view, of every instance, in the batch's order"
        raise InputError(expected, f"shape {shape}", remedy)
    views = shape[1] if given.ndim == 3 else 1
    rows = given.detach().flatten(0, -2).to(device)
    if is_prepared:
        return _Side(rows, views, torch.ones(len(rows), dtype=dtype, device=device))
    with single_threaded(device):
        scales = row_scales(rows, torch.promote_types(rows.dtype, dtype), options, REFERENCE)
    return _Side(rows, views, scales.to(dtype))


def _kept(
    samples: Samples,
    sides: tuple[_Side, _Side],
    processes: Processes | None,
    power: int,
    with_gradient: bool,
    degenerate: Degenerate,
) -> Kept:
    own = sides[0]
    labels, instances = samples.labels[:: own.views], samples.instances[:: own.views]
    here = _Here.of(labels, instances, samples, processes)
    x, y = (here.means(*side.means()) for side in sides)
    usable = [each for each in here.classes if each.size >= LEAST]
    few = len(here.classes) - len(usable)
    if not usable and degenerate == "zero":
        nothing = own.scales.new_zeros(())
        no_gradient = own.scales.new_zeros(own.rows.shape) if with_gradient else None
        return Kept(nothing, no_gradient, 0, few, 0)
    if not usable:
        raise DegenerateBatchError(
            f"{LEAST} instances of one class in the batch, of which retention is made",
            f"at most {max((each.size for each in here.classes), default=0)}",
            "give larger or class-balanced batches, or keep=0",
        )
    gradient = None
    if with_gradient:
        gradient = own.scales.new_zeros(len(x.index), x.rows.shape[1])
    total = own.scales.new_zeros((), dtype=precise_dtype(own.scales.device))
    weight, counted = torch.zeros_like(total), torch.zeros_like(total)
    for part in retained(x, y, usable, power, processes, with_gradient=with_gradient):
        total += part.values @ part.weights
        weight += part.weights.sum()
        counted += (part.weights > 0).sum()
        if gradient is not None and part.gradient is not None:
            gradient.index_copy_(0, here.places(part.index), part.gradient)
    # Where every class is alike, nothing is kept and nothing says where to go.
    weight = weight.where(weight > 0, 1)
    if gradient is not None:
        factor = -(1 if processes is None else len(processes.sizes)) / weight
        gradient = here.rows(gradient.mul_(factor.to(gradient.dtype)))
        gradient = _pulled_back(gradient, own)
    classes = int(counted)
    loss = (1 - total / weight).to(own.scales.dtype)
    return Kept(loss, gradient, classes, few, len(usable) - classes)


def _pulled_back(gradient: Tensor, own: _Side) -> Tensor:
    """(N, d): (g - (u . g) u) / (p |e|), u = e / |e|, of g (b, d) of the mean of p views."""
    rows = own.rows.to(gradient.dtype).view(-1, own.views, gradient.shape[1])
    scales = own.scales.view(-1, own.views, 1)
    each = gradient[:, None]
    along = torch.linalg.vecdot(rows, each)[..., None].mul_(scales.square())
    pulled = torch.addcmul(each, rows, along, value=-1)
    return pulled.mul_(scales / own.views).flatten(0, 1)


@dataclass(frozen=True)
class _Here:
    """The instances of this process by class, and the classes of the whole batch."""

    order: Tensor  # (b,) int64: rows sorted by class and instance.
    instances: Runs | None  # Of sorted rows; None where each row is an instance.
    classes: Sequence[OwnClass]

    @classmethod
    def of(
        cls, labels: Tensor, instances: Tensor, samples: Samples, processes: Processes | None
    ) -> _Here:
        """From the labels and instance numbers of this process, one per first-dimension row."""
        runs = None
        if samples.instances_given and len(labels):
            grouping = group(labels, instances)
            order, own = grouping.order, _slices(grouping, labels)
            runs = grouping.instances if grouping.instances.longest > 1 else None
        else:
            order = labels.argsort(stable=True)
            runs_of: Callable[..., Any] = torch.unique_consecutive
            names, counts = runs_of(labels.index_select(0, order), return_counts=True)
            sizes = counts.tolist()
            places = zip(names.tolist(), accumulate(sizes), sizes, strict=True)
            own = {name: slice(end - n, end) for name, end, n in places if name != UNLABELLED}
        of_all = {label: part.stop - part.start for label, part in own.items()}
        if processes is not None:
            of_all = _sizes_of_all(samples, processes)
        nowhere = slice(0, 0)
        classes = [OwnClass(n, own.get(label, nowhere)) for label, n in of_all.items()]
        return cls(order, runs, classes)

    def means(self, rows: Tensor, scales: Tensor) -> Instances:
        """The mean of each instance's rows times scales, sorted by class."""
        if self.instances is None:
            return Instances(rows, self.order, scales)
        runs = self.instances
        rows = rows.index_select(0, self.order).to(scales.dtype)
        means = runs.sums(rows, scales.index_select(0, self.order)).div_(runs.sizes[:, None])
        return Instances(
            means, torch.arange(len(means), device=rows.device), torch.ones_like(means[:, 0])
        )

    def places(self, instances: Tensor) -> Tensor:
        """Where the gradient in instances is collected: their rows, where each row is one."""
        return instances if self.instances is not None else self.order.index_select(0, instances)

    def rows(self, gradient: Tensor) -> Tensor:
        """(b, d): the gradient in rows from (K, d), that in their instances' means."""
        if self.instances is None:
            return gradient
        runs = self.instances
        gradient = gradient.div_(runs.sizes[:, None]).index_select(0, runs.run_of_row)
        return torch.empty_like(gradient).index_copy_(0, self.order, gradient)


def _slices(grouping: Grouping, labels: Tensor) -> dict[int, slice]:
    """Where the instances of each labelled class stand, by its label."""
    first = grouping.classes.starts
    names = labels.index_select(0, grouping.order.index_select(0, first)).tolist()
    labelled = grouping.labelled.index_select(0, first).tolist()
    runs = grouping.instances_of_classes
    places = zip(names, labelled, runs.starts.tolist(), runs.sizes.tolist(), strict=True)
    return {name: slice(at, at + n) for name, is_class, at, n in places if is_class}


def _sizes_of_all(samples: Samples, processes: Processes) -> dict[int, int]:
    """Instances of each labelled class on all processes, each of which has whole instances."""
    instances = samples.instances
    if not samples.instances_given:
        instances = instances + processes.own_rows.start
    ids = processes.gather(torch.stack([samples.labels, instances], dim=1))
    grouping = group(ids[:, 0], ids[:, 1])
    ranks = torch.arange(len(processes.sizes), device=ids.device)
    ranks = ranks.repeat_interleave(torch.tensor(processes.sizes, device=ids.device))
    ranks = ranks.index_select(0, grouping.order)
    runs = grouping.instances
    ends = runs.starts + runs.sizes - 1
    divided = ranks.index_select(0, runs.starts) != ranks.index_select(0, ends)
    if bool(divided.any()):
        instance = ids[:, 1].index_select(0, grouping.order)[runs.starts[divided][0]]
        raise InputError(
            "all views of an instance on one process, where their mean is taken",
            f"instance {int(instance)} on several",
            "let the sampler give whole instances to a process, or leave the numbers out",
        )
    slices = _slices(grouping, ids[:, 0])
    return {name: part.stop - part.start for name, part in slices.items()}
