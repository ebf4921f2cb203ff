"""`CollapseMetric`: the same measurement during training, over any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from uncollapse import metrics
from uncollapse.errors import InputError
from uncollapse.metrics import Classes, ClassMoments
from uncollapse.records import Measurement, Variances
from uncollapse.samples import (
    ByRole,
    Contents,
    CopyCounter,
    Sample,
    row_norms,
    sample_of,
    usable,
)

_FAULTS = (
    *("unlabelled", "not_finite", "zero", "no_label", "no_instance"),
    "instance_in_two_classes",
)
# Second moments of all classes lie in memory from the start, on every device.
_MOST_BYTES = 8 << 30
# Distinct instances up to which copies are counted exactly; of more, from a part of them.
_MOST_KINDS = 1 << 15
# Types of embeddings: counted in a state, so that they merge and are reset as the rows are.
_TYPES = (
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    *("int64", "int32", "int16", "int8", "uint8", "another type"),
)


def merge_moments(stacked: Tensor) -> Tensor:
    """Moments of several processes or batches as one: (parts, C, w + 2, w) -> (C, w + 2, w).

    For each class, row 0 holds the number of units n, row 1 the sum of their features and the rest
    (where intervals are kept) their centred second moments. All add up, the last as
    `ClassMoments.merged` says.
    """
    result = stacked[0].clone()
    for part in stacked[1:]:
        n, m = result[:, 0, :1], part[:, 0, :1]
        difference = part[:, 1] / m.clamp(min=1) - result[:, 1] / n.clamp(min=1)
        weight = n * m / (n + m).clamp(min=1)
        result = result + part
        if result.shape[1] > 2:
            result[:, 2:] += weight[:, :, None] * difference[:, :, None] * difference[:, None, :]
    return result


def merge_copies(stacked: Tensor) -> Tensor:
    """What several processes or batches have counted of copies, as one: tables of `_table`."""
    counter = _counter(stacked[0])
    for part in stacked[1:]:
        counter.merge(_counter(part))
    return _table(counter).to(stacked.device)


def _table(counter: CopyCounter) -> Tensor:
    """What a counter holds, in one shape whatever it has seen: (1 + most, 4) integers.

    Row 0 begins with the halvings; the others are key, hash, count and class of a kind, or zeros.
    """
    table = np.zeros((1 + _MOST_KINDS, 4), dtype=np.int64)
    kinds = counter.array().T.view(np.int64)
    table[1 : 1 + len(kinds)], table[0, 0] = kinds, counter.halvings
    return torch.from_numpy(table)


def _counter(table: Tensor) -> CopyCounter:
    kinds = table[1:][table[1:, 2] > 0].cpu().numpy().view(np.uint64)
    return CopyCounter.restored(kinds.T, int(table[0, 0]), _MOST_KINDS)


class CollapseMetric(Metric):
    """Within-class, instance, view and between-class variance as a torchmetrics metric.

    Sum states: per class the number of instances and rows and the sum of embeddings; they give
    every estimate, batch by batch and over processes. With `intervals`, also the centred second
    moments, (d + 6)^2 numbers per class, which give the same intervals as `measure`. Exact copies
    of instances are counted by hashes of at most 32,768 of them, and are one in the intervals.

    All views of an instance must come in one `update`. States are float64, which rules out devices
    without it. Classes with fewer than two instances so far are left out.

    Args:
        num_classes: Labels are integers from 0 to num_classes - 1.
        dimension: Of the embeddings.
        intervals: Whether to keep what intervals need.
        drop_invalid: Drop rows that are zero or not finite instead of refusing them.
        kwargs: Of `torchmetrics.Metric`.

    Raises:
        InputError: Labels out of range, another dimension, unusable rows.

    Examples:
        >>> import torch
        >>> metric = CollapseMetric(num_classes=2, dimension=4)
        >>> rows = torch.eye(2, 4).repeat(20, 1)
        >>> metric.update(rows, torch.tensor([0, 1] * 20))
        >>> round(float(metric.compute()["within_class_variance"]), 12)
        0.0
        >>> metric.measurement().verdict
        'collapsed'
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    samples: Tensor
    types: Tensor
    left_out: Tensor
    unnormalised: Tensor
    moments: Tensor
    copies: Tensor

    def __init__(
        self,
        num_classes: int,
        dimension: int,
        *,
        intervals: bool = True,
        drop_invalid: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_classes < 2 or dimension < 1:
            raise InputError(
                "num_classes >= 2 and dimension >= 1",
                f"{num_classes} and {dimension}",
                "give the number of classes and of embedding dimensions",
            )
        size = 8 * num_classes * (dimension + metrics.EXTRA) ** 2
        if intervals and size > _MOST_BYTES:
            raise InputError(
                f"second moments of {_MOST_BYTES >> 30} GiB at most for intervals",
                f"{size / 2**30:.0f} GiB for {num_classes} classes of {dimension} dimensions",
                "intervals=False keeps sums alone; measure files for intervals",
            )
        self.num_classes = num_classes
        self.dimension = dimension
        self.intervals = intervals
        self.drop_invalid = drop_invalid
        sums = {"types": len(_TYPES), "left_out": len(_FAULTS), "unnormalised": 1}
        for name, size in {**sums, "samples": num_classes}.items():
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")
        width = dimension + metrics.EXTRA
        empty = torch.zeros(num_classes, 2 + intervals * width, width, dtype=torch.float64)
        self.add_state("moments", empty, dist_reduce_fx=merge_moments)
        none_yet = _table(CopyCounter(_MOST_KINDS))
        self.add_state("copies", none_yet, dist_reduce_fx=merge_copies)

    def update(self, embeddings: Tensor, labels: Tensor, instances: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            embeddings: (N, d) rows, or (N, p, d) for p views of each of N instances.
            labels: (N,) integers; rows of -1 are unlabelled: left out and counted.
            instances: (N,) instance of each row; ids need to differ within this batch only.
        """
        sample = self._checked(
            sample_of(embeddings, ByRole[Any](labels=labels, instances=instances))
        )
        for code, features, _, rows in metrics.features_by_class(sample):
            label = sample.labels.names[code]
            self.samples[label] += rows
            part = np.zeros((1, *self.moments.shape[1:]))
            part[0, 0], part[0, 1] = len(features), features.sum(axis=0)
            if self.intervals:
                part[0, 2:] = ClassMoments.scattered(features).scatter
            mine = self.moments[label : label + 1]
            new = torch.as_tensor(part, device=mine.device)
            self.moments[label : label + 1] = merge_moments(torch.stack([mine, new]))
        self._count_copies(sample)

    def _count_copies(self, sample: Sample) -> None:
        """Count the batch's instances by their contents, to find copies in other batches too."""
        if not len(sample.matrix):
            return
        counter = _counter(self.copies)
        contents = Contents(sample, row_norms(sample.matrix))
        labels = np.array(sample.labels.names, dtype=np.int64)[sample.labels.codes]
        counter.add(contents.keys, contents.hashes, labels[contents.first])
        self.copies = _table(counter).to(self.copies.device)

    def _checked(self, sample: Sample) -> Sample:
        if sample.matrix.shape[1] != self.dimension:
            raise InputError(
                f"embeddings of dimension {self.dimension}",
                f"{sample.matrix.shape[1]}",
                "give the dimension when the metric is made",
            )
        names = sample.labels.names
        if not all(isinstance(n, int) and 0 <= n < self.num_classes for n in names):
            raise InputError(
                f"integer labels from 0 to {self.num_classes - 1}",
                f"labels such as {min(names, default=None)} and {max(names, default=None)}",
                "give num_classes, and code the labels",
            )
        sample = usable(sample, drop_invalid=self.drop_invalid)
        for k, name in enumerate(_FAULTS):
            self.left_out[k] += sample.dropped.get(name, 0)
        self.unnormalised += not sample.normalised
        known = sample.dtype if sample.dtype in _TYPES else _TYPES[-1]
        self.types[_TYPES.index(known)] += 1
        return sample

    def _classes(self) -> Classes | None:
        """Moments of the classes that can be measured; None for fewer than two."""
        seen = {
            label: ClassMoments(
                int(moments[0, 0]),
                moments[1],
                int(self.samples[label]),
                scatter=moments[2:] if self.intervals else None,
            )
            for label, moments in enumerate(self.moments.cpu().numpy())
            if moments[0, 0] > 0
        }
        instances = list(seen.values())
        linked = metrics.linked_units(None, _counter(self.copies), list(seen), instances)
        classes = Classes(
            tuple(seen),
            linked.units,
            instances,
            dtype=", ".join(_named(_TYPES, self.types)),
            normalised=not bool(self.unnormalised.any()),
            dropped=_named(_FAULTS, self.left_out),
            views=any(moments.has_views for moments in instances if moments.units > 1),
            copies=linked.extra,
            linked=any(a is not b for a, b in zip(linked.units, instances, strict=True)),
            part_of_copies=bool(self.copies[0, 0] > 0),
        ).of_several_units()
        return metrics.with_views_that_differ(classes) if len(classes.names) > 1 else None

    def compute(self) -> dict[str, Tensor]:
        """The five variances by name; NaN where one does not exist."""
        classes = self._classes()
        variances = Variances() if classes is None else metrics.decompose(classes.units).variances
        values = {}
        for key, variance in variances.items():
            value = float("nan") if variance.estimate is None else variance.estimate
            values[key] = torch.tensor(value, dtype=torch.float64, device=self.device)
        return values

    def measurement(self, **options: Any) -> Measurement:
        """The whole record over all processes; call it in every process.

        Args:
            options: `margins`, `prediction`, `confidence`, `layer` and `split` as in `measure`.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            classes = self._classes()
        if classes is None:
            raise InputError(
                "two classes or more with two instances each",
                "fewer so far",
                "update the metric with more rows",
            )
        return metrics.build_record(classes, **options)


def _named(names: Sequence[str], counts: Tensor) -> dict[str, int]:
    """Counts by name, those of zero left out."""
    return {name: int(n) for name, n in zip(names, counts.tolist(), strict=True) if n}
