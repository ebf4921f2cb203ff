"""Sums over positive pairs in O(N d), from sums over instances and classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.linalg import vecdot

from uncollapse.losses._engine.arguments import precise_dtype
from uncollapse.losses._engine.tiles import Layout


@dataclass(frozen=True)
class PositiveSums:
    """What weighted sums of positive logits y_i.y_j are in sums of the scaled embeddings y.

    The weight of a pair is equal for all views of an instance, because their numbers of positives
    are (and for all of a class, where every instance has as many views), so with I_k the sum over
    instance k and C_c the sum over class c

        sum over pairs of views       v_i y_i.y_j = sum_k v_k I_k.I_k  (- sum_i v_i y_i.y_i)
        sum over pairs in classes     c_i y_i.y_j = sum_k c_k I_k.(C_c - I_k),  c of k

    where the last part of the first line leaves out self pairs.
    """

    layout: Layout
    with_itself: bool  # Whether a sample with itself is a pair of views.

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

    def over_views(self, weights: Tensor) -> Tensor:
        """Scalar: sum of v_i y_i.y_j over pairs of views, v = weights (N,)."""
        total = self._per_instance(weights).dot(self.instance_squares)
        if not self.with_itself:
            total = total - weights.dot(self.sample_squares)
        return total

    def over_classes(self, weights: Tensor) -> Tensor:
        """Scalar: sum of c_i y_i.y_j over pairs of a class, of two instances, c = weights (N,)."""
        products = _products(self.by_instance, self._classes_of_instances())
        return self._per_instance(weights).dot(products.sub_(self.instance_squares))

    def subtract_gradient(
        self, view_weights: Tensor | None, class_weights: Tensor | None, gradient: Tensor
    ) -> None:
        """Subtract the gradient of over_views(v) + over_classes(c) in the rows from (R, d).

            G_i -= 2 (v_k - c_k) I_k + c_k C_c + C'_c  (- 2 v_i y_i),  k, c of row i

        with C'_c = sum over the class of c_k I_k; None stands for weights of 0.
        """
        zero = self.layout.columns.new_zeros(())
        of_views, of_classes = (
            zero if weights is None else self._per_instance(weights).to(zero.dtype)[:, None]
            for weights in (view_weights, class_weights)
        )
        total = self.by_instance * (of_views - of_classes).mul_(2)
        if class_weights is not None:
            runs = self.layout.grouping.instances_of_classes
            if self.layout.grouping.instances.are_equal:
                # Weights are equal in a class, and C'_c = c_k C_c.
                total.addcmul_(self._classes_of_instances(), of_classes, value=2)
            else:
                total.addcmul_(self._classes_of_instances(), of_classes)
                weighed = runs.sums(self.by_instance, of_classes.squeeze(1))
                total.add_(weighed.index_select(0, runs.run_of_row))
        instance_of_row = self.layout.of_rows(self.layout.grouping.instances.run_of_row)
        gradient.sub_(total.index_select(0, instance_of_row))
        if not self.with_itself and view_weights is not None:
            of_rows = self.layout.of_rows(view_weights).to(gradient.dtype)
            gradient.addcmul_(self.layout.rows, of_rows[:, None], value=2)

    def _per_instance(self, weights: Tensor) -> Tensor:
        return weights.index_select(0, self.layout.grouping.instances.starts)

    def _classes_of_instances(self) -> Tensor:
        """(K, d): C_c of each instance's class; not kept, because it takes half a batch."""
        runs = self.layout.grouping.instances_of_classes
        return self.by_class.index_select(0, runs.run_of_row)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """left_i . right_i of each row, for sums over rows in float64."""
    products: Tensor = vecdot(left, right)
    return products.to(precise_dtype(left.device))
