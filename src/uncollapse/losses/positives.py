"""Sums over positive pairs in O(N d), from sums over instances and classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from uncollapse.losses.samples import precise_dtype
from uncollapse.losses.tiles import Layout
from uncollapse.losses.weights import SelfPairs

__all__ = ["PositiveSums"]


@dataclass(frozen=True)
class PositiveSums:
    """Sums of the scaled embeddings y, and what weighted sums of positive logits are in them.

    The weight of a pair is equal for all views of an instance, because their numbers of positives
    are, so with I_k the sum over instance k and C_c the sum over class c

        sum over pairs of views       v_i y_i.y_j = sum_k v_k I_k.I_k  (- sum_i v_i y_i.y_i)
        sum over pairs in classes     c_i y_i.y_j = sum_c C'_c.C_c - sum_k c_k I_k.I_k

    with C'_c = sum over the class of c_k I_k, and self pairs left out or not.

    Attributes:
        layout: Rows and columns.
    """

    layout: Layout

    @cached_property
    def by_instance(self) -> Tensor:
        """(K, d): I_k."""
        return self.layout.grouping.instances.sums(self.layout.columns)

    @cached_property
    def by_class(self) -> Tensor:
        """(C, d): C_c."""
        return self.layout.grouping.instances_of_classes.sums(self.by_instance)

    @cached_property
    def instance_squares(self) -> Tensor:
        """(K,): I_k.I_k."""
        return _products(self.by_instance, self.by_instance)

    @cached_property
    def sample_squares(self) -> Tensor:
        """(N,): y_i.y_i."""
        return _products(self.layout.columns, self.layout.columns)

    def of_views(self, weights: Tensor, self_pairs: SelfPairs) -> Tensor:
        """Scalar: sum of v_i y_i.y_j over pairs of views, v = weights (N,)."""
        total = self._per_instance(weights).dot(self.instance_squares)
        if self_pairs == "exclude":
            total = total - weights.dot(self.sample_squares)
        return total

    def of_classes(self, weights: Tensor) -> Tensor:
        """Scalar: sum of c_i y_i.y_j over pairs of a class, of two instances, c = weights (N,)."""
        per_instance = self._per_instance(weights)
        weighed = self._weighed_classes(per_instance)
        return _products(weighed, self.by_class).sum() - per_instance.dot(self.instance_squares)

    def subtract_gradient(
        self,
        view_weights: Tensor | None,
        class_weights: Tensor | None,
        self_pairs: SelfPairs,
        gradient: Tensor,
    ) -> None:
        """Subtract the gradient of of_views(v) + of_classes(c) in the rows, in place.

            G_i -= 2 (v_k - c_k) I_k + c_k C_c + C'_c  (- 2 v_i y_i),  k, c of row i

        Args:
            view_weights: (N,) v; None for zeros.
            class_weights: (N,) c; None for zeros.
            self_pairs: Whether a sample with itself is a pair of views.
            gradient: (R, d).
        """
        part = torch.zeros_like(self.by_instance)
        if view_weights is not None:
            of_views = self._per_instance(view_weights).to(part.dtype)
            part.addcmul_(self.by_instance, of_views[:, None], value=2)
        if class_weights is not None:
            class_of = self.layout.grouping.instances_of_classes.of
            of_classes = self._per_instance(class_weights).to(part.dtype)
            part.addcmul_(self.by_instance, of_classes[:, None], value=-2)
            part.addcmul_(self.by_class.index_select(0, class_of), of_classes[:, None])
            part.add_(self._weighed_classes(of_classes).index_select(0, class_of))
        instance_of_row = self.layout.of_rows(self.layout.grouping.instances.of)
        gradient.sub_(part.index_select(0, instance_of_row))
        if self_pairs == "exclude" and view_weights is not None:
            of_rows = self.layout.of_rows(view_weights).to(gradient.dtype)
            gradient.addcmul_(self.layout.rows, of_rows[:, None], value=2)

    def _per_instance(self, weights: Tensor) -> Tensor:
        return weights.index_select(0, self.layout.grouping.instances.starts)

    def _weighed_classes(self, per_instance: Tensor) -> Tensor:
        return self.layout.grouping.instances_of_classes.sums(self.by_instance, per_instance)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """left_i . right_i of each row, for sums over rows in float64."""
    return (left * right).sum(1).to(precise_dtype(left.device))
