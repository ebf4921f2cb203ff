"""A batch in the caller's order, without a sort and a wait, and what it is refused for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import precise_dtype
from uncollapse.losses._engine.batch import Checked
from uncollapse.losses._engine.checks import Facts, defer
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.grouping import group
from uncollapse.losses._engine.processes import Exchange
from uncollapse.losses._engine.result import ClassSums, Evaluated, Lacking


@dataclass(frozen=True)
class Plain:
    """The rows of this process against the columns of all, neither sorted nor cut."""

    checked: Checked
    exchange: Exchange  # Of the columns; of a backend that places them itself, of the rows alone.
    labels: Tensor  # (N,) int64, like all below.
    instances: Tensor
    own: slice  # Where the rows stand among the columns.
    scales: Tensor | None = None  # (N,) of the columns, where these do not have them.

    @property
    def columns(self) -> Tensor:
        """(N, d), so that products of them, times scales, are the logits."""
        return self.exchange.rows

    @property
    def rows(self) -> Tensor:
        """(R, d)."""
        return self.columns[self.own]

    @property
    def scaled(self) -> Tensor:
        """(N, d): columns whose products are the logits."""
        if self.scales is None:
            return self.columns
        return self.columns * self.scales[:, None]  # In the wider precision of the two.

    @property
    def is_symmetric(self) -> bool:
        """Whether the rows are the columns."""
        return self.checked.processes is None

    def to_columns(self, values: Tensor) -> Tensor:
        """(k, R) of this process as (k, N) of all, by one exchange."""
        if self.checked.processes is None:
            return values
        return self.checked.processes.gather(values.T.contiguous()).T

    def class_sums(self) -> ClassSums:
        """What says how far the classes are spread; the host waits for their sizes."""
        grouping = group(self.labels, self.instances)
        by_instance = grouping.instances.sums(self.scaled.index_select(0, grouping.order))
        classes, precise = grouping.instances_of_classes, precise_dtype(by_instance.device)
        others = classes.sums(by_instance).index_select(0, classes.run_of_row).sub_(by_instance)
        products = others.mul_(by_instance).sum(1, dtype=precise)
        squares = by_instance.square().sum(1, dtype=precise)
        return ClassSums(products, squares, grouping, self.checked.options.temperature)


def lay_plain(checked: Checked, *, scaled: bool, with_columns: bool = True) -> Plain:
    """The batch as it came, or scaled; gathered if it is spread over processes.

    Without columns only labels and instance numbers are gathered.
    """
    samples, processes = checked.samples, checked.processes
    # Kernels read memory as it lies.
    labels, instances = samples.labels.contiguous(), samples.instances.contiguous()
    columns = samples.embeddings.detach().contiguous()
    if scaled:
        columns = columns * checked.scales[:, None]  # In the wider precision of the two.
    if processes is None:
        return Plain(checked, Exchange(columns), labels, instances, slice(0, len(columns)))
    # Comes while classes and masks are made.
    exchange = processes.exchange(columns) if with_columns else Exchange(columns)
    if not samples.instances_given:
        instances = instances + processes.own_rows.start
    ids = processes.gather(torch.stack([labels, instances], dim=1))
    labels, instances = (numbers.contiguous() for numbers in ids.unbind(1))
    return Plain(checked, exchange, labels, instances, processes.own_rows)


def weighted(parts: Sequence[Tensor], weights: Iterable[float]) -> Tensor:
    """The sum of those parts that have a weight, times it."""
    total = None
    for part, weight in zip(parts, weights, strict=True):
        if not weight:
            continue
        if total is not None:
            total = torch.add(total, part, alpha=weight)
        else:
            total = part if weight == 1 else part * weight
    return torch.zeros_like(parts[0]) if total is None else total


def examine(plain: Plain, facts: Callable[[], Facts]) -> dict[str, float] | None:
    """Refuse the batch where it has to be, or leave that to a later call; the numbers, if seen."""
    checked = plain.checked
    if checked.options.checks == "off" and not checked.is_looked_at:
        return None
    found = facts()
    if not checked.is_looked_at:
        defer(found)
        return None
    values = found.read(found.numbers)
    if values.get("conflicts"):
        group(plain.labels, plain.instances)  # It says which.
    found.judge(values)
    return values


def facts_of(
    checked: Checked,
    definition: Definition,
    ends: Mapping[str, tuple[Tensor, Tensor]],
    counts: Mapping[str, Tensor],
    having: Tensor,
    rows: int,
) -> Facts:
    """The numbers by which the batch may be refused.

    From the least and the largest of some, counts of others, and (T,) anchors that have a pair.
    """
    numbers = dict(counts)
    for name, (least, largest) in ends.items():
        numbers |= {f"least {name}": least, f"largest {name}": largest}
    names = (*numbers, *(f"having {number}" for number in range(len(having))))
    parts = [*(number.view(1) for number in numbers.values()), having]
    precise = precise_dtype(having.device)
    flat = torch.cat(parts, out=torch.empty(len(names), dtype=precise, device=having.device))
    samples = checked.samples
    return Facts(names, flat, definition, checked.options, samples.compute_dtype, rows)


def needs_instances(checked: Checked) -> bool:
    """Whether a batch may be of one instance alone."""
    return checked.samples.instances_given or checked.samples.count < 2


def conclude(
    plain: Plain,
    definition: Definition,
    values: Tensor,
    lacking: Lacking,
    seen: dict[str, float] | None,
) -> Evaluated:
    """The loss, from (T,) values of its terms."""
    weights = [term.weight for term in definition.terms]
    if all(weights) and len(weights) == 2:  # They are shares, of which the second says both.
        first, second = values.unbind()
        total = torch.lerp(first, second, weights[1])
    else:
        total = weighted(values.unbind(), weights)
    shown: list[Tensor | None] = list(values.unbind())
    counted: Lacking | tuple[int, ...] = lacking
    if seen is not None:
        shown = [value if seen[f"having {n}"] else None for n, value in enumerate(shown)]
        counted = lacking.counts()
    sums = plain.class_sums() if plain.checked.options.track else None
    return Evaluated(total, shown, counted, plain.checked.backend, sums=sums)
