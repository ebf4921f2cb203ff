"""The SupCL loss as a module."""

from __future__ import annotations

from dataclasses import replace

import torch.distributed as dist
from torch import Tensor, nn

from uncollapse.losses.samples import check_number
from uncollapse.losses.supcl import (
    OneClass,
    SupCLTerms,
    check_arguments,
    make_options,
    supcl_terms,
)
from uncollapse.losses.weights import AnchorsWithoutPositives, Reduction, SelfPairs

__all__ = ["SupCLLoss"]


class SupCLLoss(nn.Module):
    """`supcl_loss` as a module with the same arguments.

    Attributes:
        last: The terms of the latest call, without the graph; None before the first.

    Example:
        >>> import torch
        >>> criterion = SupCLLoss(alpha=0.5, temperature=0.1)
        >>> views = torch.eye(4).reshape(2, 2, 4).repeat(2, 1, 1)
        >>> loss = criterion(views, torch.tensor([0, 1, 0, 1]))
        >>> criterion.last.supervised_anchors_without_positives
        0
    """

    last: SupCLTerms | None

    def __init__(
        self,
        *,
        alpha: float,
        temperature: float,
        self_pairs: SelfPairs = "exclude",
        reduction: Reduction = "anchors",
        anchors_without_positives: AnchorsWithoutPositives = "drop",
        one_class: OneClass = "error",
        normalize: bool = True,
        gather: bool = False,
        process_group: dist.ProcessGroup | None = None,
        tile_size: int | None = None,
    ) -> None:
        super().__init__()
        check_arguments(self_pairs, reduction, anchors_without_positives, one_class)
        options = make_options(temperature, normalize, gather, process_group, tile_size)
        self.alpha = check_number("alpha", alpha, 0.0, 1.0)
        self.temperature = options.temperature
        self.self_pairs = self_pairs
        self.reduction = reduction
        self.anchors_without_positives = anchors_without_positives
        self.one_class = one_class
        self.normalize = normalize
        self.gather = gather
        self.process_group = process_group
        self.tile_size = tile_size
        self.last = None

    def forward(
        self, embeddings: Tensor, labels: Tensor | None, instances: Tensor | None = None
    ) -> Tensor:
        """The loss of a batch."""
        terms = supcl_terms(
            embeddings,
            labels,
            instances,
            alpha=self.alpha,
            temperature=self.temperature,
            self_pairs=self.self_pairs,
            reduction=self.reduction,
            anchors_without_positives=self.anchors_without_positives,
            one_class=self.one_class,
            normalize=self.normalize,
            gather=self.gather,
            process_group=self.process_group,
            tile_size=self.tile_size,
        )
        self.last = replace(terms, loss=terms.loss.detach())
        return terms.loss

    def extra_repr(self) -> str:
        """The arguments that define the loss."""
        return (
            f"alpha={self.alpha}, temperature={self.temperature}, self_pairs={self.self_pairs!r}, "
            f"reduction={self.reduction!r}, "
            f"anchors_without_positives={self.anchors_without_positives!r}, "
            f"one_class={self.one_class!r}, normalize={self.normalize}, gather={self.gather}"
        )
