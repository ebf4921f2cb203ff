"""The SupCL loss written from its definition, and every batch that a sampler can draw.

Nothing here uses the product's theory: this is the other side of each comparison.

    L = (1 - alpha) L_sup + alpha L_self

An anchor is one embedding: view u of instance i. With S(i, u) the embeddings in its denominator
(the whole batch; without the anchor itself under self_pairs = "exclude"),

    l(z, z') = -z.z'/tau + log sum_{y in S} exp(z.y/tau)

is averaged over positive pairs. L_self: z' a view of the same instance (all p*p ordered pairs under
"include", u != u' under "exclude"). L_sup: z' of the same class and another instance. Reduction
"pairs" averages over all positive pairs of the batch, term by term; "anchors" over the positives of
an anchor and then over the anchors that have positives ("drop") or over all anchors, those without
positives counting 0 ("zero"). A term without any positive pair in a batch is 0 there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from uncollapse.records import BalancedBatch, Batch, FullBatch, RandomBatch


@dataclass(frozen=True)
class Problem:
    """One setting of the loss: data set, loss, sampler."""

    counts: tuple[int, ...]
    views: int
    alpha: float
    tau: float
    self_pairs: str = "exclude"
    reduction: str = "anchors"
    anchors_without_positives: str = "drop"
    batch: Batch = field(default_factory=FullBatch)

    @property
    def conventions(self) -> dict[str, Any]:
        names = ("alpha", "tau", "self_pairs", "reduction", "anchors_without_positives")
        return {name: getattr(self, name) for name in names}

    def at(self, **changes: Any) -> Problem:
        return replace(self, **changes)

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Class and instance of each of the N = p * sum(counts) embeddings, views together."""
        class_of_instance = np.repeat(np.arange(len(self.counts)), self.counts)
        instances = np.repeat(np.arange(class_of_instance.size), self.views)
        return class_of_instance[instances], instances

    def to_json(self) -> dict[str, Any]:
        kind = {FullBatch: "full", BalancedBatch: "balanced", RandomBatch: "random"}
        batch = {"kind": kind[type(self.batch)], **asdict(self.batch)}
        return {**asdict(self), "counts": list(self.counts), "batch": batch}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Problem:
        kind = {"full": FullBatch, "balanced": BalancedBatch, "random": RandomBatch}
        batch = dict(record["batch"])
        made = kind[batch.pop("kind")](**batch)
        return cls(**{**record, "counts": tuple(record["counts"]), "batch": made})


def naive_loss(
    Z: np.ndarray,
    classes: np.ndarray,
    instances: np.ndarray,
    alpha: float,
    tau: float,
    self_pairs: str,
    reduction: str,
    anchors_without_positives: str,
) -> float:
    """The loss of one batch, in loops over embeddings; for a handful of them."""
    N = len(Z)

    def pair_loss(i: int, j: int) -> float:
        denominator = 0.0
        for k in range(N):
            if self_pairs == "include" or k != i:
                denominator += math.exp(float(Z[i] @ Z[k]) / tau)
        return -math.log(math.exp(float(Z[i] @ Z[j]) / tau) / denominator)

    def is_self_positive(i: int, j: int) -> bool:
        return instances[i] == instances[j] and (self_pairs == "include" or i != j)

    def is_class_positive(i: int, j: int) -> bool:
        return classes[i] == classes[j] and instances[i] != instances[j]

    def term(is_positive: Any) -> float:
        per_anchor = [[pair_loss(i, j) for j in range(N) if is_positive(i, j)] for i in range(N)]
        with_positives = [losses for losses in per_anchor if losses]
        if not with_positives:
            return 0.0
        if reduction == "pairs":
            every_pair = [loss for losses in with_positives for loss in losses]
            return sum(every_pair) / len(every_pair)
        anchors = N if anchors_without_positives == "zero" else len(with_positives)
        return sum(sum(losses) / len(losses) for losses in with_positives) / anchors

    return (1 - alpha) * term(is_class_positive) + alpha * term(is_self_positive)


def pair_weights(
    classes: np.ndarray,
    instances: np.ndarray,
    alpha: float,
    self_pairs: str,
    reduction: str,
    anchors_without_positives: str,
) -> np.ndarray:
    """W (N, N) with loss = sum_ij W_ij l(z_i, z_j): the loss is linear in the pair losses."""
    same_instance = instances[:, None] == instances[None, :]
    sup = (classes[:, None] == classes[None, :]) & ~same_instance
    own = same_instance & ~(np.eye(len(classes), dtype=bool) & (self_pairs == "exclude"))

    def term(positive: np.ndarray) -> np.ndarray:
        positives = positive.sum(1, keepdims=True)
        if not positives.any():
            return np.zeros(positive.shape)
        if reduction == "pairs":
            return positive / positive.sum()
        anchors = len(classes) if anchors_without_positives == "zero" else (positives > 0).sum()
        return positive / np.maximum(positives, 1) / anchors

    return (1 - alpha) * term(sup) + alpha * term(own)


def dense_loss(
    Z: torch.Tensor,
    classes: np.ndarray,
    instances: np.ndarray,
    alpha: float,
    tau: float,
    self_pairs: str,
    reduction: str,
    anchors_without_positives: str,
) -> torch.Tensor:
    """The same as `naive_loss`, differentiable: log-softmax rows weighted by `pair_weights`."""
    W = torch.as_tensor(
        pair_weights(classes, instances, alpha, self_pairs, reduction, anchors_without_positives)
    )
    logits = Z @ Z.T / tau
    allowed = torch.ones_like(logits, dtype=torch.bool)
    if self_pairs == "exclude":
        allowed.fill_diagonal_(False)
    log_denominator = torch.logsumexp(logits.masked_fill(~allowed, -torch.inf), 1)
    return (W * (log_denominator[:, None] - logits)).sum()


def batches(
    counts: tuple[int, ...], batch: Batch, *, by_symmetry: bool = False
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Every batch that the sampler can draw, as (probability, instance indices).

    Under k of m classes every choice of classes is equally likely, whatever the class sizes.
    With `by_symmetry` batches with the same number of instances of each class are merged into their
    first one: the same expectation for a Gram matrix that is constant on orbits.
    """
    class_of_instance = np.repeat(np.arange(len(counts)), counts)
    everything = [
        (1 / len(groups) / len(subsets), subset)
        for groups in [list(_groups(counts, batch))]
        for subsets in groups
        for subset in subsets
    ]
    if not by_symmetry:
        yield from everything
        return
    merged: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
    for probability, subset in everything:
        composition = tuple(class_of_instance[list(subset)].tolist())
        before, first = merged.get(composition, (0.0, subset))
        merged[composition] = (before + probability, first)
    yield from merged.values()


def _groups(counts: tuple[int, ...], batch: Batch) -> Iterator[list[tuple[int, ...]]]:
    """Equally likely groups (the choices of classes) of equally likely subsets of instances."""
    ends = np.cumsum(counts).tolist()
    of_class = [range(end - count, end) for count, end in zip(counts, ends, strict=True)]
    if isinstance(batch, FullBatch):
        yield [tuple(range(ends[-1]))]
    elif isinstance(batch, RandomBatch):
        yield list(itertools.combinations(range(ends[-1]), batch.size))
    else:
        if batch.per_class > min(counts):
            raise ValueError("a class has fewer instances than per_class")
        for chosen in itertools.combinations(of_class, batch.classes or len(counts)):
            parts = [itertools.combinations(members, batch.per_class) for members in chosen]
            yield [tuple(itertools.chain.from_iterable(s)) for s in itertools.product(*parts)]


def expected_loss(Z: torch.Tensor, problem: Problem) -> torch.Tensor:
    """The mean of `dense_loss` over the sampler's batches; Z (N, d) in `Problem.labels` order."""
    classes, instances = problem.labels()
    total = Z.new_zeros(())
    for probability, subset in batches(problem.counts, problem.batch):
        rows = np.flatnonzero(np.isin(instances, subset))
        total = total + probability * dense_loss(
            Z[rows], classes[rows], instances[rows], **problem.conventions
        )
    return total
