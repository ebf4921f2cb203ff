"""Losses under their published names whose denominator is that of SimCLR or of SupCL."""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses.evaluate import evaluate
from uncollapse.losses.grouping import Grouping
from uncollapse.losses.objective import Part, SoftmaxPart, Term, check_classes
from uncollapse.losses.samples import check_choice
from uncollapse.losses.supcl import OneClass, make_options, supcl_loss
from uncollapse.losses.weights import (
    AnchorsWithoutPositives,
    pair_weights,
    published_positives,
)

__all__ = ["nt_xent_loss", "ssem_cifar_loss", "ssem_imagenet_loss", "supcon_loss", "supcon_term"]


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
) -> Tensor:
    """NT-Xent of SimCLR: `supcl_loss` with alpha = 1 and no labels.

        l_ij = -log( exp(z_i.z_j / tau) / sum_{k != i} exp(z_i.z_k / tau) ),  j another view of i

    With two views this is the published loss; with more, each anchor's mean over its other views.

    Args and errors: as in `supcl_loss`.

    References:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML
        2020 (arXiv 2002.05709), equation 1.

    Example:
        >>> import torch
        >>> round(nt_xent_loss(torch.eye(4).reshape(2, 2, 4), temperature=0.5).item(), 4)
        1.0986
    """
    return supcl_loss(
        embeddings,
        None,
        instances,
        alpha=1.0,
        temperature=temperature,
        anchors_without_positives=anchors_without_positives,
        normalize=normalize,
        gather=gather,
        process_group=process_group,
        tile_size=tile_size,
    )


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
) -> Tensor:
    """The loss of Lee et al.'s CIFAR code: self pairs included, mean over all pairs.

    Args and errors: as in `supcl_loss`.

    References:
        Lee et al., AISTATS 2025 (arXiv 2503.08203), and its code leechungpa/ssem-supcl,
        `cifar`, `loss_func`.

    Example:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(ssem_cifar_loss(views, labels, alpha=0, temperature=1).item(), 4)  # log(7 + e)
        2.274
    """
    return supcl_loss(
        embeddings,
        labels,
        instances,
        alpha=alpha,
        temperature=temperature,
        self_pairs="include",
        reduction="pairs",
        one_class=one_class,
        normalize=normalize,
        gather=gather,
        process_group=process_group,
        tile_size=tile_size,
    )


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
) -> Tensor:
    """The loss of Lee et al.'s ImageNet code: self pairs excluded, mean over anchors.

    An anchor without positives counts as zero, as in that code.

    Args and errors: as in `supcl_loss`.

    References:
        Lee et al., AISTATS 2025 (arXiv 2503.08203), and its code leechungpa/ssem-supcl,
        `imagenet/builder.py`.

    Example:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(ssem_imagenet_loss(views, labels, alpha=0, temperature=1).item(), 4)  # log 7
        1.9459
    """
    return supcl_loss(
        embeddings,
        labels,
        instances,
        alpha=alpha,
        temperature=temperature,
        anchors_without_positives="zero",
        one_class=one_class,
        normalize=normalize,
        gather=gather,
        process_group=process_group,
        tile_size=tile_size,
    )


def supcon_term(
    grouping: Grouping, weight: float, anchors_without_positives: AnchorsWithoutPositives
) -> Term:
    """Mean over each anchor's positives, its own views among them, then over anchors."""
    positives = published_positives(grouping)
    pairs = pair_weights("supervised", positives, None, "anchors", anchors_without_positives)
    if weight and not pairs.pair_count:
        raise InputError(
            "two samples of one class in the batch",
            "no positive pair",
            "give labels and a class-balanced batch, or several views of an instance",
        )
    return Term(weight, pairs, with_views=True, with_class=True)


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
) -> Tensor:
    """SupCon as published (L_out): every other sample of the class is a positive, own views too.

        L = mean_i  -1/|P(i)| sum_{j in P(i)} log( exp(s_ij) / sum_{k != i} exp(s_ik) )

    with s_ij = z_i.z_j / tau and P(i) all other samples of the class.

    For n_b instances of p views of every class this is `supcl_loss` with alpha = (p-1)/(p n_b - 1),
    which lies in the collapse phase at every temperature. Unlabelled samples (-1) have their own
    views as positives, as in SimCLR. There is no factor tau / base_temperature.

    Args and errors: as in `supcl_loss`.

    References:
        Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (arXiv 2004.11362),
        equation 2.

    Example:
        >>> import torch
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(supcon_loss(torch.eye(4), labels, temperature=1).item(), 4)  # log 3
        1.0986
    """
    check_choice("anchors_without_positives", anchors_without_positives, AnchorsWithoutPositives)
    check_choice("one_class", one_class, OneClass)
    definition = ("supcon", anchors_without_positives, one_class)
    options = make_options(temperature, normalize, gather, process_group, tile_size, *definition)

    def parts_of(grouping: Grouping) -> Sequence[Part]:
        check_classes(grouping, one_class, "give one_class='allow' if it is meant")
        term = supcon_term(grouping, 1.0, anchors_without_positives)
        return [SoftmaxPart("exclude", (term,))]

    return evaluate(embeddings, labels, instances, options, parts_of)[0]
