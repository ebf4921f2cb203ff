"""The loss in pytorch-metric-learning's form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from uncollapse.adapters._pairs import (
    Pairs,
    anchor_losses,
    column,
    pairs_of_classes,
    pairs_of_views,
    unit,
)
from uncollapse.errors import InputError
from uncollapse.losses import PreparedReference, SupCLLoss

if TYPE_CHECKING:

    class BaseMetricLossFunction(torch.nn.Module):
        """Theirs has no types."""

        def __getattr__(self, name: str) -> Any: ...

else:
    try:
        from pytorch_metric_learning.losses import BaseMetricLossFunction
    except ImportError as missing:
        raise ImportError(
            "the loss needs pytorch-metric-learning: pip install 'uncollapse[peers]'"
        ) from missing

LossDict = dict[str, dict[str, Any]]


class PMLSupCLLoss(BaseMetricLossFunction):
    """`SupCLLoss` as a loss of pytorch-metric-learning.

    With neither `indices_tuple`, `ref_emb` nor a reducer it is `SupCLLoss`: memory linear in the
    batch. With them L_sup is taken over their pairs, in memory of N x M similarities:

        L_sup = R( mean over positives p of anchor i of log D_i - s_ip ),  s = cosine / temperature
        D_i = sum of exp(s_ik) over the positives and negatives k of i

    where R is the reducer, by default the mean over anchors that have positives. That is their
    `SupConLoss` where alpha = 0 and every row is an instance of its own (views=None). L_self is
    always of the views in the batch: miners and memories say nothing about them.

    Args:
        alpha: Weight of the self-supervised term, in [0, 1], or a function of the step.
        temperature: tau, in [1e-6, 1e6], a Parameter that holds it or a `LearnableTemperature`.
        views: How many views of the same instances lie one after the other in the batch: rows
            [v1 of all; v2 of all; ...]. None: every row is an instance, and alpha must be 0. Views
            of an instance are no pair of L_sup.
        keep: Weight of 1 - retention inside the classes (`retention_loss`) against `reference=`,
            which every call then takes.
        gather: With several processes, the batch is that of all, in place of their
            `DistributedLossWrapper`: gradients are exact, and the loss is not multiplied by the
            number of processes. Not with `indices_tuple`, `ref_emb` or a reducer.
        degenerate: What a batch without pairs is, "zero" (as theirs) or "error".
        reducer: Of theirs, over the loss of each anchor, 0 for one without positives. Where both
            terms have weight it reduces each of them.
        options: Of theirs: `embedding_regularizer`, `embedding_reg_weight`, `collect_stats`;
            `distance` may be `CosineSimilarity`.

    Attributes:
        criterion: The `SupCLLoss`; `criterion.last` has the terms of the latest whole batch.

    Raises:
        InputError: What has no meaning for this loss: another distance, a DivisorReducer, views
            that do not fit the batch or whose labels differ.

    Examples:
        >>> import torch
        >>> from pytorch_metric_learning.losses import SupConLoss
        >>> rows = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
        >>> labels = torch.arange(12) % 3
        >>> ours = PMLSupCLLoss(alpha=0, temperature=0.1)(rows, labels)
        >>> torch.allclose(ours, SupConLoss(temperature=0.1)(rows, labels))
        True
        >>> views = PMLSupCLLoss(alpha=0.2, temperature=0.1, views=2)
        >>> views(rows, labels[:6].repeat(2)) > 0
        tensor(True)

    References:
        Musgrave, Belongie & Lim, "PyTorch Metric Learning", 2020 (arXiv 2008.09164).
    """

    def __init__(
        self,
        *,
        alpha: float | Callable[[int], float],
        temperature: Any,
        views: int | None = None,
        keep: float = 0.0,
        gather: bool = False,
        degenerate: Any = "zero",
        reducer: Any = None,
        **options: Any,
    ) -> None:
        if views is not None and (not isinstance(views, int) or views < 1):
            raise InputError("views of 1 or more, or None", f"{views!r}", "give views=2, say")
        criterion = SupCLLoss(
            alpha=alpha, temperature=temperature, keep=keep, gather=gather, degenerate=degenerate
        )
        if alpha and (views is None or views < 2):
            raise InputError(
                "views=2 or more, because alpha > 0",
                f"views = {views}",
                "embed two augmentations of each batch and give torch.cat of them, or alpha=0",
            )
        # Before theirs, which asks for the names of the terms.
        self.views, self._by_anchor = views, reducer is not None
        self._both = self._by_anchor and (callable(alpha) or 0 < alpha < 1)
        super().__init__(reducer=reducer, **options)
        self.criterion = criterion
        _check_parts(self.distance, self.reducer)
        self.add_to_recordable_attributes(list_of_names=["alpha", "temperature"], is_stat=False)

    @property
    def alpha(self) -> float:
        """Of the present step."""
        return self.criterion.alpha_now

    @property
    def temperature(self) -> float:
        """As it is now."""
        return self.criterion.temperature_value

    def get_default_distance(self) -> Any:
        """The only one that the loss has."""
        from pytorch_metric_learning.distances import CosineSimilarity

        return CosineSimilarity()

    def _sub_loss_names(self) -> list[str]:
        return ["supervised", "self_supervised"] if self._both else ["loss"]

    def forward(
        self,
        embeddings: Tensor,
        labels: Any = None,
        indices_tuple: Any = None,
        ref_emb: Tensor | None = None,
        ref_labels: Any = None,
        *,
        reference: Tensor | PreparedReference | None = None,
    ) -> Any:
        """The loss, as theirs: (N, d) embeddings and (N,) labels, pairs or triplets of a miner.

        `ref_emb` (M, d) and `ref_labels` are what they are compared with; where the latter
        are the labels themselves, row i is no pair of row i. `reference` is what `keep` keeps.
        """
        self.reset_stats()
        of_one_batch = ref_labels is labels
        labels = column(labels, embeddings.device)
        ref_labels = labels if of_one_batch else column(ref_labels, embeddings.device)
        whole = indices_tuple is None and ref_emb is None and not self._by_anchor
        if whole:
            losses = self._whole(embeddings, labels, reference)
        else:
            losses = self._of_pairs(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        self.add_embedding_regularization_to_loss_dict(losses, embeddings)
        return self.reducer(losses, embeddings, labels)

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Any,
        indices_tuple: Any,
        ref_emb: Tensor | None,
        ref_labels: Any,
    ) -> LossDict:
        """What `forward` reduces, for wrappers that ask for it."""
        if ref_emb is embeddings:
            ref_emb = ref_labels = None
        if indices_tuple is None and ref_emb is None and not self._by_anchor:
            return self._whole(embeddings, labels, None)
        return self._of_pairs(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    def _whole(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        reference: Tensor | PreparedReference | None,
    ) -> LossDict:
        """The loss of the batch alone, by tiles."""
        self._needs_labels(labels is not None)
        self._instances(embeddings, labels)
        if self.views:
            # (b, p, d): instances need no numbers, which other processes would have as well.
            embeddings = _by_instance(embeddings, self.views)
            reference = None if reference is None else _beside(reference, self.views)
            labels = None if labels is None else labels[: len(labels) // self.views]
        loss = self.criterion(embeddings, labels, reference=reference)
        return _reduced(loss)

    def _of_pairs(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices: Any,
        ref_emb: Tensor | None,
        ref_labels: Tensor | None,
    ) -> LossDict:
        """The loss over the pairs of a miner, a memory or for a reducer."""
        self._refuse(labels, indices, ref_emb, ref_labels)
        instances = self._instances(embeddings, labels)
        rows, alpha, tau = unit(embeddings), self.alpha, self.criterion.temperature_now()
        terms: dict[str, tuple[float, Tensor, Pairs]] = {}
        if alpha < 1:
            candidates = rows if ref_emb is None else unit(ref_emb)
            others = ref_labels
            if ref_emb is not None and others is None:
                others = torch.full((len(ref_emb),), -1, device=rows.device)
            pairs = pairs_of_classes(labels, others, instances, indices)
            terms["supervised"] = 1 - alpha, rows @ candidates.T / tau, pairs
        if alpha > 0:
            terms["self_supervised"] = alpha, rows @ rows.T / tau, pairs_of_views(instances)
        if self.training and embeddings.requires_grad and torch.is_grad_enabled():
            self.criterion.step += 1
        for name, (_, _, pairs) in terms.items():
            if pairs.lacks is not None:
                lacks = f"{pairs.lacks} of the {name.replace('_', '-')} term"
                self.criterion.count_degenerate("the batch", lacks)
                return _reduced((embeddings * 0).sum())
        by_anchor = {
            name: (weight, *anchor_losses(logits, pairs))
            for name, (weight, logits, pairs) in terms.items()
        }
        if not self._by_anchor:
            means = [weight * losses[has].mean() for weight, losses, has in by_anchor.values()]
            return _reduced(torch.stack(means).sum())
        indices = torch.arange(len(rows), device=rows.device)
        return {
            name if self._both else "loss": {
                "losses": weight * losses,
                "indices": indices,
                "reduction_type": "element",
            }
            for name, (weight, losses, _) in by_anchor.items()
        }

    def _refuse(
        self, labels: Tensor | None, indices: Any, ref_emb: Tensor | None, ref_labels: Any
    ) -> None:
        if self.criterion.gather or self.criterion.keep:
            raise InputError(
                "gather=False and keep=0 with indices_tuple, ref_emb or a reducer",
                f"gather = {self.criterion.gather}, keep = {self.criterion.keep:g}",
                "use their DistributedLossWrapper, and add `retention_loss` to the loss",
            )
        if indices is None:
            self._needs_labels(labels is not None and (ref_emb is None or ref_labels is not None))

    def _needs_labels(self, given: bool) -> None:
        if self.alpha < 1 and not given:
            raise InputError(
                "labels (of ref_emb too) or an indices_tuple, because alpha < 1",
                "neither",
                "give the class of each row",
            )

    def _instances(self, embeddings: Tensor, labels: Tensor | None) -> Tensor:
        """(N,): rows of one number are views of one instance, whose labels must agree."""
        count, views = len(embeddings), self.views or 1
        if count % views or (labels is not None and len(labels) != count):
            found = "none" if labels is None else f"{len(labels)}"
            raise InputError(
                f"a label for each of the rows, in {views} equal part(s), one for each view",
                f"{count} rows and {found} labels",
                "concatenate the views of one batch, and its labels as often",
            )
        if labels is not None and not torch.equal(labels, labels[: count // views].repeat(views)):
            raise InputError(
                f"the same labels in each of the {views} parts, which are views of one batch",
                "others",
                "give torch.cat of the views and labels.repeat(views); with several processes use "
                "gather=True in place of DistributedLossWrapper, which mixes the parts",
            )
        return torch.arange(count, device=embeddings.device) % (count // views)


def _beside(reference: Tensor | PreparedReference, views: int) -> Tensor | PreparedReference:
    """A reference's rows by instance."""
    if isinstance(reference, PreparedReference):
        return replace(reference, rows=_by_instance(reference.rows, views))
    return _by_instance(reference, views)


def _by_instance(rows: Tensor, views: int) -> Tensor:
    """(b, p, d) of (p b, d)."""
    return rows.view(views, -1, rows.shape[1]).transpose(0, 1)


def _reduced(loss: Tensor) -> LossDict:
    return {"loss": {"losses": loss, "indices": None, "reduction_type": "already_reduced"}}


def _check_parts(distance: Any, reducer: Any) -> None:
    """Refuse parts of theirs that have no meaning for this loss."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.reducers import DivisorReducer

    if type(distance) is not CosineSimilarity:
        raise InputError(
            "CosineSimilarity, of which the loss is made",
            type(distance).__name__,
            "leave distance out",
        )
    inner = [reducer, *getattr(reducer, "reducers", {}).values()]
    if any(isinstance(part, DivisorReducer) for part in inner):
        raise InputError(
            "a reducer over the losses of anchors (mean, sum, threshold, class weights, ...)",
            "DivisorReducer, whose divisor this loss has not",
            "leave the reducer out: the mean over anchors with positives",
        )


def _let_wrappers_take_it() -> None:
    """Theirs go by a list of names, to which there is no other way."""
    from pytorch_metric_learning.losses import CrossBatchMemory, SelfSupervisedLoss

    for wrapper in (CrossBatchMemory, SelfSupervisedLoss):
        names = wrapper.supported_losses()
        if PMLSupCLLoss.__name__ not in names:
            wrapper.supported_losses = staticmethod(
                lambda names=(*names, PMLSupCLLoss.__name__): list(names)
            )


_let_wrappers_take_it()
