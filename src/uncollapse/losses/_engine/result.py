"""What a backend of the engine gives: a loss without a graph, and its gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from uncollapse.losses._engine.arguments import UNLABELLED, DegenerateBatchError
from uncollapse.losses._engine.batch import Checked
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.grouping import Grouping


@dataclass(frozen=True)
class ClassSums:
    """Of a batch, sums over instances I_k and classes C_c of scaled rows y = u / sqrt(tau)."""

    products: Tensor | None  # (K,) I_k.(C_c - I_k), c of k; None where no class has two instances.
    instance_squares: Tensor  # (K,) |I_k|^2.
    grouping: Grouping
    temperature: float


@dataclass(frozen=True)
class Lacking:
    """Anchors of each term without a positive, to be counted only if somebody asks."""

    having: Tensor  # (T,) how many have one.
    labels: Tensor  # (N,).
    of_labelled: tuple[bool, ...]  # Whether a term's anchors are the labelled ones.

    def counts(self) -> tuple[int, ...]:
        """Of each term; waits for the device."""
        rows, labelled = len(self.labels), int((self.labels != UNLABELLED).sum())
        anchors = (labelled if only else rows for only in self.of_labelled)
        return tuple(n - int(h) for n, h in zip(anchors, self.having.tolist(), strict=True))


@dataclass(frozen=True)
class Evaluated:
    """A loss of a batch, and of each term what a user may see."""

    loss: Tensor  # Scalar, part of the caller's graph.
    # Scalars, not part of it; None, or 0 where nobody has looked, if the batch has no such pair.
    values: list[Tensor | None]
    anchors_without_positives: tuple[int, ...] | Lacking
    backend: str
    lacks: DegenerateBatchError | None = None  # Why the batch counts as nothing, where it does.
    sums: ClassSums | None = None  # Where they are tracked.


@dataclass(frozen=True)
class Computed:
    """A loss without a graph, and its gradient in the rows of the embeddings."""

    shown: Evaluated
    gradient: Tensor | None  # (N, d) in the dtype of the computation; None where not asked for
    slope: Tensor | None = None  # In log(1 / tau), where the temperature is learned.


def lacking(
    checked: Checked,
    definition: Definition,
    lacks: DegenerateBatchError,
    gradient: Tensor | None,
) -> Computed:
    """A batch without pairs as nothing, with a gradient of zeros; raised where that is an error."""
    if checked.options.degenerate == "error":
        raise lacks
    count, samples = len(definition.terms), checked.samples
    zero = samples.embeddings.new_zeros((), dtype=samples.compute_dtype)
    nothing = Evaluated(zero, [None] * count, (0,) * count, checked.backend, lacks)
    return Computed(nothing, gradient, zero if checked.options.learned else None)
