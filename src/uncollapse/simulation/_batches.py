"""Batches of a simulation: all of them with their probabilities, or draws of a generator."""

from __future__ import annotations

from itertools import combinations, product
from math import comb, prod

import torch
from torch import Tensor

from uncollapse.losses import supcl_loss
from uncollapse.records import BalancedBatch, RandomBatch, Setting

# So many different batches at most are all summed; an expectation over more is sampled.
LISTED_BATCHES = 256


def labels_of(setting: Setting) -> Tensor:
    """Class of each instance, (n,) int64, in the order of the class counts."""
    counts = torch.as_tensor(setting.counts)
    return torch.repeat_interleave(torch.arange(len(counts)), counts)


def all_batches(setting: Setting) -> list[tuple[float, Tensor]] | None:
    """Every possible batch as (probability, instances); None beyond `LISTED_BATCHES`."""
    counts, total = setting.counts.tolist(), setting.instances
    batch, m = setting.batch, len(counts)
    if isinstance(batch, RandomBatch):
        if comb(total, batch.size) > LISTED_BATCHES:
            return None
        rows = [torch.tensor(chosen) for chosen in combinations(range(total), batch.size)]
        return [(1 / len(rows), chosen) for chosen in rows]
    if not isinstance(batch, BalancedBatch):
        return [(1.0, torch.arange(total))]
    k, size = batch.classes or m, batch.per_class
    # The cheap bound first: the number of class subsets alone can be astronomical.
    if comb(m, k) > LISTED_BATCHES:
        return None
    subsets = list(combinations(range(m), k))
    ways = [prod(comb(counts[c], size) for c in subset) for subset in subsets]
    if sum(ways) > LISTED_BATCHES:
        return None
    members = [rows.tolist() for rows in torch.split(torch.arange(total), counts)]
    batches = []
    for subset, many in zip(subsets, ways, strict=True):
        for parts in product(*(combinations(members[c], size) for c in subset)):
            batches.append((1 / (len(subsets) * many), torch.tensor(parts).flatten()))
    return batches


def draw_batch(setting: Setting, generator: torch.Generator) -> Tensor:
    """Instances of one batch, (b,) int64, without replacement, from the sampler of the setting."""
    counts, batch, total = setting.counts, setting.batch, setting.instances
    if isinstance(batch, RandomBatch):
        return torch.randperm(total, generator=generator)[: batch.size]
    if not isinstance(batch, BalancedBatch):
        return torch.arange(total)
    first = counts.cumsum() - counts
    classes = torch.randperm(len(counts), generator=generator)[: batch.classes or len(counts)]
    return torch.cat(
        [
            first[c] + torch.randperm(int(counts[c]), generator=generator)[: batch.per_class]
            for c in classes.tolist()
        ]
    )


def batch_loss(setting: Setting, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Loss of a batch (b, p, d), as a sampler meets it.

    A batch without a supervised pair counts as zero in L_sup, and one of a single class is as good
    as any other: both happen to random batches, and the prediction counts them so.
    """
    share, alpha = 1.0, setting.alpha
    if alpha < 1 and int(torch.bincount(labels).max()) < 2:
        if alpha == 0:
            return embeddings.sum() * 0
        share, alpha = alpha, 1.0
    return share * supcl_loss(
        embeddings,
        labels,
        alpha=alpha,
        temperature=setting.temperature,
        **vars(setting.conventions) | {"one_class": "allow"},
    )
