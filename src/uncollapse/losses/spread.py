"""How far the instances of each class in a batch are spread, from sums that the loss has anyway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
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
    """Sums of a batch, from which its spread is computed when it is asked for.

    In Python's own numbers: each call on a tensor or an array, right after a loss that has filled
    the processor's caches, takes longer than they do for ten classes.
    """

    sums: ClassSums

    def _classes(self) -> Iterator[tuple[int, int, int, int, float, float]]:
        """Label, instances, rows, sum of squared views, |C|^2 and sum of |I|^2 of each class."""
        grouping = self.sums.grouping
        labels, sizes = grouping.labels.tolist(), grouping.classes.sizes.tolist()
        counts, squares = (
            each.tolist() for each in (grouping.instances_of_classes.sizes, self.sums.class_squares)
        )
        own = list(accumulate(self.sums.instance_squares.tolist(), initial=0.0))
        views, most = [0], grouping.instances.longest
        if most * (len(own) - 1) != len(labels):
            most = 0
            views = list(accumulate((grouping.instances.sizes**2).tolist(), initial=0))
        first = row = 0
        for count, rows, square in zip(counts, sizes, squares, strict=True):
            after = first + count
            if labels[row] != UNLABELLED:
                of_views = rows * most if most else views[after] - views[first]
                yield labels[row], count, rows, of_views, square, own[after] - own[first]
            first, row = after, row + rows

    @property
    def within_class_variance(self) -> dict[int, float]:
        """By label, of the labelled classes with two instances."""
        tau = self.sums.temperature
        # |C_c|^2 = sum of |I_k|^2 + products of different instances.
        return {
            label: 1 - tau * (square - own) / (rows * rows - views)
            for label, count, rows, views, square, own in self._classes()
            if count > 1
        }

    @cached_property
    def spread(self) -> ClassSpread:
        """Of all labelled classes."""
        tau, found = self.sums.temperature, []
        for label, count, rows, views, square, own in self._classes():
            between = tau * (square - own) / (rows * rows - views) if count > 1 else nan
            within = (tau * own - rows) / (views - rows) if views > rows else nan
            found.append((label, count, 1 - between, within - between))
        columns = zip(*found, strict=True) if found else ((),) * 4
        kinds = (torch.int64, torch.int64, torch.float64, torch.float64)
        given = zip(columns, kinds, strict=True)
        return ClassSpread(*(torch.tensor(values, dtype=kind) for values, kind in given))
