"""The problem that theory answers: data, loss and batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np

from uncollapse.errors import InputError
from uncollapse.records.codec import Part, check_choice
from uncollapse.records.conventions import (
    AnchorsWithoutPositives,
    BalancedBatch,
    Batch,
    Conventions,
    FullBatch,
    RandomBatch,
    Reduction,
    SelfPairs,
)

# Beyond this, float64 cannot tell n from n - 1 well enough for the thresholds.
MAX_COUNT = 10**9


@dataclass(frozen=True, kw_only=True)
class Setting(Part):
    """One SupCL problem: L = (1 - alpha) L_sup + alpha L_self on given data and batches.

    `self_pairs`, `reduction` and `anchors_without_positives` are those of `Conventions`. Under the
    reduction "pairs" an anchor without positives has no pair, so "drop" and "zero" are the same.

    Attributes:
        class_counts: Instances of each class, n_1..n_m (at least two classes). Leave it out and
            give `classes` and `per_class` for m classes of n instances each.
        classes: Number of classes m, from 2.
        per_class: Instances of each class n, from 1.
        views: Augmented views of an instance p, from 1.
        alpha: Weight of the self-supervised term, 0 to 1.
        temperature: Temperature tau, 0.001 to 1000.
        self_pairs: The anchor itself in the denominator, or not.
        reduction: Mean over positive pairs, or over anchors.
        anchors_without_positives: An anchor alone of its class in a batch: left out, zero, or
            refused.
        dimension: Embedding dimension d, or None for "large enough".
        batch: `FullBatch()`, `BalancedBatch(per_class, classes)` or `RandomBatch(size)`.

    Raises:
        InputError: If a value is out of its range or the loss has no positive pair.

    Examples:
        >>> Setting(classes=10, per_class=50, alpha=0.5, temperature=0.1).instances
        500
        >>> Setting(class_counts=[10, 4, 2], alpha=0.5, temperature=0.1).balanced
        False
    """

    class_counts: Sequence[int] | None = None
    classes: int | None = None
    per_class: int | None = None
    views: int = 2
    alpha: float
    temperature: float
    self_pairs: SelfPairs = "exclude"
    reduction: Reduction = "anchors"
    anchors_without_positives: AnchorsWithoutPositives = "drop"
    dimension: int | None = None
    batch: Batch = field(default_factory=FullBatch)

    def __post_init__(self) -> None:
        _check_counts(self)
        _check_loss(self)
        _check_batch(self)
        _check_positives(self)

    @property
    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Instances of each class, (m,) int64."""
        if self.class_counts is not None:
            return np.asarray(self.class_counts, dtype=np.int64)
        return np.full(self.classes or 0, self.per_class, dtype=np.int64)

    @property
    def instances(self) -> int:
        """Instances of all classes."""
        return int(self.counts.sum())

    @property
    def balanced(self) -> bool:
        """Whether all classes have the same number of instances."""
        return self.class_counts is None or len(set(self.class_counts)) == 1

    @property
    def conventions(self) -> Conventions:
        """Which number the loss is."""
        return Conventions(self.self_pairs, self.reduction, self.anchors_without_positives)

    def to_dict(self) -> dict[str, Any]:
        """The setting as plain JSON types; classes by their counts."""
        record = super().to_dict() | {"class_counts": self.counts.tolist()}
        return {name: record[name] for name in record if name not in ("classes", "per_class")}

    def with_(self, **changes: Any) -> Setting:
        """A copy with some attributes changed.

        Examples:
            >>> Setting(classes=2, per_class=3, alpha=0.5, temperature=1).with_(alpha=0.1).alpha
            0.1
        """
        return replace(self, **changes)


def _whole(value: Any, low: int, high: float = math.inf) -> bool:
    """Whether it is a whole number in a range."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(low <= value <= high)


def _check_counts(setting: Setting) -> None:
    given, each = setting.class_counts, (setting.classes, setting.per_class)
    if given is None and None in each:
        raise InputError(
            "the class sizes",
            f"classes = {setting.classes}, per_class = {setting.per_class}",
            "give class_counts, or per_class beside the number of classes",
        )
    if given is not None and each != (None, None):
        raise InputError(
            "either class_counts or classes with per_class", "both", "leave one of the two out"
        )
    if given is None:
        few, text = not _whole(setting.classes, 2), f"classes = {setting.classes}"
        counts: list[Any] = [setting.per_class]
    else:
        few, text = len(given) < 2, f"{len(given)} class count(s)"
        counts = list(given)
        # A frozen copy, so that a list changed later does not change the setting.
        object.__setattr__(setting, "class_counts", tuple(counts))
    if few:
        raise InputError(
            "at least two classes", text, "class collapse is a question about two or more classes"
        )
    if setting.classes is not None and setting.classes > 10**7:
        raise InputError(
            "at most 10,000,000 classes", f"{setting.classes}", "predict for a part of them"
        )
    for count in counts:
        if not _whole(count, 1, MAX_COUNT):
            raise InputError(
                "class sizes that are positive whole numbers, at most 1e9",
                f"a class of {count!r} instances",
                "give the number of instances of each class",
            )
    if max(counts) < 2:
        raise InputError(
            "a class with at least two instances",
            "classes of one instance each",
            "a class of one instance cannot collapse; group finer classes into coarser ones",
        )


def _check_loss(setting: Setting) -> None:
    if not _whole(setting.views, 1, 10**6):
        raise InputError(
            "views as a whole number from 1 to 1,000,000",
            f"views = {setting.views!r}",
            "give the number of augmented views of an instance in a batch",
        )
    if not 0 <= setting.alpha <= 1:
        raise InputError(
            "alpha in [0, 1]",
            f"alpha = {setting.alpha!r}",
            "give the weight of the self-supervised term as a fraction",
        )
    if not 1e-3 <= setting.temperature <= 1e3:
        raise InputError(
            "a temperature from 0.001 to 1000",
            f"temperature = {setting.temperature!r}",
            "common values lie between 0.05 and 1",
        )
    for name in ("self_pairs", "reduction", "anchors_without_positives"):
        known = get_args(Conventions.__annotations__[name])
        check_choice(setting, name, known, "see docs/conventions.md for what each means")
    if setting.dimension is not None and not _whole(setting.dimension, 1):
        raise InputError(
            "an embedding dimension as a whole number from 1",
            f"dimension = {setting.dimension!r}",
            "give the width of the embeddings, or leave it out",
        )
    if setting.views == 1 and setting.self_pairs == "exclude" and setting.alpha > 0:
        raise InputError(
            "at least two views where the self-supervised term has weight",
            f"views = 1 with alpha = {setting.alpha:g} and self pairs excluded",
            "one view has no self-supervised pair: use views >= 2, or alpha = 0",
        )


def _check_batch(setting: Setting) -> None:
    batch, counts = setting.batch, setting.counts
    if isinstance(batch, BalancedBatch):
        if not _whole(batch.per_class, 1, counts.min()):
            raise InputError(
                f"from 1 to {counts.min()} instances of a class in a batch (the smallest class)",
                f"{batch.per_class!r} in a batch",
                "take fewer per class, or leave the small classes out",
            )
        if batch.classes is not None and not _whole(batch.classes, 2, len(counts)):
            raise InputError(
                f"from 2 to {len(counts)} classes in a batch",
                f"{batch.classes!r} classes in a batch",
                "a batch of one class has no negatives; take at most as many as the data has",
            )
    elif isinstance(batch, RandomBatch):
        if not _whole(batch.size, 2, counts.sum()):
            raise InputError(
                f"a batch of 2 to {counts.sum()} instances (all of the data)",
                f"a batch of {batch.size!r}",
                "count instances, not views; take at most as many as the data has",
            )
    elif not isinstance(batch, FullBatch):
        raise InputError(
            "FullBatch(), BalancedBatch(per_class, classes) or RandomBatch(size)",
            f"batch = {batch!r}",
            "import them from uncollapse.theory",
        )


def _check_positives(setting: Setting) -> None:
    batch, counts = setting.batch, setting.counts
    if setting.alpha == 1:
        return
    pair = isinstance(batch, RandomBatch) and batch.size == 2
    if pair and setting.views == 1 and setting.self_pairs == "exclude":
        raise InputError(
            "batches of at least three embeddings where self pairs are excluded",
            "random batches of 2 instances with one view",
            "with one other embedding the loss is 0 everywhere: enlarge the batch",
        )
    if isinstance(batch, BalancedBatch) and batch.per_class == 1:
        raise InputError(
            "at least two instances of a class in a batch where the supervised term has weight",
            f"1 per class with alpha = {setting.alpha:g}",
            "a lone instance has no supervised positive: take 2 or more, or alpha = 1",
        )
    if setting.anchors_without_positives != "error":
        return
    alone = isinstance(batch, RandomBatch) and batch.size < counts.sum()
    if alone or (counts.min() == 1 and not isinstance(batch, BalancedBatch)):
        raise InputError(
            "batches in which every instance has another one of its class",
            "batches in which an instance can be alone of its class",
            'use a balanced batch, or anchors_without_positives "drop" or "zero"',
        )
