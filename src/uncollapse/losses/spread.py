"""How far the instances of each class in a batch are spread, from sums that the loss has anyway."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    def spread(self) -> ClassSpread:
        """The spread of each class; in NumPy, whose calls on short arrays are the cheaper ones."""
        grouping, tau = self.sums.grouping, self.sums.temperature
        classes, of_class = grouping.classes, grouping.instances_of_classes
        sizes = (classes.sizes, of_class.sizes, grouping.instances.sizes)
        rows, instances, views = map(_numpy, sizes)
        starts, first = _numpy(of_class.starts), _numpy(classes.starts)
        of_instances = np.add.reduceat(_numpy(self.sums.instance_squares, np.float64), starts)
        of_views = np.add.reduceat(views * views, starts)
        # |C_c|^2 = sum of |I_k|^2 + products of different instances; the same of rows in I_k.
        between = tau * (_numpy(self.sums.class_squares, np.float64) - of_instances)
        cosine = _ratio(between, rows * rows - of_views)
        view_cosine = _ratio(tau * of_instances - rows, of_views - rows)
        labels = _numpy(grouping.labels)[first]
        columns = (labels, instances, 1 - cosine, view_cosine - cosine)
        kept = _numpy(grouping.labelled)[first]
        return ClassSpread(*(torch.from_numpy(column[kept]) for column in columns))


def _numpy(values: Tensor, dtype: type[np.float64] | None = None) -> NDArray[Any]:
    """On the CPU, without a copy where they are there already."""
    array: NDArray[Any] = values.cpu().numpy()
    return array if dtype is None else array.astype(dtype, copy=False)


def _ratio(sums: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """Their mean; NaN where there are no pairs."""
    return np.divide(sums, pairs, out=np.full(len(sums), np.nan), where=pairs > 0)
