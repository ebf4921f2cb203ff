"""What is known of a reference before anything is trained with it."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.losses import retention_loss
from uncollapse.records import ReferenceCheck
from uncollapse.training._beside import base_encoder, embedded, input_rows, stored_rows
from uncollapse.training.problem import Problem

SHUFFLES = 39
_MOST_ROWS = 1000


def check_reference(problem: Problem, reference: str | None = None) -> ReferenceCheck | None:
    """Whether a reference has anything in common with the inputs inside the classes.

        retention of the reference against the inputs, and of its rows shuffled inside the classes
        share of the variance within classes, of the reference and of the inputs

    Where retention is no more than the largest of 39 shuffles, the reference is unrelated: rows
    that do not belong together, or noise. Where its share is below .88 of the inputs', it has
    itself collapsed. That it is neither does not say that keeping it pays.

    Args:
        problem: Of the run; its validation rows are read, 1000 at most, or training rows where
            there are none.
        reference: As `loss.reference` names it; None for that of the configuration.

    Returns:
        None where there is nothing to ask: no reference, the inputs themselves, one that changes
        or is made first by training, or no class of four rows.

    Raises:
        InputError: A row without a reference.

    Examples:
        >>> from uncollapse.training import build_problem, parse_config
        >>> block = {"data": {"source": "digits", "map": "parity"}, "encoder": {"kind": "convnet"}}
        >>> block |= {"loss": {"alpha": 0.2, "temperature": 0.1}, "epochs": 2}
        >>> check_reference(build_problem(parse_config(block)), "input") is None
        True
    """
    name = reference or problem.config.loss.reference
    rows = problem.validation if len(problem.validation) else problem.rows
    rows = rows[problem.data.labels[rows] >= 0]
    rows = rows[:: max(1, math.ceil(len(rows) / _MOST_ROWS))]
    table = _table(problem, name, rows)
    if table is None:
        return None
    own = torch.from_numpy(input_rows(problem, rows))
    labels = torch.from_numpy(problem.data.labels[rows])
    given, rng = torch.from_numpy(table), np.random.default_rng(0)

    def kept(places: NDArray[np.int64]) -> float:
        return 1 - float(retention_loss(given[torch.from_numpy(places)], own, labels))

    try:
        found = kept(np.arange(len(rows)))
    except InputError:  # no class of four rows, or all of them alike
        return None
    chance = max(kept(_shuffled(labels.numpy(), rng)) for _ in range(SHUFFLES))
    shares = (_share(side, labels.numpy()) for side in (table, own.numpy()))
    return ReferenceCheck(str(name), found, chance, len(rows), *shares)


def _share(rows: NDArray[np.float32], labels: NDArray[np.int64]) -> float | None:
    """Part of the variance of unit rows within classes, which all weigh the same."""
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    classes = [own for c in np.unique(labels) if len(own := unit[labels == c]) > 1]
    within = float(np.mean([own.var(axis=0, ddof=1).sum() for own in classes]))
    between = float(np.var([own.mean(axis=0) for own in classes], axis=0).sum())
    return within / (within + between) if within else None


def _table(
    problem: Problem, name: str | None, rows: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    if name == "stored":
        return stored_rows(problem, rows)
    if name == "base":
        return embedded(problem, copy.deepcopy(base_encoder(problem)), rows)
    if name == "backbone" and problem.config.encoder.frozen:
        return embedded(problem, problem.model, rows)
    return None


def _shuffled(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of the rows, each class's in another order."""
    places = np.arange(len(labels))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        places[own] = rng.permutation(own)
    return places
