"""How far the instances of each class in a batch are spread, from sums that the loss has anyway."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import UNLABELLED
from uncollapse.losses._engine.result import ClassSums


@dataclass(frozen=True)
class ClassSpread:
    """Variance inside the classes of a batch, on the unit sphere, as `measure` estimates it.

        within_c = 1 - a_c = instance_c + view_c,  instance_c = s_c - a_c
        a_c = mean cosine of rows of different instances of class c, s_c of views of one instance

    Of the batch, after it has been gathered: an unbiased estimate, noisy in classes of few rows,
    and from sums in the loss's precision: in float32 right to 1e-6.

    Attributes:
        labels: (C,) int64, ascending: the classes of the batch.
        instances: (C,) int64, how many of each are in it.
        within_class_variance: (C,) float64, 0 to 1 up to noise; NaN for a single instance.
        instance_variance: (C,) float64, the part between instances; NaN without views.

    Examples:
        >>> import torch
        >>> from uncollapse.losses import SupCLLoss
        >>> criterion = SupCLLoss(alpha=0.5, temperature=0.1, track=True)
        >>> points = torch.eye(4)[[0, 0, 0, 1, 2]]  # class 0 is a point, class 1 two
        >>> loss = criterion(points[:, None].repeat(1, 2, 1), torch.tensor([0, 0, 0, 1, 1]))
        >>> {k: abs(round(v, 5)) for k, v in criterion.last.within_class_variance.items()}
        {0: 0.0, 1: 1.0}
        >>> criterion.last.spread.instances.tolist()
        [3, 2]
    """

    labels: Tensor
    instances: Tensor
    within_class_variance: Tensor
    instance_variance: Tensor

    @property
    def mean(self) -> float:
        """Of the within-class variances that there are; NaN if there are none."""
        return float(self.within_class_variance.nanmean())


def within_class_variances(tracked: ClassSums) -> dict[int, float]:
    """By label, of the labelled classes with two instances.

    In Python's own numbers and one loop: each operation on a tensor or an array takes some 15 us
    right after a loss, which has filled the processor's caches; the loop takes 10.
    """
    grouping, products = tracked.grouping, tracked.products
    if products is None:
        return {}
    sums, labels = products.tolist(), grouping.labels.tolist()
    counts, most = grouping.instances_of_classes.sizes.tolist(), grouping.instances.longest
    if most * len(sums) != len(labels):
        return _of_several_views(tracked, sums, labels, counts)
    scale, found, first = tracked.temperature / most**2, {}, 0
    for count in counts:
        if count > 1:  # an unlabelled instance is a class of its own
            after = first + count
            cosine = scale * sum(sums[first:after]) / (count * (count - 1))
            found[labels[first * most]] = 1 - cosine
            first = after
        else:
            first += 1
    return found


def _of_several_views(
    tracked: ClassSums, sums: list[float], labels: list[int], counts: list[int]
) -> dict[int, float]:
    """Where instances differ in their numbers of views."""
    views, found, first, row = tracked.grouping.instances.sizes.tolist(), {}, 0, 0
    for count in counts:
        after = first + count
        rows = sum(views[first:after])
        if count > 1:
            pairs = rows**2 - sum(n**2 for n in views[first:after])
            found[labels[row]] = 1 - tracked.temperature * sum(sums[first:after]) / pairs
        first, row = after, row + rows
    return found


def spread_of(tracked: ClassSums) -> ClassSpread:
    """Of all labelled classes."""
    grouping, within = tracked.grouping, within_class_variances(tracked)
    labels = grouping.labels.index_select(0, grouping.classes.starts).cpu()
    class_of = grouping.instances_of_classes.run_of_row.cpu()
    rows = grouping.classes.sizes.cpu().double()
    of_views, of_instances = (
        torch.zeros_like(rows).index_add_(0, class_of, values.cpu().double())
        for values in (grouping.instances.sizes**2, tracked.instance_squares)
    )
    cosines = (tracked.temperature * of_instances - rows) / (of_views - rows)
    cosines = cosines.where(of_views > rows, nan)
    values = [within.get(label, nan) for label in labels.tolist()]
    variance = torch.tensor(values, dtype=torch.float64)
    there = labels != UNLABELLED
    instances = grouping.instances_of_classes.sizes.cpu()
    columns = (labels, instances, variance, cosines - (1 - variance))
    return ClassSpread(*(column[there] for column in columns))
