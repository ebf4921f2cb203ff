"""Which rows make a batch, as a pure function of seed and epoch.

Three kinds. "shuffled" draws B rows whatever their class. "balanced" draws k of m classes and n_b
rows of each, about one pass over the data in an epoch: a class that the epoch has room for is
reached whole, with repeats, and a larger one goes on in the next epoch where it stopped.
"class-aware" makes the same batches, but an epoch is long enough to reach every row of the largest
class, and so of all; small classes repeat. A batch never holds a row twice.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from uncollapse.data.config import Strict
from uncollapse.data.permutation_stream import Integers, PermutationStream
from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, Batch, FullBatch, RandomBatch

# First number of each stream's key, so that no two kinds of draws share random numbers.
_SHUFFLED, _CLASSES, _ROWS, _ORDER = range(4)
# What cross-entropy ignores: no label, as the losses read it.
_IGNORED = -100


class BatchConfig(Strict):
    """The `batch:` block of a configuration.

    Attributes:
        sampler: "shuffled", "balanced" or "class-aware".
        size: Of "shuffled": rows in a batch, or "full" for all of them; 256 if not given.
        per_class: Of the other two, which need it: rows of each class in a batch (n_b).
        classes: Of the other two: classes in a batch (k); None for all.

    Examples:
        >>> BatchConfig(sampler="balanced", per_class=8, classes=4).per_class
        8
    """

    sampler: Literal["shuffled", "balanced", "class-aware"] = "shuffled"
    size: int | Literal["full"] | None = None
    per_class: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_the_sampler(self) -> Self:
        if isinstance(self.size, int) and self.size < 1:
            raise ValueError(f"size is {self.size}, but a batch needs at least 1 row")
        if self.sampler == "shuffled":
            if self.per_class is not None or self.classes is not None:
                raise ValueError(
                    "per_class and classes belong to the samplers balanced and class-aware; "
                    "the sampler shuffled takes size"
                )
        elif self.size is not None:
            raise ValueError(
                f"the sampler {self.sampler} takes per_class and classes, whose product is the "
                "size of a batch; leave size out"
            )
        elif self.per_class is None:
            raise ValueError(f"the sampler {self.sampler} needs per_class, rows of a class")
        return self


@dataclass(frozen=True)
class Coverage:
    """What one epoch's batches reach of the training rows, by class code (-1 for unlabelled).

    Examples:
        >>> coverage = Coverage(2, *np.array([[-1, 0, 1], [9, 4, 2], [0, 4, 2], [0, 4, 0]]))
        >>> coverage.text
        'epoch 2 reaches 6 of 15 rows; 9 unlabelled are left out; 4 places repeat a row'
        >>> coverage.unreached, coverage.unreached_classes
        (9, (-1,))
    """

    epoch: int
    classes: Integers  # (m,) codes, ascending
    samples: Integers  # rows of each class
    reached: Integers  # of these, how many are in at least one batch
    repeated: Integers  # places in batches beyond the first of each row

    @property
    def unreached(self) -> int:
        """Rows that no batch of the epoch holds, unlabelled ones included."""
        return int((self.samples - self.reached).sum())

    @property
    def unreached_classes(self) -> tuple[int, ...]:
        """Codes of classes of which no row is reached; -1 stands for unlabelled rows."""
        return tuple(int(c) for c in self.classes[self.reached == 0])

    @property
    def text(self) -> str:
        """One line that says which rows and classes the epoch leaves out or repeats."""
        total = int(self.samples.sum())
        parts = [f"epoch {self.epoch} reaches {total - self.unreached:,} of {total:,} rows"]
        labelled = self.classes >= 0
        unlabelled = int((self.samples - self.reached)[~labelled].sum())
        if unlabelled:
            parts.append(f"{unlabelled:,} unlabelled are left out")
        missed = int((self.samples - self.reached)[labelled].sum())
        if missed:
            parts.append(f"{missed:,} not reached")
        without = [code for code in self.unreached_classes if code >= 0]
        if without:
            parts.append(f"among them all of class {_first_few(without)}")
        if self.repeated.any():
            parts.append(f"{int(self.repeated.sum()):,} places repeat a row")
        return "; ".join(parts)


class Sampler(ABC):
    """Batches of positions among the training rows; see `make_sampler`."""

    size: int  # rows in a batch
    steps: int  # batches in an epoch, the same in every one

    def __init__(self, labels: Integers, seed: int) -> None:
        self._labels = labels
        self._seed = seed
        self._latest = (-1, np.empty((0, 0), np.int64))  # the batches of an epoch

    @abstractmethod
    def batch(self) -> Batch:
        """How a batch is composed: what `Setting` takes."""

    @abstractmethod
    def _epoch(self, epoch: int) -> Integers:
        """All batches of an epoch, shape (steps, size)."""

    def batches(self, epoch: int) -> list[Integers]:
        """The batches of an epoch, (size,) each: a pure function of the seed and the epoch."""
        if epoch < 0:
            raise InputError("an epoch from 0 on", f"epoch = {epoch}", "count epochs from 0")
        if self._latest[0] != epoch:
            self._latest = (epoch, self._epoch(epoch))
            self._latest[1].setflags(write=False)
        return list(self._latest[1])

    def coverage(self, epoch: int) -> Coverage:
        """What the batches of an epoch reach, leave out and repeat, by class."""
        times = np.bincount(np.concatenate(self.batches(epoch)), minlength=len(self._labels))
        classes, members = np.unique(self._labels, return_inverse=True)
        reached = np.bincount(members, weights=times > 0, minlength=len(classes)).astype(np.int64)
        places = np.bincount(members, weights=times, minlength=len(classes)).astype(np.int64)
        samples = np.bincount(members, minlength=len(classes)).astype(np.int64)
        return Coverage(epoch, classes, samples, reached, places - reached)


class _Shuffled(Sampler):
    """A new permutation in every epoch, cut in batches; the incomplete last one is dropped."""

    def __init__(self, labels: Integers, seed: int, size: int) -> None:
        super().__init__(labels, seed)
        self.size, self.steps = size, len(labels) // size

    def batch(self) -> Batch:
        return FullBatch() if self.size == len(self._labels) else RandomBatch(self.size)

    def _epoch(self, epoch: int) -> Integers:
        order = np.random.default_rng((self._seed, _SHUFFLED, epoch)).permutation(len(self._labels))
        return order[: self.steps * self.size].reshape(self.steps, self.size)


class _ByClass(Sampler):
    """n_b rows of each of k classes; `restart` makes every epoch reach every row."""

    def __init__(
        self, labels: Integers, seed: int, per_class: int, classes: int, *, restart: bool
    ) -> None:
        super().__init__(labels, seed)
        self._per_class, self._k, self._restart = per_class, classes, restart
        rows = np.argsort(labels, kind="stable").astype(np.int64)
        rows = rows[np.searchsorted(labels[rows], 0) :]
        starts = np.flatnonzero(np.diff(labels[rows], prepend=-1))
        self._rows = np.split(rows, starts[1:])
        self.size = per_class * classes
        self.steps = math.ceil(len(rows) / self.size)
        if restart:
            # Over s batches every class comes floor(s k / m) times or more.
            largest = max(map(len, self._rows))
            self.steps = math.ceil(math.ceil(largest / per_class) * len(self._rows) / classes)

    def batch(self) -> Batch:
        every_class = self._k == len(self._rows)
        if every_class and all(len(rows) == self._per_class for rows in self._rows):
            return FullBatch()
        return BalancedBatch(self._per_class, None if every_class else self._k)

    def _epoch(self, epoch: int) -> Integers:
        m, steps = len(self._rows), self.steps
        # Streams with the epoch in their key begin anew in it; those with a 0 there run on.
        anew, start = (epoch + 1, 0) if self._restart else (0, epoch * steps)
        draws = PermutationStream(m, self._k, (self._seed, _CLASSES, anew))
        drawn = draws.blocks(start, start + steps).ravel()
        begin, number = draws.counts(start), np.bincount(drawn, minlength=m)
        blocks = []
        for c, rows in enumerate(self._rows):
            whole = number[c] * self._per_class >= len(rows)
            first = 0 if whole else int(begin[c])
            key = (self._seed, _ROWS, epoch + 1 if whole else 0, c)
            stream = PermutationStream(len(rows), self._per_class, key)
            blocks.append(rows[stream.blocks(first, first + int(number[c]))])
        batches = np.empty((steps * self._k, self._per_class), dtype=np.int64)
        batches[np.argsort(drawn, kind="stable")] = np.concatenate(blocks)
        # Mixed, so that no process's share of a batch is made of a few classes.
        order = np.random.default_rng((self._seed, _ORDER, epoch))
        return order.permuted(batches.reshape(steps, self.size), axis=1)


def make_sampler(
    config: BatchConfig,
    labels: NDArray[np.integer],
    *,
    seed: int,
    names: Sequence[str] | None = None,
) -> Sampler:
    """The sampler that a configuration asks for; a batch too large for the rows is refused.

    Args:
        config: Kind and sizes.
        labels: (N,) class codes of the training rows; -1 for unlabelled ones, which "shuffled" uses
            and the other kinds leave out.
        seed: Non-negative; what the batches are a function of, with the epoch.
        names: Class names by code, for messages.

    Raises:
        InputError: Labels that the losses would refuse too (fractions, words, NaN, below -1), a
            batch larger than the data, a class with fewer rows than a batch takes of it.

    Examples:
        >>> labels = np.array([0] * 6 + [1] * 4)
        >>> sampler = make_sampler(BatchConfig(sampler="balanced", per_class=2), labels, seed=0)
        >>> [sorted(labels[rows].tolist()) for rows in sampler.batches(0)]
        [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
        >>> sampler.batch()
        BalancedBatch(per_class=2, classes=None)
        >>> sampler.coverage(0).text
        'epoch 0 reaches 10 of 10 rows; 2 places repeat a row'
    """
    codes = _class_codes(labels)
    if config.sampler == "shuffled":
        size = len(codes) if config.size == "full" else config.size or 256
        if not 0 < size <= len(codes):
            raise InputError(
                f"a batch of at most the {len(codes):,} training rows",
                f"size = {size:,}",
                "give a smaller size, or size: full",
            )
        return _Shuffled(codes, seed, size)
    per_class = config.per_class or 1
    present, counts = np.unique(codes[codes >= 0], return_counts=True)
    classes = config.classes or len(present)
    if not 0 < classes <= len(present):
        raise InputError(
            f"at most the {len(present):,} classes of the training rows",
            f"classes = {classes:,}",
            "give fewer classes, or leave the key out for all",
        )
    small = [
        f"{names[code] if names else f'class {code}'} has {count:,}"
        for code, count in zip(present, counts, strict=True)
        if count < per_class
    ]
    if small:
        raise InputError(
            f"per_class = {per_class:,} training rows or more in every class",
            _first_few(small),
            f"give per_class of at most {counts.min():,}, or merge or leave out small classes",
        )
    return _ByClass(codes, seed, per_class, classes, restart=config.sampler == "class-aware")


def _class_codes(given: Any) -> Integers:
    """The labels as int64, read as the losses read them: -1 is unlabelled, and so is -100."""
    expected = "labels of shape (N,) of whole numbers, 0 or more, or -1 for unlabelled"
    if np.ma.is_masked(given):
        raise InputError(expected, "masked entries", "mark rows without a label by -1")
    labels = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iubf":
        given = f"dtype {labels.dtype}, shape {labels.shape}"
        raise InputError(expected, given, "number the classes from 0")
    whole = labels < 2.0**63 if labels.dtype.kind == "u" else np.ones(labels.shape, dtype=bool)
    if labels.dtype.kind == "f":
        exact = 2 / np.finfo(labels.dtype).eps
        whole = (labels == np.rint(labels)) & (np.abs(labels) <= exact)
    codes = np.where(whole, labels, 0).astype(np.int64)
    codes[codes == _IGNORED] = -1
    if (wrong := ~whole | (codes < -1)).any():
        raise InputError(expected, f"label {labels[wrong][0]}", "number the classes from 0")
    return codes


def _first_few(items: Sequence[object], most: int = 5) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(str(item) for item in items[:most]) + more
