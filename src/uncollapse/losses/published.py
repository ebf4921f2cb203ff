"""Losses under their published names, each with the convention of its paper or code."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from uncollapse.losses._engine.arguments import Backend, Checks, Options, check_number
from uncollapse.losses._engine.definition import Definition, Scope, Term
from uncollapse.losses._engine.objective import evaluate, not_compiled
from uncollapse.losses.supcl import supcl_definition
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
        temperature, normalize, gather, process_group, tile_size, backend=backend, checks=checks
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
        temperature, normalize, gather, process_group, tile_size, backend=backend, checks=checks
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
        temperature, normalize, gather, process_group, tile_size, backend=backend, checks=checks
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
    definition = Definition((_supcon_term(1.0),), conventions, remedy)
    options = Options(
        temperature, normalize, gather, process_group, tile_size, backend=backend, checks=checks
    )
    return evaluate(embeddings, labels, instances, definition, options).loss


@not_compiled
def sincere_loss(
    embeddings: Tensor,
    labels: Tensor | None,
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
) -> Tensor:
    """SINCERE: each positive against the samples of other classes, never against its own class.

        L = mean_i  -1/|P(i)| sum_{j in P(i)} log( exp(s_ij) / (exp(s_ij) + N_i) )
        N_i = sum over k of other classes of exp(s_ik)

    with s_ij = z_i.z_j / tau and P(i) as in `supcon_loss`. Args and errors: as in `supcl_loss`; a
    batch of one class is always an error, because nothing is then in the sum over other classes.

    References:
        Feeney and Hughes, "SINCERE: Supervised Information Noise-Contrastive Estimation
        REvisited", 2023 (arXiv 2309.14277).

    Examples:
        >>> import torch
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(sincere_loss(torch.eye(4), labels, temperature=1).item(), 4)  # log 3
        1.0986
    """
    conventions = Conventions(anchors_without_positives=anchors_without_positives)
    remedy = "draw batches of several classes; SINCERE needs them"
    definition = Definition((_supcon_term(1.0, "other classes"),), conventions, remedy)
    options = Options(
        temperature, normalize, gather, process_group, tile_size, backend=backend, checks=checks
    )
    return evaluate(embeddings, labels, instances, definition, options).loss


@not_compiled
def class_conditional_info_nce_loss(
    embeddings: Tensor,
    labels: Tensor,
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
) -> Tensor:
    """Class-conditional InfoNCE: own views against the rest of the own class.

        l_ij = -log( exp(s_ij) / sum_{k != i of i's class} exp(s_ik) ),  j another view of i

    averaged over each anchor's other views and then over anchors. It spreads a class and says
    nothing about other classes; unlabelled samples take no part.
    Args and errors: as in `supcl_loss`.

    References:
        Chen et al., "Perfectly Balanced: Improving Transfer and Robustness of Supervised
        Contrastive Learning", ICML 2022 (arXiv 2204.07596), L_cNCE.

    Examples:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(class_conditional_info_nce_loss(views, labels, temperature=1).item(), 4)  # log 3
        1.0986
    """
    conventions = Conventions(anchors_without_positives=anchors_without_positives)
    definition = Definition((_class_conditional_term(1.0),), conventions)
    options = Options(
        temperature, normalize, gather, process_group, tile_size, backend=backend, checks=checks
    )
    return evaluate(embeddings, labels, instances, definition, options).loss


@not_compiled
def l_spread_loss(
    embeddings: Tensor,
    labels: Tensor,
    instances: Tensor | None = None,
    *,
    alpha: float,
    temperature: float,
    anchors_without_positives: AnchorsWithoutPositives = "drop",
    one_class: OneClass = "error",
    normalize: bool = True,
    gather: bool = False,
    process_group: dist.ProcessGroup | None = None,
    tile_size: int | None = None,
    backend: Backend = "auto",
    checks: Checks | None = None,
) -> Tensor:
    """L_spread: SupCon with a class-conditional InfoNCE share against class collapse.

        L = (1 - alpha) L_SupCon + alpha L_cNCE,  alpha in [0, 1]

    Args and errors: as in `supcl_loss`; `anchors_without_positives` is that of both terms.

    References:
        Chen et al., ICML 2022 (arXiv 2204.07596). The public code contrasts each pair of views
        apart and takes each positive's denominator over negatives; here both terms are over all
        samples of the batch, with SupCon as in `supcon_loss`.

    Examples:
        >>> import torch
        >>> views = torch.eye(8).reshape(4, 2, 8)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(l_spread_loss(views, labels, alpha=1, temperature=1).item(), 4)  # log 3
        1.0986
    """
    alpha = check_number("alpha", alpha, 0.0, 1.0)
    conventions = Conventions("exclude", "anchors", anchors_without_positives, one_class)
    # A term without weight is left out, and with it the pairs that it would need.
    both = (_supcon_term(1 - alpha), _class_conditional_term(alpha))
    remedy = "give alpha=1, or one_class='allow' if it is meant" if alpha < 1 else None
    definition = Definition(tuple(term for term in both if term.weight), conventions, remedy)
    options = Options(
        temperature, normalize, gather, process_group, tile_size, backend=backend, checks=checks
    )
    return evaluate(embeddings, labels, instances, definition, options).loss


def _supcon_term(weight: float, scope: Scope = "others") -> Term:
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


def _class_conditional_term(weight: float) -> Term:
    """Own views against the rest of the class; the unlabelled are no anchors."""
    return Term(
        name="class-conditional",
        weight=weight,
        positives=("views",),
        scope="own class",
        labelled_anchors=True,
        missing=(
            "two views of one labelled instance in the batch",
            "no positive pair of the class-conditional term",
            "give labels, and embeddings (b, p, d) with p > 1 or instance numbers",
        ),
    )
