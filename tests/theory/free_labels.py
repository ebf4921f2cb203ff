"""The loss with wrong labels as a function of the Gram matrix: every labelling of every batch.

Nothing here uses the product's theory. Full and random batches draw instances, each of which then
carries a label by the row of its true class; balanced batches draw labels, whose true classes
follow by Bayes' rule and whose instances are any others of that class.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from free_gram import Rows, gathered
from free_problem import Problem, batches, pair_weights

from uncollapse.records import BalancedBatch


def labelled_batches(
    problem: Problem, Q: np.ndarray
) -> Iterator[tuple[float, tuple[int, ...], tuple[int, ...]]]:
    """Probability, instances and their labels."""
    counts = problem.counts
    m, true = len(counts), np.repeat(np.arange(len(counts)), counts)
    batch = problem.batch
    if not isinstance(batch, BalancedBatch):
        for probability, subset in batches(counts, batch):
            for labels in itertools.product(range(m), repeat=len(subset)):
                chance = np.prod([Q[true[i], j] for i, j in zip(subset, labels, strict=True)])
                if chance > 0:
                    yield probability * float(chance), subset, labels
        return
    joint = np.array(counts)[:, None] * Q
    R = (joint / joint.sum(0)).T
    groups = list(itertools.combinations(range(m), batch.classes or m))
    for group in groups:
        labels = tuple(np.repeat(group, batch.per_class).tolist())
        for classes in itertools.product(range(m), repeat=len(labels)):
            chance = float(np.prod([R[j, c] for j, c in zip(labels, classes, strict=True)]))
            if chance == 0:
                continue
            # In turn: another instance of the class that is wanted.
            wanted = [classes.count(c) for c in range(m)]
            choices = [
                list(itertools.permutations(np.flatnonzero(true == c).tolist(), wanted[c]))
                for c in range(m)
            ]
            total = np.prod([len(choice) for choice in choices])
            for chosen in itertools.product(*choices):
                left = [list(part) for part in chosen]
                subset = tuple(left[c].pop() for c in classes)
                yield chance / len(groups) / float(total), subset, labels


def labelled_rows(problem: Problem, Q: np.ndarray, alphas: Any = None) -> Rows:
    """F(G) as `Rows`; alphas by given label, else the problem's alpha."""
    m, p = len(problem.counts), problem.views
    alphas = np.full(m, problem.alpha) if alphas is None else np.asarray(alphas)
    conventions = {k: v for k, v in problem.conventions.items() if k not in ("tau", "alpha")}

    def weighted() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for probability, subset, labels in labelled_batches(problem, Q):
            members = (np.array(subset)[:, None] * p + np.arange(p)).ravel()
            given, instances = np.repeat(labels, p), np.repeat(subset, p)
            terms = [pair_weights(given, instances, a, **conventions) for a in (0.0, 1.0)]
            keep = alphas[given][:, None]
            yield members, probability * ((1 - keep) * terms[0] + keep * terms[1])

    return gathered(weighted(), sum(problem.counts) * p, problem.self_pairs == "include")


def rows_loss(G: np.ndarray, rows: Rows, tau: float) -> tuple[float, np.ndarray]:
    """F(G) and its symmetric gradient."""
    logits = np.where(rows.mask, G[rows.anchor] / tau, -np.inf)
    top = logits.max(1)
    exponentials = np.exp(logits - top[:, None])
    sums = exponentials.sum(1)
    C = -rows.positive / tau
    np.add.at(C, rows.anchor, exponentials * (rows.weight / sums)[:, None] / tau)
    value = float(rows.weight @ (top + np.log(sums)) - (rows.positive * G).sum() / tau)
    return value, (C + C.T) / 2
