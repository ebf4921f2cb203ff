"""A batch in the caller's order, and what each pair weighs in it, without a sort and a wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import precise_dtype
from uncollapse.losses._engine.batch import Checked
from uncollapse.losses._engine.checks import Facts, defer
from uncollapse.losses._engine.definition import Definition, Positives, Scope
from uncollapse.losses._engine.grouping import group
from uncollapse.losses._engine.result import ClassSums, Evaluated, Lacking


@dataclass(frozen=True)
class Plain:
    """The rows of this process against the columns of all, neither sorted nor cut."""

    checked: Checked
    columns: Tensor  # (N, d), so that products of them, times scales, are the logits.
    labels: Tensor  # (N,) int64, like all below.
    instances: Tensor
    own: slice  # Where the rows stand among the columns.
    scales: Tensor | None = None  # (N,) of the columns; None where they have them already.

    @property
    def rows(self) -> Tensor:
        """(R, d)."""
        return self.columns[self.own]

    @property
    def scaled(self) -> Tensor:
        """(N, d): columns whose products are the logits."""
        if self.scales is None:
            return self.columns
        return self.columns.to(self.scales.dtype) * self.scales[:, None]

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
        by_class = grouping.instances_of_classes.sums(by_instance)
        of_class, of_instance = (
            sums.square().sum(1, dtype=precise_dtype(sums.device))
            for sums in (by_class, by_instance)
        )
        return ClassSums(of_class, of_instance, grouping, self.checked.options.temperature)


def lay_plain(checked: Checked, *, scaled: bool = True) -> Plain:
    """Scale the batch, unless it is to stay as it is; gather it if it is spread over processes."""
    samples, processes = checked.samples, checked.processes
    # Kernels read memory as it lies.
    labels, instances = samples.labels.contiguous(), samples.instances.contiguous()
    columns, scales = samples.embeddings.detach().contiguous(), None if scaled else checked.scales
    if scaled:
        columns = columns.to(samples.compute_dtype) * checked.scales[:, None]
    if processes is None:
        return Plain(checked, columns, labels, instances, slice(0, len(columns)), scales)
    if not samples.instances_given:
        instances = instances + processes.own_rows.start
    ids = processes.gather(torch.stack([labels, instances], dim=1))
    labels, instances = (numbers.contiguous() for numbers in ids.unbind(1))
    scales = None if scales is None else processes.gather(scales)
    return Plain(checked, processes.gather(columns), labels, instances, processes.own_rows, scales)


@dataclass(frozen=True)
class Weighed:
    """Weights of each term's anchors in its mean: all pairs of one anchor weigh the same."""

    per_pair: Tensor  # (T, N) in the dtype of the logits, 0 without pairs.
    per_anchor: Tensor  # (T, N), of all its pairs together.
    lacking: Lacking

    def anchors(self, definition: Definition, scope: Scope) -> Tensor:
        """(N,): a_i, what all pairs of an anchor weigh by the terms of a scope, in units."""
        chosen = (term.weight / definition.unit if term.scope == scope else 0 for term in definition.terms)
        return _weighted(self.per_anchor.unbind(), chosen)

    def pairs(self, definition: Definition, kind: Positives) -> Tensor:
        """(N,): what each of an anchor's pairs of a kind weighs in the loss."""
        chosen = (term.weight if kind in term.positives else 0 for term in definition.terms)
        return _weighted(self.per_pair.unbind(), chosen)


def _weighted(parts: Sequence[Tensor], weights: Iterable[float]) -> Tensor:
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


def weigh(
    definition: Definition, positives: Tensor, labelled: Tensor, dtype: torch.dtype
) -> Weighed:
    """From (T, N) numbers of positives of each anchor and term.

    pairs:    w_i = 1 / sum_k |P(k)|
    anchors:  w_i = 1 / (A |P(i)|), A the number of anchors with a positive ("drop") or of all
              anchors ("zero")
    """
    has = torch.gt(positives, 0, out=positives.new_empty(positives.shape, dtype=dtype))
    having = has.sum(1, dtype=positives.dtype)
    of_labelled = tuple(term.labelled_anchors for term in definition.terms)
    if definition.conventions.reduction == "pairs":
        totals = positives.sum(1)[:, None]
    elif definition.conventions.anchors_without_positives == "zero":
        everyone = (labelled if only else torch.ones_like(labelled) for only in of_labelled)
        totals = (
            positives * torch.stack([anchors.sum() for anchors in everyone])[:, None]
        )
    else:
        totals = positives * having[:, None]
    per_pair = has / totals.clamp(min=1)
    return Weighed(per_pair, per_pair * positives, Lacking(having, labelled, of_labelled))


def examine(
    plain: Plain, definition: Definition, weighed: Weighed, extra: dict[str, Tensor]
) -> dict[str, float] | None:
    """Refuse the batch where it has to be, or leave that to a later call; the numbers, if seen."""
    checked = plain.checked
    if checked.options.checks == "off" and not checked.is_looked_at:
        return None
    facts = _facts(plain, definition, weighed, extra)
    if not checked.is_looked_at:
        defer(facts)
        return None
    values = facts.read(facts.numbers)
    if values.get("conflicts"):
        group(plain.labels, plain.instances)  # It says which.
    facts.judge(values)
    return values


def _facts(
    plain: Plain, definition: Definition, weighed: Weighed, extra: dict[str, Tensor]
) -> Facts:
    """The numbers by which the batch may be refused, as few as can say it."""
    checked, lacking = plain.checked, weighed.lacking
    options, samples = checked.options, checked.samples
    sizes = checked.scales
    if not options.normalize or checked.processes is not None:
        sizes = torch.linalg.vector_norm(plain.scaled, dim=1)
    ranges = {"size": sizes, "label": plain.labels}
    if samples.instances_given or samples.count < 2:
        ranges["instance"] = plain.instances
    numbers = {}
    for name, values in ranges.items():
        numbers[f"least {name}"], numbers[f"largest {name}"] = values.aminmax()
    if definition.conventions.anchors_without_positives == "error":
        numbers["labelled"] = lacking.labelled.sum()
    numbers |= extra
    names = [*numbers, *(f"having {number}" for number in range(len(definition.terms)))]
    parts = [*(number.view(1) for number in numbers.values()), lacking.having]
    flat = torch.cat(parts, out=sizes.new_empty(len(names), dtype=precise_dtype(sizes.device)))
    rows = len(plain.labels)
    return Facts(tuple(names), flat, definition, options, samples.compute_dtype, rows)


def conclude(
    plain: Plain,
    definition: Definition,
    weighed: Weighed,
    costs: Tensor,
    seen: dict[str, float] | None,
) -> Evaluated:
    """The loss, from (T, R) sums of - log p over pairs.

    L = sum_t weight_t sum_i w_ti costs_ti
    """
    checked, terms = plain.checked, definition.terms
    values = (weighed.per_pair * plain.to_columns(costs)).sum(1).unbind()
    total = _weighted(values, (term.weight for term in terms))
    shown: list[Tensor | None] = list(values)
    lacking: Lacking | tuple[int, ...] = weighed.lacking
    if seen is not None:
        shown = [value if seen[f"having {n}"] else None for n, value in enumerate(values)]
        lacking = weighed.lacking.counts()
    sums = plain.class_sums() if checked.options.track else None
    return Evaluated(total, shown, lacking, checked.backend, sums=sums)
