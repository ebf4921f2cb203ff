"""The SupCL loss as a module."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import torch
import torch.distributed as dist
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import Degenerate, Ids, Options, as_tensor, check_number
from uncollapse.losses.compiled import retention_operator, supcl_operator
from uncollapse.losses.degenerate import warn_of
from uncollapse.losses.retention import retention_terms
from uncollapse.losses.supcl import SupCLTerms, supcl_terms
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass, Reduction, SelfPairs

# Those after the batch; the last two say how the loss is computed, not which it is.
_ARGUMENTS = tuple(signature(supcl_terms).parameters)[3:]


class SupCLLoss(nn.Module):
    """`supcl_loss` as a module with the same arguments, and a term that keeps a reference.

        loss = supcl_loss + keep * retention_loss

    With keep > 0 every call takes `reference=`, another embedding of the batch's samples (see
    `retention_loss`): frozen features, raw inputs, the base encoder. Classes weigh in it as
    `reduction` says, by their samples ("anchors") or pairs ("pairs"), and it is made of cosines
    whatever `normalize` says. With keep = 0 the loss is `supcl_loss` to the bit.

    With degenerate="zero" a batch that lacks the loss's pairs counts as 0, and so does the term
    that keeps where no class has four instances; the first of each kind gives a
    `DegenerateBatchWarning`, all are counted.

    torch.compile takes it whole (fullgraph=True), unless it gathers from several processes.

    Args:
        keep: Weight of `retention_loss`, from 0 to 1e6; every batch must then have a class of four
            instances, unless degenerate="zero". The other arguments are those of `supcl_loss`.

    Attributes:
        last: The terms of the latest call, without the graph; None before the first, and not
            changed by compiled calls.
        degenerate_batches: Batches that counted as 0, as a whole or in the term that keeps; those
            of compiled calls not among them.

    Examples:
        >>> import torch
        >>> criterion = SupCLLoss(alpha=0.5, temperature=0.1)
        >>> views = torch.eye(4).reshape(2, 2, 4).repeat(2, 1, 1)
        >>> loss = criterion(views, torch.tensor([0, 1, 0, 1]))
        >>> criterion.last.supervised_anchors_without_positives
        0
        >>> criterion, base = SupCLLoss(alpha=0, temperature=0.1, keep=1), torch.randn(8, 32)
        >>> loss = criterion(base[:, :16], torch.arange(8) % 2, reference=base)
        >>> criterion.last.kept.classes
        2
    """

    last: SupCLTerms | None
    degenerate_batches: int

    def __init__(
        self,
        *,
        alpha: float,
        temperature: float,
        self_pairs: SelfPairs = "exclude",
        reduction: Reduction = "anchors",
        anchors_without_positives: AnchorsWithoutPositives = "drop",
        one_class: OneClass = "error",
        degenerate: Degenerate = "error",
        normalize: bool = True,
        gather: bool = False,
        process_group: dist.ProcessGroup | None = None,
        tile_size: int | None = None,
        keep: float = 0.0,
    ) -> None:
        super().__init__()
        Conventions(self_pairs, reduction, anchors_without_positives, one_class)
        self.alpha = check_number("alpha", alpha, 0.0, 1.0)
        options = Options(temperature, normalize, gather, process_group, tile_size, degenerate)
        self.temperature = options.temperature
        self.self_pairs = self_pairs
        self.reduction = reduction
        self.anchors_without_positives = anchors_without_positives
        self.one_class = one_class
        self.degenerate = degenerate
        self.normalize = normalize
        self.gather = gather
        self.process_group = process_group
        self.tile_size = tile_size
        self.keep = check_number("keep", keep, 0.0, 1e6)
        self.last = None
        self.degenerate_batches = 0
        self._warned: set[str] = set()

    def forward(
        self,
        embeddings: Tensor,
        labels: Ids | None,
        instances: Ids | None = None,
        *,
        reference: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; the reference counts with keep > 0 only."""
        if self.keep and (reference is None or labels is None):
            raise InputError(
                "a reference and labels in every call, because keep > 0",
                "no reference" if reference is None else "no labels",
                "call with reference=, another embedding of the same samples, or set keep=0",
            )
        if torch.compiler.is_compiling() and not self.gather:
            return self._compiled(embeddings, labels, instances, reference)
        arguments = {name: getattr(self, name) for name in _ARGUMENTS}
        terms = supcl_terms(embeddings, labels, instances, **arguments)
        if terms.degenerate is not None:
            self.count_degenerate("the batch", terms.degenerate)
        elif self.keep and reference is not None and labels is not None:
            terms = self._keeping(terms, embeddings, reference, labels, instances)
        self.last = replace(terms, loss=terms.loss.detach())
        return terms.loss

    def _keeping(
        self,
        terms: SupCLTerms,
        embeddings: Tensor,
        reference: Tensor,
        labels: Ids,
        instances: Ids | None,
    ) -> SupCLTerms:
        kept = retention_terms(
            embeddings,
            reference,
            labels,
            instances,
            reduction=self.reduction,
            gather=self.gather,
            process_group=self.process_group,
            degenerate=self.degenerate,
        )
        if kept.classes + kept.alike == 0:
            self.count_degenerate(
                "the term that keeps", f"{kept.few} classes of fewer than four instances"
            )
        loss = terms.loss + self.keep * kept.loss
        return replace(terms, loss=loss, kept=replace(kept, loss=kept.loss.detach()))

    def count_degenerate(self, part: str, lacks: str) -> None:
        """Count a batch that lacks something, and say so the first time; refuse it by "error".

        Args:
            part: What counts as nothing, "the batch" or a part of the loss.
            lacks: What the batch lacks.
        """
        if self.degenerate == "error":
            raise InputError(
                "a batch with pairs",
                lacks,
                "draw class-balanced batches, or give degenerate='zero'",
            )
        self.degenerate_batches += 1
        if part not in self._warned:
            self._warned.add(part)
            warn_of(lacks, part=part, stacklevel=4)

    def _compiled(
        self,
        embeddings: Tensor,
        labels: Ids | None,
        instances: Ids | None,
        reference: Tensor | None,
    ) -> Tensor:
        labels = None if labels is None else as_tensor("labels", labels)
        instances = None if instances is None else as_tensor("instances", instances)
        with_gradient = torch.is_grad_enabled() and embeddings.requires_grad
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
            self.degenerate,
            self.normalize,
            self.tile_size,
            with_gradient,
        )[0]
        if self.keep and reference is not None and labels is not None:
            kept = retention_operator(
                embeddings,
                reference,
                labels,
                instances,
                self.reduction,
                self.degenerate,
                with_gradient,
            )
            loss = loss + self.keep * kept[0]
        return loss

    def extra_repr(self) -> str:
        """The arguments that define the loss."""
        names = (*_ARGUMENTS[:-2], "keep") if self.keep else _ARGUMENTS[:-2]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
