"""What benchmarks/keep_study.py minimises: losses, keep, and what is tried in keep's place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from keep_data import Case
from torch import Tensor, nn

from uncollapse import SupCLLoss, retention_loss
from uncollapse.losses import l_spread_loss, prepare_reference, sincere_loss

TEMPERATURE = 0.1
BETAS = (0.3, 1.0, 3.0)
NOISE = (0.1, 0.4)
REFERENCES = ("own", "noise", "untrained", "collapsed")
OTHERS = ("imagenet", "self-supervised")  # Of data sets that are trained from images.
IMBALANCE = 100.0
COLUMNS = (16, 32, 64, 128)
WITHOUT_KINDS = "without kinds"


@dataclass(frozen=True)
class Method:
    """What is minimised.

    Attributes:
        loss: "supcl", "sincere", "l-spread" or "cross-entropy".
        alpha: None: SupCon's as published, (p - 1)/(p n - 1).
        beta: Of keep.
        beside: "all rows", "similarities", "distances" or "autoencoder": a term in keep's place.
        weight: Of that term.
        reference: "own", "noise", "untrained", "collapsed" or "without kinds", "imagenet" or
            "self-supervised".
        noise: Part of the training rows with another label.
        imbalance: Rows of the largest class by those of the smallest, in training.
        columns: Of the prepared reference; 0 for the reference as it is.
    """

    loss: str = "supcl"
    alpha: float | None = None
    beta: float = 0.0
    beside: str = ""
    weight: float = 0.0
    reference: str = "own"
    noise: float = 0.0
    imbalance: float = 1.0
    columns: int = 0

    @property
    def name(self) -> str:
        """What the tables call it."""
        alpha = "SupCon" if self.alpha is None else f"alpha {self.alpha:g}"
        words = [alpha if self.loss == "supcl" else self.loss]
        words += [f"keep {self.beta:g}"] * bool(self.beta)
        words += [f"{self.beside} {self.weight:g}"] * bool(self.beside)
        words += [f"reference {self.reference}"] * (self.reference != "own")
        words += [f"label noise {self.noise:g}"] * bool(self.noise)
        words += [f"imbalance {self.imbalance:g}"] * (self.imbalance > 1)
        words += [f"columns {self.columns}"] * bool(self.columns)
        return ", ".join(words)


OTHER_LOSSES = Method("sincere"), Method("l-spread", 0.5), Method("cross-entropy")


def methods(more: bool, others: bool) -> Iterator[Method]:
    """All of a data set; what decides the claim comes first.

    With `more` also bad references, label noise and imbalance; with `others` other good references.
    """
    bases = [Method(), Method(alpha=0.2), Method(alpha=0.5)]
    yield from (*bases, Method(alpha=0.05))
    yield from (replace(loss, beta=beta) for loss in OTHER_LOSSES for beta in (0.0, 1.0))
    yield from (replace(base, beta=beta) for beta in BETAS for base in bases)
    yield from (Method(beside="all rows", weight=weight) for weight in (1.0, 3.0))
    yield Method(beside="similarities", weight=3000.0)
    yield Method(beside="distances", weight=30.0)
    yield Method("l-spread", 0.5, beside="autoencoder", weight=1.0)
    if more:
        for base in bases:
            for name in REFERENCES[1:]:
                yield replace(base, beta=1.0, reference=name)
            for part in NOISE:
                yield from (replace(base, beta=beta, noise=part) for beta in (0.0, 1.0))
            yield from (replace(base, beta=beta, imbalance=IMBALANCE) for beta in (0.0, 1.0))
        yield from (Method(alpha=0.5, beta=1.0, columns=columns) for columns in COLUMNS)
        yield from (replace(base, beta=1.0, reference=WITHOUT_KINDS) for base in bases)
    if others:
        for name in OTHERS:
            for beta in BETAS:
                yield from (replace(base, beta=beta, reference=name) for base in bases)


def term(method: Method, embeddings: Tensor, reference: Tensor) -> Tensor:
    """What stands in keep's place, over all rows of the batch: means of views, and references.

    Similarity-preserving distillation (Tung and Mori 2019), relational distillation of distances
    (Park et al. 2019), and CKA without classes, which is retention with one class.
    """
    rows = nn.functional.normalize(embeddings, dim=-1).mean(dim=1)
    if method.beside == "all rows":
        return retention_loss(rows, reference, torch.zeros(len(rows), dtype=torch.long))
    wanted = nn.functional.normalize(reference, dim=-1)
    if method.beside == "similarities":
        own, other = (nn.functional.normalize(side @ side.T, dim=-1) for side in (rows, wanted))
        return (own - other).square().mean()
    own, other = (nn.functional.pdist(side) for side in (rows, wanted))
    return nn.functional.huber_loss(own / own.mean(), other / other.mean())


class Objective(nn.Module):
    """The loss of a batch, with what it trains beside the network."""

    def __init__(self, method: Method, case: Case, reference: Tensor, classes: int) -> None:
        super().__init__()
        published = 1 / (2 * case.per_class - 1)
        self.method, self.reference, self.classes = method, reference, classes
        if method.columns:
            labels = np.where(case.split == "train", case.label, -1)
            self.reference = prepare_reference(reference, labels, columns=method.columns)
        alpha = published if method.alpha is None else method.alpha
        self.supcl = SupCLLoss(alpha=alpha, temperature=TEMPERATURE, keep=method.beta)
        self.linear = nn.Linear(case.dimension, classes)
        width = case.plain[0].numel()
        self.decoder = nn.Sequential(
            nn.Linear(case.dimension + classes, 256), nn.ReLU(), nn.Linear(256, width)
        )

    def forward(self, embeddings: Tensor, labels: Tensor, rows: Tensor, plain: Tensor) -> Tensor:
        """Of (n, 2, d) embeddings of rows with these labels and plain inputs."""
        method, reference = self.method, self.reference[rows]
        if method.loss == "supcl":
            kept = reference if method.beta else None
            loss = self.supcl(embeddings, labels, reference=kept)
        else:
            loss = self._other(embeddings, labels)
            if method.beta:
                loss = loss + method.beta * retention_loss(embeddings, reference, labels)
        if method.beside == "autoencoder":  # Class-conditional (Chen et al. 2022).
            given = nn.functional.one_hot(labels, self.classes)[:, None].expand(-1, 2, -1)
            unit = nn.functional.normalize(embeddings, dim=-1)
            made = self.decoder(torch.cat([unit, given], dim=-1))
            wanted = plain.flatten(1)[:, None].expand_as(made)
            return loss + method.weight * nn.functional.mse_loss(made, wanted)
        if method.beside:
            loss = loss + method.weight * term(method, embeddings, reference)
        return loss

    def _other(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """A loss that is not SupCL."""
        method = self.method
        if method.loss == "sincere":
            return sincere_loss(embeddings, labels, temperature=TEMPERATURE)
        if method.loss == "l-spread":
            alpha = method.alpha or 0.0
            return l_spread_loss(embeddings, labels, alpha=alpha, temperature=TEMPERATURE)
        logits = self.linear(embeddings.flatten(0, 1))
        return nn.functional.cross_entropy(logits, labels.repeat_interleave(2))
