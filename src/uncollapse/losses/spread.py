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

    @cached_property
    def of_classes(self) -> list[tuple[int, int, float, float]]:
        """Of each class its label, its instances and the two variances of `ClassSpread`.

        In Python's own numbers: each call on a tensor takes longer than they do for all classes.
        """
        grouping, tau = self.sums.grouping, self.sums.temperature
        counts, labels = grouping.instances_of_classes.sizes.tolist(), grouping.labels.tolist()
        sizes, squares = grouping.classes.sizes.tolist(), self.sums.instance_squares.tolist()
        views, most = grouping.instances.sizes.tolist(), grouping.instances.longest
        found, instance, row = [], 0, 0
        for count, rows, square in zip(
            counts, sizes, self.sums.class_squares.tolist(), strict=True
        ):
            within = between = nan
            if count > 1:
                here = slice(instance, instance + count)
                equal = rows == count * most
                of_views = rows * most if equal else sum(each**2 for each in views[here])
                of_instances = sum(squares[here])
                # |C_c|^2 = sum of |I_k|^2 + products of different instances; so of rows in I_k.
                cosine = tau * (square - of_instances) / (rows * rows - of_views)
                within = 1 - cosine
                if of_views > rows:
                    between = (tau * of_instances - rows) / (of_views - rows) - cosine
            if labels[row] != UNLABELLED:
                found.append((labels[row], count, within, between))
            instance, row = instance + count, row + rows
        return found

    @cached_property
    def spread(self) -> ClassSpread:
        """The same in columns."""
        columns = zip(*self.of_classes, strict=True) if self.of_classes else ((),) * 4
        kinds = (torch.int64, torch.int64, torch.float64, torch.float64)
        given = zip(columns, kinds, strict=True)
        return ClassSpread(*(torch.tensor(values, dtype=kind) for values, kind in given))
