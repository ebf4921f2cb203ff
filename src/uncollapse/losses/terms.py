"""The SupCL loss with its two terms apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import torch.distributed as dist
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import (
    Backend,
    Checks,
    Degenerate,
    Ids,
    Options,
    Precision,
    check_number,
    read_learned,
    read_temperature,
)
from uncollapse.losses._engine.definition import Definition, Scope, Term
from uncollapse.losses._engine.objective import evaluate, not_compiled
from uncollapse.losses._engine.result import ClassSums, Lacking
from uncollapse.losses.retention import RetentionTerms
from uncollapse.losses.spread import ClassSpread, spread_of, within_class_variances
from uncollapse.records import AnchorsWithoutPositives, Conventions, OneClass, Reduction, SelfPairs


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
    tracked: ClassSums | None = None
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
        """Variance inside the classes, computed when it is asked for; None without track."""
        return None if self.tracked is None else spread_of(self.tracked)

    @property
    def within_class_variance(self) -> dict[int, float]:
        """By label, of the classes with two instances in the batch; empty without track."""
        return {} if self.tracked is None else within_class_variances(self.tracked)


@not_compiled
def supcl_terms(
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
    weight, learned_weight = read_learned("alpha", alpha, 0.0, 1.0)
    definition = supcl_definition(weight, conventions)
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
    loss = evaluated.loss
    if learned_weight is not None and lacks is None:
        loss = _with_weight(loss, learned_weight, supervised, self_supervised)
    return SupCLTerms(
        loss,
        supervised,
        self_supervised,
        evaluated.anchors_without_positives,
        degenerate=lacks,
        alpha=weight,
        temperature=tau,
        tracked=evaluated.sums,
        backend=evaluated.backend,
    )


def _with_weight(
    loss: Tensor, alpha: Tensor, supervised: Tensor | None, self_supervised: Tensor | None
) -> Tensor:
    """The same loss with alpha in its graph: dL/dalpha = L_self - L_sup."""
    if supervised is None or self_supervised is None:
        refuse_one_term("supervised" if supervised is None else "self-supervised")
    of_loss = alpha.reshape(()).to(loss)
    return loss + (of_loss - of_loss.detach()) * (self_supervised - supervised)


def refuse_one_term(lacking: str) -> NoReturn:
    """Of a batch without pairs of a term, where alpha is to say what each of both is worth."""
    raise InputError(
        "pairs of both terms in the batch, where alpha takes a gradient",
        f"none of the {lacking} term",
        "give labels and several views, or float(alpha)",
    )


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
