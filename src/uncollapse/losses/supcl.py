"""The SupCL loss (1 - alpha) L_sup + alpha L_self: its definition, and the loss to train with."""

from __future__ import annotations

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
    read_learned,
    read_temperature,
)
from uncollapse.losses._engine.definition import Term
from uncollapse.losses._engine.objective import not_compiled
from uncollapse.losses._engine.samples import read_samples
from uncollapse.losses.degenerate import warn_of
from uncollapse.losses.terms import refuse_one_term, supcl_definition, supcl_terms
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass, Reduction, SelfPairs


def reference_supcl(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None = None,
    *,
    alpha: float | Tensor,
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
    weight, learned_weight = read_learned("alpha", alpha, 0.0, 1.0)
    refusals = supcl_definition(weight, conventions)
    supervised, self_supervised = refusals.terms
    tau, learned = read_temperature(temperature)
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
        if learned_weight is not None and not pairs.any():
            refuse_one_term(term.name)
        if reduction == "pairs":
            return pair_losses[pairs].mean()
        counted = has if anchors_without_positives == "drop" else anchors
        per_anchor = pair_losses.where(pairs, 0).sum(1) / positives.clamp(min=1)
        return per_anchor.sum() / counted.sum()

    everyone = torch.ones_like(labelled)
    L_sup = L_self = s.new_zeros(())
    is_learned = learned_weight is not None
    if weight < 1 or is_learned:
        L_sup = mean(same_class & ~same_instance, labelled, supervised)
    if weight > 0 or is_learned:
        L_self = mean(same_instance & ~left_out, everyone, self_supervised)
    alpha = weight if learned_weight is None else learned_weight.reshape(()).to(s)
    return (1 - alpha) * L_sup + alpha * L_self


@not_compiled
def supcl_loss(
    embeddings: Tensor,
    labels: Ids | None,
    instances: Ids | None = None,
    *,
    alpha: float | Tensor,
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
            float64. Half precision is multiplied as it is, and accumulated in float32.
        labels: (N,) or (b,), integers from 0; -1 for unlabelled: such a sample is in every
            denominator and in L_self, but of no class. None if all are unlabelled. Tensor, array or
            list; also (N, 1), and floats that are whole numbers. -100, which torch's cross-entropy
            and Hugging Face ignore, is read as -1; no other negative number is.
        instances: (N,) or (b,), integers; equal numbers are views of one instance. Without them
            each row of the first dimension is an instance. With `gather`, numbers of different
            processes are compared, so give numbers of the data set, or none.
        alpha: Weight of L_self, in [0, 1]; a tensor that takes a gradient gets L_self - L_sup.
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
            logits, "tiled" by tiles of it, "fused" by Triton kernels, "auto" by which of them suits
            device and batch (docs/loss.md); `SupCLTerms.backend` says which it was.
        checks: When the values of a batch are looked at, for which the host waits: "now",
            "deferred" to a later call, or "off"; None is "now" on a CPU and "deferred" elsewhere.
        precision: What products are made of: "exact" or "fast" (docs/loss.md).

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
    terms = supcl_terms(
        embeddings,
        labels,
        instances,
        alpha=alpha,
        temperature=temperature,
        self_pairs=self_pairs,
        reduction=reduction,
        anchors_without_positives=anchors_without_positives,
        one_class=one_class,
        degenerate=degenerate,
        normalize=normalize,
        gather=gather,
        process_group=process_group,
        tile_size=tile_size,
        backend=backend,
        checks=checks,
        precision=precision,
    )
    if terms.degenerate is not None:
        warn_of(terms.degenerate)
    return terms.loss
