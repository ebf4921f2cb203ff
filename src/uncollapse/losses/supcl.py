"""The SupCL loss (1 - alpha) L_sup + alpha L_self: its definition, and the loss to train with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from uncollapse.losses._engine.arguments import (
    UNLABELLED,
    Backend,
    Checks,
    Degenerate,
    Ids,
    Options,
    Precision,
    check_number,
    read_samples,
    read_temperature,
)
from uncollapse.losses._engine.definition import Definition, Scope, Term
from uncollapse.losses._engine.objective import evaluate, not_compiled
from uncollapse.losses._engine.result import Lacking
from uncollapse.losses.degenerate import warn_of
from uncollapse.losses.retention import RetentionTerms
from uncollapse.losses.spread import ClassSpread, Tracked
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass, Reduction, SelfPairs


def reference_supcl(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None = None,
    *,
    alpha: float,
    temperature: float | Tensor,
    self_pairs: SelfPairs = "exclude",
    reduction: Reduction = "anchors",
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    one_class: OneClass = "error",
    normalize: bool = True,
) -> Tensor:
    """The definition of `supcl_loss` in dense PyTorch, to read and to test against.

        s_ij = z_i.z_j / tau,  D_i = sum over k of exp(s_ik),  l_ij = log D_i - s_ij
        L_sup  = mean of l_ij over pairs (i, j) of one class and of different instances
        L_self = mean of l_ij over pairs (i, j) of views of one instance
        L = (1 - alpha) L_sup + alpha L_self

    The same number as `supcl_loss` under every convention, and derivatives of every order, in
    memory quadratic in N. The values of embeddings are not checked.

    Args, errors, result and source: as in `supcl_loss`; embeddings (N, d) or (b, p, d), labels and
    instances (N,) or (b,), a scalar in nats.

    Examples:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)  # four instances with two views each
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(reference_supcl(views, labels, alpha=0.5, temperature=1).item(), 4)  # log 7
        1.9459
    """
    conventions = Conventions(self_pairs, reduction, anchors_without_positives, one_class)
    refusals = supcl_definition(alpha, conventions)
    supervised, self_supervised = refusals.terms
    alpha, (tau, learned) = float(alpha), read_temperature(temperature)
    Options(tau, normalize)
    samples = read_samples(embeddings, labels, instances)
    classes, instances = samples.labels, samples.instances
    z = samples.embeddings.to(samples.compute_dtype)
    z = torch.nn.functional.normalize(z, dim=1) if normalize else z

    labelled = classes != UNLABELLED
    refusals.check(is_one_class=bool((labelled & (classes == classes[0])).all()))
    same_class = (classes[:, None] == classes) & labelled
    same_instance = instances[:, None] == instances
    left_out = torch.eye(len(z), dtype=torch.bool, device=z.device) & (self_pairs == "exclude")

    s = z @ z.T / (tau if learned is None else learned)
    log_D = s.masked_fill(left_out, -torch.inf).logsumexp(dim=1, keepdim=True)
    pair_losses = log_D - s

    def mean(pairs: Tensor, anchors: Tensor, term: Term) -> Tensor:
        positives = pairs.sum(1)
        has = positives > 0
        lacking = int((anchors & ~has).sum())
        term.check(conventions, int(pairs.sum()), lacking, int(anchors.sum()))
        if reduction == "pairs":
            return pair_losses[pairs].mean()
        counted = has if anchors_without_positives == "drop" else anchors
        per_anchor = pair_losses.where(pairs, 0).sum(1) / positives.clamp(min=1)
        return per_anchor.sum() / counted.sum()

    everyone = torch.ones_like(labelled)
    L_sup = L_self = s.new_zeros(())
    if alpha < 1:
        L_sup = mean(same_class & ~same_instance, labelled, supervised)
    if alpha > 0:
        L_self = mean(same_instance & ~left_out, everyone, self_supervised)
    return (1 - alpha) * L_sup + alpha * L_self


def supcl_definition(alpha: float, conventions: Conventions) -> Definition:
    """The two terms of the loss, and what a batch must have for them."""
    alpha = check_number("alpha", alpha, 0.0, 1.0)
    scope: Scope = "all" if conventions.self_pairs == "include" else "others"
    supervised = Term(
        name="supervised",
        weight=1 - alpha,
        positives=("class",),
        scope=scope,
        labelled_anchors=True,
        missing=(
            "two instances of one class in the batch, because alpha < 1",
            "no positive pair of the supervised term",
            "give labels and a class-balanced batch, or alpha=1",
        ),
    )
    self_supervised = Term(
        name="self-supervised",
        weight=alpha,
        positives=("views",),
        scope=scope,
        missing=(
            "two views of one instance in the batch, because alpha > 0",
            "no positive pair of the self-supervised term",
            "give embeddings (b, p, d) with p > 1 or instance numbers, or alpha=0",
        ),
    )
    remedy = "give alpha=1, or one_class='allow' if it is meant" if alpha < 1 else None
    return Definition((supervised, self_supervised), conventions, remedy)


@not_compiled
def supcl_loss(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None = None,
    *,
    alpha: float,
    temperature: float | Tensor,
    self_pairs: SelfPairs = "exclude",
    reduction: Reduction = "anchors",
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    one_class: OneClass = "error",
    degenerate: Degenerate = "error",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
    backend: Backend = "auto",
    checks: Checks | None = None,
    precision: Precision = "exact",
) -> Tensor:
    """Supervised contrastive loss with a self-supervised share against class collapse.

        L = (1 - alpha) L_sup + alpha L_self
        L_sup, L_self = mean over positive pairs (i, j) of -log( exp(z_i.z_j / tau) / D_i )
        D_i = sum over k of exp(z_i.z_k / tau)

    L_sup's pairs are of one class and of different instances, L_self's are views of one instance.
    With self_pairs="include", the anchor i is in D_i and (i, i) among L_self's pairs; with
    "exclude" it is in neither. Exact to rounding for every temperature. Memory is linear in N:
    the N x N similarity matrix never exists.

    Args:
        embeddings: (N, d), or (b, p, d) for p views of b instances; float16, bfloat16, float32 or
            float64. Half precision is computed in float32.
        labels: (N,) or (b,), integers from 0; -1 for unlabelled: such a sample is in every
            denominator and in L_self, but of no class. None if all are unlabelled. Tensor, array or
            list; also (N, 1), and floats that are whole numbers. -100, which torch's cross-entropy
            and Hugging Face ignore, is read as -1; no other negative number is.
        instances: (N,) or (b,), integers; equal numbers are views of one instance. Without them
            each row of the first dimension is an instance. With `gather`, numbers of different
            processes are compared, so give numbers of the data set, or none.
        alpha: Weight of L_self, in [0, 1].
        temperature: tau, in [1e-6, 1e6]; of a tensor that takes a gradient it gets the exact one,
            -(1 / tau) dL/dlog(1 / tau), as from one process where processes gather.
        self_pairs: "exclude" as SimCLR and SupCon, "include" as the CIFAR code of Lee et al.
        reduction: "anchors": mean over each anchor's pairs, then over anchors; "pairs": mean over
            all pairs of the batch. They differ when classes differ in size.
        anchors_without_positives: "drop": left out of the mean; "zero": counted as 0, as
            SupContrast does; "error". Under "pairs" such an anchor has nothing to leave out, so
            "drop" and "zero" agree.
        one_class: Whether a batch of one class only, without unlabelled samples, is an error when
            alpha < 1: L_sup then has no other class to tell apart.
        degenerate: What a batch is that lacks the pairs of a term with weight, or a second class
            (by `one_class`) or instance: "error", or "zero": its loss is 0 with gradient 0, through
            the graph, and a `DegenerateBatchWarning` says so.
        normalize: Divide embeddings by their norm; without it they are taken as they are.
        gather: With torch.distributed initialised, the loss is that of all processes' samples
            together, and gradients are right after DDP's averaging. Otherwise of no effect.
        process_group: The processes to gather from; None for all.
        tile_size: Largest side of a tile; None for a choice by batch size and device.
        backend: How it is computed, the same number by each: "dense" by the whole matrix of
            logits, "tiled" by tiles of it, "auto" by which of them suits device and batch
            (docs/loss.md); `SupCLTerms.backend` says which it was.
        checks: When the values of a batch are looked at, for which the host waits: "now",
            "deferred" to a later call, or "off"; None is "now" on a CPU and "deferred" elsewhere.
        precision: What products are made of: "exact" or "fast" (docs/loss.md); tiles are exact.

    Returns:
        Scalar in nats; float32, or float64 for float64 embeddings.

    Raises:
        InputError: An argument is out of range, shapes do not fit, an embedding is not finite or
            zero, a batch is degenerate (but for degenerate="zero"), or what an option calls an
            error.

    Examples:
        >>> import torch
        >>> views = torch.randn(8, 2, 16, generator=torch.Generator().manual_seed(0))
        >>> views.requires_grad_()  # doctest: +ELLIPSIS
        tensor(...)
        >>> labels = torch.tensor([0, 0, 1, 1, 2, 2, -1, -1])
        >>> loss = supcl_loss(views, labels, alpha=0.5, temperature=0.1)
        >>> loss.backward()

    References:
        Lee et al., "A Theoretical Framework for Preventing Class Collapse in Supervised
        Contrastive Learning", AISTATS 2025 (arXiv 2503.08203), equations of L_sup and L_self.
    """
    conventions = Conventions(self_pairs, reduction, anchors_without_positives, one_class)
    definition = supcl_definition(alpha, conventions)
    tau, learned = read_temperature(temperature)
    options = Options(
        tau,
        normalize,
        gather,
        process_group,
        tile_size,
        degenerate,
        learned is not None,
        backend=backend,
        checks=checks,
        precision=precision,
    )
    evaluated = evaluate(embeddings, labels, instances, definition, options, learned)
    if evaluated.lacks is not None:
        warn_of(evaluated.lacks)
    return evaluated.loss


@dataclass(frozen=True)
class SupCLTerms:
    """The loss and what it is made of.

    Attributes:
        loss: Scalar, (1 - alpha) supervised + alpha self_supervised, in nats; has the gradient.
        supervised: Scalar without gradient; None if the batch has no such pair.
        self_supervised: Scalar without gradient; None if the batch has no such pair.
        lacking: What the two numbers below come from, where they are not counted yet.
        supervised_anchors_without_positives: Labelled samples whose class has no other instance in
            the batch. Unlabelled samples are no anchors of this term and never counted.
        self_supervised_anchors_without_positives: Samples without another view in the batch.
        kept: Of `SupCLLoss` with keep > 0: 1 - retention, which is in the loss times keep, and the
            classes that it is a mean of. None without keep.
        alpha, temperature: What this batch was weighed with.
        tracked: With track, the sums behind `spread`.
        backend: Which one computed them.
        degenerate: What the batch lacks, where it counts as 0 (degenerate="zero"); its terms are
            then None and its counts 0. None for every other batch.

    Examples:
        >>> import torch
        >>> rows, labels = torch.eye(4).reshape(4, 1, 4).repeat(1, 2, 1), torch.tensor([0, 0, 1, 1])
        >>> terms = supcl_terms(rows, labels, alpha=0.5, temperature=1)
        >>> f"{terms.supervised:.4f} {terms.self_supervised:.4f} {terms.loss:.4f}"
        '2.1654 1.1654 1.6654'
        >>> terms.supervised_anchors_without_positives
        0
    """

    loss: Tensor
    supervised: Tensor | None
    self_supervised: Tensor | None
    lacking: tuple[int, ...] | Lacking
    kept: RetentionTerms | None = None
    degenerate: str | None = None
    alpha: float | None = None
    temperature: float | None = None
    tracked: Tracked | None = None
    backend: str | None = None

    @property
    def supervised_anchors_without_positives(self) -> int:
        """Where nobody has looked at values yet, it waits for the device."""
        return self._counts[0]

    @property
    def self_supervised_anchors_without_positives(self) -> int:
        """Where nobody has looked at values yet, it waits for the device."""
        return self._counts[1]

    @property
    def _counts(self) -> tuple[int, ...]:
        return self.lacking.counts() if isinstance(self.lacking, Lacking) else self.lacking

    @property
    def spread(self) -> ClassSpread | None:
        """Variance inside the classes, computed when it is first asked for; None without track."""
        return None if self.tracked is None else self.tracked.spread

    @property
    def within_class_variance(self) -> dict[int, float]:
        """By label, of the classes with two instances in the batch; empty without track."""
        return {} if self.tracked is None else self.tracked.within_class_variance


@not_compiled
def supcl_terms(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None = None,
    *,
    alpha: float,
    temperature: float | Tensor,
    self_pairs: SelfPairs = "exclude",
    reduction: Reduction = "anchors",
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    one_class: OneClass = "error",
    degenerate: Degenerate = "error",
    normalize: bool = True,
    gather: bool = False,
    track: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
    backend: Backend = "auto",
    checks: Checks | None = None,
    precision: Precision = "exact",
) -> SupCLTerms:
    """`supcl_loss` with its two terms apart, for logging, at no extra cost.

    Arguments and errors are those of `supcl_loss`; with `track` the terms have `spread`, the
    variance inside each class of the batch, from sums that the loss has anyway.

    Returns:
        The loss, which has the gradient, its terms and the number of anchors without a positive.

    Examples:
        >>> import torch
        >>> views = torch.eye(4).reshape(2, 2, 4)  # two instances with two views each
        >>> terms = supcl_terms(views, torch.tensor([0, 1]), alpha=1, temperature=0.5)
        >>> round(terms.self_supervised.item(), 4), terms.supervised is None
        (1.0986, True)
        >>> terms.supervised_anchors_without_positives
        4
    """
    conventions = Conventions(self_pairs, reduction, anchors_without_positives, one_class)
    definition = supcl_definition(alpha, conventions)
    tau, learned = read_temperature(temperature)
    options = Options(
        tau,
        normalize,
        gather,
        process_group,
        tile_size,
        degenerate,
        learned is not None,
        track,
        backend,
        checks,
        precision,
    )
    evaluated = evaluate(embeddings, labels, instances, definition, options, learned)
    supervised, self_supervised = evaluated.values
    lacks = None if evaluated.lacks is None else str(evaluated.lacks)
    return SupCLTerms(
        evaluated.loss,
        supervised,
        self_supervised,
        evaluated.anchors_without_positives,
        degenerate=lacks,
        alpha=float(alpha),
        temperature=tau,
        tracked=None if evaluated.sums is None else Tracked(evaluated.sums),
        backend=evaluated.backend,
    )
