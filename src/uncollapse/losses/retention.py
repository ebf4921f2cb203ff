"""Retention as a loss: how much of a reference's structure inside the classes is not kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import normalize

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import UNLABELLED, Degenerate, Ids, Options
from uncollapse.losses._engine.beside import ClassWeights, compute_kept
from uncollapse.losses._engine.objective import check_mode, not_compiled, with_known_gradient
from uncollapse.losses._engine.prepared import PreparedReference


def reference_retention(
    embeddings: Tensor,
    reference: Tensor,
    labels: Tensor,
    instances: Tensor | None = None,
    *,
    reduction: ClassWeights = "classes",
) -> Tensor:
    """The definition of `1 - retention_loss` in dense PyTorch, to read and to test against.

        K_ij = mean cosine of the views of instances i and j, 0 where i = j;  L of the reference
        HSIC(K, L) = [ tr KL + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1 ] / (n (n-3))
        retention = mean over classes of HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))

    Args, result and source: as in `retention_loss`; the values of embeddings are not checked, and
    a class whose instances are alike gives nan.

    Examples:
        >>> import torch
        >>> rows = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
        >>> round(reference_retention(2 * rows, rows, torch.arange(12) % 2).item(), 4)
        1.0
    """
    numbers = torch.arange(len(labels)) if instances is None else instances
    sides = []
    for side in (embeddings, reference):
        unit = normalize(side.to(torch.promote_types(side.dtype, torch.float32)), dim=-1)
        sides.append(unit.mean(dim=1) if unit.ndim == 3 else unit)

    def hsic(K: Tensor, L: Tensor) -> Tensor:
        n, KL = len(K), K @ L
        return (KL.trace() + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * KL.sum()) / (
            n * (n - 3)
        )

    values, weights = [], []
    for label in sorted({*labels.tolist()} - {UNLABELLED}):
        own = sorted({*numbers[labels == label].tolist()})
        if (n := len(own)) < 4:
            continue
        x, y = (torch.stack([side[numbers == i].mean(dim=0) for i in own]) for side in sides)
        K, L = ((side @ side.T) * (1 - torch.eye(n)) for side in (x, y))
        values.append(hsic(K, L) / (hsic(K, K) * hsic(L, L)).sqrt())
        weights.append({"classes": 1, "anchors": n, "pairs": n * (n - 1)}[reduction])
    of_classes = torch.tensor(weights).to(values[0])
    return (of_classes * torch.stack(values)).sum() / of_classes.sum()


@dataclass(frozen=True)
class RetentionTerms:
    """The loss, and the classes that it is a mean of.

    Attributes:
        loss: Scalar, 1 - retention; has the gradient.
        classes: Classes in that mean.
        few: Classes left out because they have fewer than four instances in the batch.
        alike: Classes left out because their instances are alike in the embeddings or in the
            reference, or equally far from each other, up to rounding.

    Examples:
        >>> import torch
        >>> rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
        >>> terms = retention_terms(rows, rows.abs(), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, -1]))
        >>> terms.classes, terms.few, terms.alike
        (1, 1, 0)
    """

    loss: Tensor
    classes: int
    few: int
    alike: int


@not_compiled
def retention_terms(
    embeddings: Tensor,
    reference: Tensor | PreparedReference,
    labels: Ids,
    instances: Ids | None = None,
    *,
    reduction: ClassWeights = "classes",
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    degenerate: Degenerate = "error",
) -> RetentionTerms:
    """`retention_loss` with the classes that it counts, for logging, at no extra cost.

    Arguments and errors are those of `retention_loss`. With degenerate="zero" a batch without a
    class of four instances is no error: its loss is 0 without gradient, with no class in it.

    Returns:
        The loss, which has the gradient, and how many classes are in it and left out.

    Examples:
        >>> import torch
        >>> rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        >>> retention_terms(rows, rows[:, :2], torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])).classes
        2
    """
    check_mode(embeddings)
    check_reduction(reduction)
    options = Options(
        1.0,
        normalize=True,
        gather=gather,
        process_group=process_group,
        degenerate=degenerate,
    )
    flat, kept = compute_kept(embeddings, reference, labels, instances, reduction, options)
    loss = with_known_gradient(flat, kept.loss, kept.gradient)
    return RetentionTerms(loss, kept.classes, kept.few, kept.alike)


def retention_loss(
    embeddings: Tensor,
    reference: Tensor | PreparedReference,
    labels: Ids,
    instances: Ids | None = None,
    *,
    reduction: ClassWeights = "classes",
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
) -> Tensor:
    """How much of a reference's structure inside the classes the embeddings do not keep.

        loss = 1 - mean over classes of HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))

    K_ij is the mean cosine between views of instances i and j of a class, L_ij that of the
    reference, and HSIC their unbiased estimate (Song et al. 2012, equation 5), as in
    `uncollapse.retention`: 0 for the same up to rotation and scale, 1 on average for unrelated
    rows. Value and gradient come from sums over each class: memory is linear in the rows.

    Args:
        embeddings: (N, d), or (b, p, d) for p views of b instances; float16, bfloat16, float32 or
            float64. Half precision is computed in float32.
        reference: Another embedding of the same samples, (N, e), or (b, e) or (b, q, e): one row
            or q views for each row of the embeddings' first dimension. It is a constant: no
            gradient reaches it.
        labels: (N,) or (b,), integers from 0; -1 for unlabelled: such a sample is in no class.
        instances: (N,) or (b,), integers; equal numbers are views of one instance, which are
            averaged first. Without them each row of the first dimension is an instance.
        reduction: What a class weighs in the mean: "classes", all as much (`uncollapse.retention`);
            "anchors", its n instances; "pairs", its n (n - 1) pairs.
        gather: With torch.distributed initialised, classes are those of all processes' samples
            together, and gradients are right after DDP's averaging; sums are exchanged, d d + d e +
            e e numbers for each class, so e may be at most 4096. Views of an instance must be on
            one process.
        process_group: The processes to gather from; None for all.

    Returns:
        Scalar from 0 to 2; float32, or float64 for float64 embeddings. Classes of fewer than four
        instances, and those whose instances are alike on one side, are left out; `retention_terms`
        counts them. 1 without gradient where all others are alike.

    Raises:
        InputError: No class has four instances, shapes do not fit, a row is not finite or zero, or
            processes do not agree.

    Examples:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> base = torch.randn(40, 8, generator=generator)
        >>> labels = torch.arange(40) % 2
        >>> embeddings = (base[:, :4] + 1).requires_grad_()
        >>> loss = retention_loss(embeddings, base, labels)
        >>> loss.backward()
        >>> round(retention_loss(3 * base, base, labels).item(), 4)
        0.0

    References:
        Kornblith, Norouzi, Lee & Hinton 2019 (arXiv 1905.00414), there over all rows and with a
        biased HSIC; Song, Smola, Gretton, Bedo & Borgwardt 2012 (JMLR 13).
    """
    return retention_terms(
        embeddings,
        reference,
        labels,
        instances,
        reduction=reduction,
        gather=gather,
        process_group=process_group,
    ).loss


def check_reduction(reduction: str) -> None:
    """Raise if it is none of the weights of classes."""
    choices = get_args(ClassWeights)
    if reduction not in choices:
        expected = f"reduction one of {', '.join(map(repr, choices))}"
        raise InputError(expected, f"reduction = {reduction!r}", "choose one")
