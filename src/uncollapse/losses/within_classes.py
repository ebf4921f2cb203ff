"""Losses under their published names whose denominators are of own or of other classes."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from uncollapse.losses._engine.arguments import Backend, Checks, Options, Precision, check_number
from uncollapse.losses._engine.definition import Definition, Term
from uncollapse.losses._engine.objective import evaluate, not_compiled
from uncollapse.losses.published import supcon_term
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass


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
    precision: Precision = "exact",
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
    definition = Definition((supcon_term(1.0, "other classes"),), conventions, remedy)
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
    precision: Precision = "exact",
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
    precision: Precision = "exact",
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
    both = (supcon_term(1 - alpha), _class_conditional_term(alpha))
    remedy = "give alpha=1, or one_class='allow' if it is meant" if alpha < 1 else None
    definition = Definition(tuple(term for term in both if term.weight), conventions, remedy)
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
