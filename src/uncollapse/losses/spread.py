"""How far the instances of each class in a batch are spread, from sums that the loss has anyway."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Tracked:
    """Sums of a batch, from which its spread is computed when it is asked for."""

    sums: ClassSums

    @property
    def within_class_variance(self) -> dict[int, float]:
        """By label, of the labelled classes with two instances.

        In Python's own numbers and one loop: each call on a tensor or an array, right after a loss
        that has filled the processor's caches, takes longer than they do for ten classes.
        """
        grouping, tau = self.sums.grouping, self.sums.temperature
        labels, own = grouping.labels.tolist(), self.sums.instance_squares.tolist()
        counts, sizes = (
            grouping.instances_of_classes.sizes.tolist(),
            grouping.classes.sizes.tolist(),
        )
        views, most = None, grouping.instances.longest
        if most * len(own) != len(labels):
            views = (grouping.instances.sizes**2).tolist()
        found, first, row = {}, 0, 0
        for count, rows, square in zip(
            counts, sizes, self.sums.class_squares.tolist(), strict=True
        ):
            after = first + count
            if count > 1 and labels[row] != UNLABELLED:
                of_views = rows * most if views is None else sum(views[first:after])
                # |C_c|^2 = sum of |I_k|^2 + products of different instances.
                products = square - sum(own[first:after])
                found[labels[row]] = 1 - tau * products / (rows * rows - of_views)
            first, row = after, row + rows
        return found

    @cached_property
    def spread(self) -> ClassSpread:
        """Of all labelled classes."""
        grouping, within = self.sums.grouping, self.within_class_variance
        labels = grouping.labels.index_select(0, grouping.classes.starts).cpu()
        class_of = grouping.instances_of_classes.run_of_row.cpu()
        rows = grouping.classes.sizes.cpu().double()
        of_views, of_instances = (
            torch.zeros_like(rows).index_add_(0, class_of, values.cpu().double())
            for values in (grouping.instances.sizes**2, self.sums.instance_squares)
        )
        cosines = (self.sums.temperature * of_instances - rows) / (of_views - rows)
        cosines = cosines.where(of_views > rows, nan)
        values = [within.get(label, nan) for label in labels.tolist()]
        variance = torch.tensor(values, dtype=torch.float64)
        there = labels != UNLABELLED
        instances = grouping.instances_of_classes.sizes.cpu()
        columns = (labels, instances, variance, cosines - (1 - variance))
        return ClassSpread(*(column[there] for column in columns))
