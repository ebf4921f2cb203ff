"""The SupCL loss as a module."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import torch
import torch.distributed as dist
from torch import Tensor, nn

from uncollapse.losses._engine.arguments import Options, check_number
from uncollapse.losses.compiled import supcl_operator
from uncollapse.losses.supcl import SupCLTerms, supcl_terms
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass, Reduction, SelfPairs

# Those after the batch; the last two say how the loss is computed, not which it is.
_ARGUMENTS = tuple(signature(supcl_terms).parameters)[3:]


class SupCLLoss(nn.Module):
    """`supcl_loss` as a module with the same arguments.

    torch.compile takes it whole (fullgraph=True), unless it gathers from several processes.

    Attributes:
        last: The terms of the latest call, without the graph; None before the first, and not
            changed by compiled calls.

    Examples:
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
        Conventions(self_pairs, reduction, anchors_without_positives, one_class)
        self.alpha = check_number("alpha", alpha, 0.0, 1.0)
        options = Options(temperature, normalize, gather, process_group, tile_size)
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
        if torch.compiler.is_compiling() and not self.gather:
            return self._compiled(embeddings, labels, instances)
        arguments = {name: getattr(self, name) for name in _ARGUMENTS}
        terms = supcl_terms(embeddings, labels, instances, **arguments)
        self.last = replace(terms, loss=terms.loss.detach())
        return terms.loss

    def _compiled(
        self, embeddings: Tensor, labels: Tensor | None, instances: Tensor | None
    ) -> Tensor:
        loss: Tensor = supcl_operator(
            embeddings,
            labels,
            instances,
            self.alpha,
            self.temperature,
            self.self_pairs,
            self.reduction,
            self.anchors_without_positives,
            self.one_class,
            self.normalize,
            self.tile_size,
            torch.is_grad_enabled() and embeddings.requires_grad,
        )[0]
        return loss

    def extra_repr(self) -> str:
        """The arguments that define the loss."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in _ARGUMENTS[:-2])
