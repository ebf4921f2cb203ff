"""How a batch is composed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BalancedBatch", "Batch", "FullBatch", "RandomBatch"]


@dataclass(frozen=True)
class FullBatch:
    """Every instance is in every batch."""


@dataclass(frozen=True)
class BalancedBatch:
    """The same number of instances of every class that is in the batch.

    Attributes:
        per_class: Instances of a class in a batch (n_b), at least 1.
        classes: Classes in a batch, drawn at random without replacement; None for all.
    """

    per_class: int
    classes: int | None = None


@dataclass(frozen=True)
class RandomBatch:
    """Instances drawn uniformly without replacement, whatever their class.

    Attributes:
        size: Instances in a batch (B), each with all its views.
    """

    size: int


Batch = FullBatch | BalancedBatch | RandomBatch
