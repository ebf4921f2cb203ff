"""Losses under their published names, each with the convention of its paper or code."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from uncollapse.losses._engine.arguments import Backend, Checks, Options, Precision
from uncollapse.losses._engine.definition import Definition, Scope, Term
from uncollapse.losses._engine.objective import evaluate, not_compiled
from uncollapse.losses.terms import supcl_definition
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass


@not_compiled
def nt_xent_loss(
    embeddings: Tensor,
    instances: Tensor | None = None,
    *,
    temperature: float,
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
    backend: Backend = "auto",
    checks: Checks | None = None,
    precision: Precision = "exact",
) -> Tensor:
    """NT-Xent of SimCLR: `supcl_loss` with alpha = 1 and no labels.

        l_ij = -log( exp(z_i.z_j / tau) / sum_{k != i} exp(z_i.z_k / tau) ),  j another view of i

    With two views this is the published loss; with more, each anchor's mean over its other views.
    Args and errors: as in `supcl_loss`.

    References:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML
        2020 (arXiv 2002.05709), equation 1.

    Examples:
        >>> import torch
        >>> round(nt_xent_loss(torch.eye(4).reshape(2, 2, 4), temperature=0.5).item(), 4)
        1.0986
    """
    definition = supcl_definition(1.0, Conventions("exclude", "anchors", anchors_without_positives))
    options = Options(
        temperature,
        normalize,
        gather,
        process_group,
        tile_size,
        backend=backend,
        checks=checks,
        precision=precision,
    )
    return evaluate(embeddings, None, instances, definition, options).loss


@not_compiled
def ssem_cifar_loss(
    embeddings: Tensor,
    labels: Tensor,
    instances: Tensor | None = None,
    *,
    alpha: float,
    temperature: float,
    one_class: OneClass = "error",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
    backend: Backend = "auto",
    checks: Checks | None = None,
    precision: Precision = "exact",
) -> Tensor:
    """The loss of Lee et al.'s CIFAR code: self pairs included, mean over all pairs.

    Args and errors: as in `supcl_loss`.

    References:
        Lee et al., AISTATS 2025 (arXiv 2503.08203), and its code leechungpa/ssem-supcl,
        `cifar`, `loss_func`.

    Examples:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(ssem_cifar_loss(views, labels, alpha=0, temperature=1).item(), 4)  # log(7 + e)
        2.274
    """
    definition = supcl_definition(alpha, Conventions("include", "pairs", one_class=one_class))
    options = Options(
        temperature,
        normalize,
        gather,
        process_group,
        tile_size,
        backend=backend,
        checks=checks,
        precision=precision,
    )
    return evaluate(embeddings, labels, instances, definition, options).loss


@not_compiled
def ssem_imagenet_loss(
    embeddings: Tensor,
    labels: Tensor,
    instances: Tensor | None = None,
    *,
    alpha: float,
    temperature: float,
    one_class: OneClass = "error",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
    backend: Backend = "auto",
    checks: Checks | None = None,
    precision: Precision = "exact",
) -> Tensor:
    """The loss of Lee et al.'s ImageNet code: self pairs excluded, mean over anchors.

    An anchor without positives counts as zero, as in that code.
    Args and errors: as in `supcl_loss`.

    References:
        Lee et al., AISTATS 2025 (arXiv 2503.08203), and its code leechungpa/ssem-supcl,
        `imagenet/builder.py`.

    Examples:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(ssem_imagenet_loss(views, labels, alpha=0, temperature=1).item(), 4)  # log 7
        1.9459
    """
    definition = supcl_definition(alpha, Conventions("exclude", "anchors", "zero", one_class))
    options = Options(
        temperature,
        normalize,
        gather,
        process_group,
        tile_size,
        backend=backend,
        checks=checks,
        precision=precision,
    )
    return evaluate(embeddings, labels, instances, definition, options).loss


@not_compiled
def supcon_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    instances: Tensor | None = None,
    *,
    temperature: float,
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    one_class: OneClass = "error",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
    backend: Backend = "auto",
    checks: Checks | None = None,
    precision: Precision = "exact",
) -> Tensor:
    """SupCon as published (L_out): every other sample of the class is a positive, own views too.

        L = mean_i  -1/|P(i)| sum_{j in P(i)} log( exp(s_ij) / sum_{k != i} exp(s_ik) )

    with s_ij = z_i.z_j / tau and P(i) all other samples of the class, and without a factor
    tau / base_temperature. For n_b instances of p views of every class this is `supcl_loss` with
    alpha = (p-1)/(p n_b - 1), which lies in the collapse phase at every temperature. Unlabelled
    samples (-1) have their own views as positives, as in SimCLR.

    Args and errors: as in `supcl_loss`.

    References:
        Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (arXiv 2004.11362),
        equation 2.

    Examples:
        >>> import torch
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(supcon_loss(torch.eye(4), labels, temperature=1).item(), 4)  # log 3
        1.0986
    """
    conventions = Conventions("exclude", "anchors", anchors_without_positives, one_class)
    remedy = "give one_class='allow' if it is meant"
    definition = Definition((supcon_term(1.0),), conventions, remedy)
    options = Options(
        temperature,
        normalize,
        gather,
        process_group,
        tile_size,
        backend=backend,
        checks=checks,
        precision=precision,
    )
    return evaluate(embeddings, labels, instances, definition, options).loss


def supcon_term(weight: float, scope: Scope = "others") -> Term:
    """All other samples of the anchor's class are positives, its own views among them."""
    return Term(
        name="supervised",
        weight=weight,
        positives=("views", "class"),
        scope=scope,
        missing=(
            "two samples of one class in the batch",
            "no positive pair",
            "give labels and a class-balanced batch, or several views of an instance",
        ),
    )
