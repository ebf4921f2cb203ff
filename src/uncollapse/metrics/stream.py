"""Measure a stream: batch by batch, shard by shard, machine by machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.metrics._held import HeldRows, held_together, held_with
from uncollapse.metrics._linked import linked_units
from uncollapse.metrics._measure import build_record
from uncollapse.metrics._reference import as_reference
from uncollapse.metrics._retention import PERMUTATIONS, Drawing
from uncollapse.metrics._stores import BlockStore, GroupStore, ScatterStore, Store
from uncollapse.metrics.classes import Classes, features_by_class, with_views_that_differ
from uncollapse.metrics.features import Floats, Integers
from uncollapse.metrics.moments import ClassMoments
from uncollapse.records import Margins, Measurement, Prediction
from uncollapse.samples import (
    ByRole,
    Contents,
    CopyCounter,
    Hashes,
    IdSet,
    RepeatedInstanceError,
    Sample,
    hash_ids,
    is_unit,
    row_norms,
    sample_of,
    sorted_names,
    stored_as,
    usable,
    usable_reference,
)

IntervalKind = Literal["exact", "blocks"]
# Dimension, whether instances are given, and whether groups are.
_Kind = tuple[int, bool, bool]
_WHETHER = {True: "given", False: "not given"}


class Accumulator:
    """Measures embeddings that come in parts, in memory that does not grow with the rows.

    The estimates are those of `measure` on all rows together, whatever the parts and their order.
    So are the intervals with `interval="exact"`, which keeps a (d + 6) x (d + 6) matrix per class;
    `interval="blocks"` keeps `blocks` sums per class instead and takes its intervals from leaving
    out one block at a time. With groups, one sum per class and group is kept and intervals are
    exact. Probe, slices and permutation nulls need all rows and are for `measure`.

    All views of an instance must come in one `update`; the ids of instances are remembered (8 bytes
    each), so one that comes back is refused and not counted as new. Groups may come back.

    Args:
        interval: "exact" or "blocks".
        blocks: Blocks per class, at least 8.
        drop_invalid: Drop and count unusable rows instead of refusing them.

    Raises:
        InputError: As `measure` does.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> rows, labels = rng.standard_normal((400, 8)), np.arange(400) % 4
        >>> first, second = Accumulator(), Accumulator()
        >>> first.update(rows[:150], labels[:150])
        >>> second.update(rows[150:], labels[150:])
        >>> first.merge(second)
        >>> first.measurement().verdict
        'not-collapsed'
    """

    def __init__(
        self, interval: IntervalKind = "exact", *, blocks: int = 16, drop_invalid: bool = False
    ) -> None:
        if interval not in ("exact", "blocks"):
            raise InputError('interval "exact" or "blocks"', f'"{interval}"', "choose one")
        self.interval: IntervalKind = interval
        self.blocks = blocks
        self.drop_invalid = drop_invalid
        self.store: Store | None = None
        self.labels: dict[Any, int] = {}
        self.samples: list[int] = []
        self.dropped: Counter[str] = Counter()
        self.dtypes: list[str] = []
        self.normalised = True
        self.views = False
        self.dimension = 0
        self.rows = 0
        self.split: str | None = None  # name of the rows' part
        self.columns: dict[str, str] = {}  # of files, by role; not saved
        self.copies: CopyCounter | None = CopyCounter()  # None where they are not looked for
        self.stored: str | None = None  # what quantised rows hold; None before the first
        self.ids = IdSet()
        self.label_sources: dict[str, None] = {}
        self.held: HeldRows | None = None  # of both embeddings, where there is a reference
        # Hashes of ids that the caller knows to lie in two classes or groups, by fault.
        self.split_ids: dict[str, Hashes] = {}

    @property
    def grouped(self) -> bool:
        """Whether units are groups."""
        return isinstance(self.store, GroupStore)

    def update(
        self,
        embeddings: Any,
        labels: Any,
        instances: Any = None,
        groups: Any = None,
        *,
        reference: Any = None,
        sources: Mapping[str, str] | None = None,
        first_row: int | None = None,
    ) -> None:
        """Add rows; the arguments are those of `measure`.

        `first_row` is the number that errors give the first of them; by default they count on.
        """
        columns = ByRole[Any](labels=labels, instances=instances, groups=groups)
        beside = None if reference is None else as_reference(reference)
        other, paired = (None, None) if beside is None else (beside.array, beside.paired)
        sample = sample_of(embeddings, columns, sources, reference=other, paired=paired)
        self.held = held = held_with(self.held, beside, first=self.rows == 0)
        first_row = self.rows if first_row is None else first_row
        self.rows += len(sample.matrix)
        store = self._store_for(sample)
        if (source := sample.sources.get("labels")) is not None:
            self.label_sources[source] = None
        plain = sample.instances is None and sample.groups is None
        if plain and isinstance(store, BlockStore):
            wide = store.widened(sample.matrix)
            norms = row_norms(wide)
            if norms.min() > 0 and np.isfinite(norms.sum()) and sample.labels.codes.min() >= 0:
                self.note((sample.dtype,), is_unit(norms, sample.dtype), {})
                numbers = self._numbers(sample.labels.names)[sample.labels.codes]
                contents = self._look(sample, norms, numbers)
                for number, count in enumerate(np.bincount(numbers).tolist()):
                    self.samples[number] += count
                store.add_rows(wide, norms, numbers)
                if held is not None:
                    sample = usable_reference(
                        sample, drop_invalid=self.drop_invalid, first_row=first_row
                    )
                    held.add(sample, contents)
                return
        sample = usable(
            sample,
            drop_invalid=self.drop_invalid,
            first_row=first_row,
            more_faults=self._split(sample),
        )
        if not len(sample.matrix):
            self.note((), True, sample.dropped)
            return
        self.note((sample.dtype,), sample.normalised, sample.dropped)
        self._remember(sample, instances)
        numbers = self._numbers(sample.labels.names)
        contents = self._look(sample, row_norms(sample.matrix), numbers[sample.labels.codes])
        if held is not None:
            held.add(sample, contents)
        for code, features, codes, rows in features_by_class(sample):
            groups = None
            if sample.groups is not None and codes is not None:
                groups = [sample.groups.names[code] for code in codes]
            store.add(int(numbers[code]), features, groups)
            self.samples[numbers[code]] += rows

    def _remember(self, sample: Sample, given: Any) -> None:
        """Remember the ids of instances, where they are given, and refuse those that come back."""
        if given is None or sample.instances is None:  # all of them are new
            return
        present = np.unique(sample.instances.codes)
        ids = hash_ids([sample.instances.names[code] for code in present])
        if again := self.ids.add(ids):
            where = sample.sources.get("instances", "instances")
            raise RepeatedInstanceError(
                f"all views of an instance together in {where}",
                f"{again} instance ids that came before (rows up to {self.rows})",
                "sort the rows by instance, or measure them in one call",
            )

    def _look(self, sample: Sample, norms: Floats, numbers: Integers) -> Contents:
        """Count copies among units of these classes, and see whether rows are codes."""
        contents = Contents(sample, norms)
        if self.copies is not None:
            owners = numbers[contents.first]
            if sample.groups is not None and isinstance(self.store, GroupStore):
                owners = self.store.places(owners, sample.groups, contents.first)
            self.copies.add(contents.keys, contents.hashes, owners)
        if self.stored != "":
            stored = stored_as(sample.matrix)
            self.stored = stored if self.stored in (None, stored) else ""
        return contents

    def begin(self, kind: _Kind) -> tuple[Store, _Kind]:
        """The store, chosen at the first rows, and what kind of rows it is for."""
        if self.store is None:
            self.dimension, self.views, grouped = kind
            if grouped:
                self.store = GroupStore(self.dimension)
            elif self.interval == "exact":
                self.store = ScatterStore()
            else:
                self.store = BlockStore(self.blocks, self.dimension)
        return self.store, (self.dimension, self.views, self.grouped)

    def _store_for(self, sample: Sample) -> Store:
        """Where these rows go; rows of another kind than those before are refused."""
        kind = (sample.matrix.shape[1], sample.instances is not None, sample.groups is not None)
        store, expected = self.begin(kind)
        if kind != expected:
            before, now = (
                f"{d} dimensions, instances {_WHETHER[views]}, groups {_WHETHER[groups]}"
                for d, views, groups in (expected, kind)
            )
            raise InputError(
                f"rows of {before}, as before", now, "measure rows of one kind together"
            )
        return store

    def _split(self, sample: Sample) -> dict[str, NDArray[np.bool_]]:
        """Rows of the instances that are known to be split, which this part alone may not show."""
        known = any(map(len, self.split_ids.values()))
        if not known or sample.instances is None or not sample.instances.names:
            return {}
        hashes, codes = hash_ids(list(sample.instances.names)), sample.instances.codes
        return {
            name: np.isin(hashes, ids)[codes]
            & ~sample.instances.missing
            & (sample.labels.codes >= 0)
            for name, ids in self.split_ids.items()
        }

    def note(self, dtypes: Iterable[str], normalised: bool, dropped: Mapping[str, int]) -> None:
        """Remember how rows came, and which of them were left out."""
        self.normalised = self.normalised and normalised
        self.dtypes += [name for name in dtypes if name not in self.dtypes]
        self.dropped.update(dropped)

    def _numbers(self, names: Iterable[Any]) -> Integers:
        """Number of each label name, given to new ones in order."""
        numbers = [self.labels.setdefault(name, len(self.labels)) for name in names]
        self.samples += [0] * (len(self.labels) - len(self.samples))
        return np.array(numbers, dtype=np.int64)

    def merge(self, other: Accumulator) -> None:
        """Add all that another accumulator has seen; it stays as it is."""
        if other.store is None:
            return
        kind = (other.dimension, other.views, other.grouped)
        store, expected = self.begin(kind)
        mine = (self.interval, self.blocks, *expected)
        theirs = (other.interval, other.blocks, *kind)
        if mine != theirs:
            raise InputError(
                "two accumulators of one kind (interval, blocks, dimension, views, groups)",
                f"{mine} and {theirs}",
                "accumulate both with the same options and columns",
            )
        if again := self.ids.add(other.ids.sorted()):
            raise InputError(
                "every instance in one of the accumulators",
                f"{again} instance ids in both",
                "keep all views of an instance in one shard",
            )
        self.held = held_together(self.held, other.held, first=self.rows == 0)
        if other.stored is not None:
            self.stored = other.stored if self.stored in (None, other.stored) else ""
        self.split = other.split if self.rows == 0 or self.split == other.split else None
        self.columns = other.columns if self.rows == 0 or self.columns == other.columns else {}
        numbers = self._numbers(other.labels).tolist()
        for number, count in zip(numbers, other.samples, strict=True):
            self.samples[number] += count
        same_kind: Any = other.store
        store.absorb(same_kind, numbers)
        if self.copies is None or other.copies is None:
            self.copies = None
        else:
            owners = numbers
            if isinstance(store, GroupStore):
                owners = [store.position[numbers[c], name] for c, name in same_kind.position]
            self.copies.merge(other.copies, owners)
        self.rows += other.rows
        self.note(other.dtypes, other.normalised, other.dropped)

    def classes(self) -> Classes:
        """Moments in label order.

        Raises:
            InputError: A class of one unit without `drop_invalid`, or fewer than two classes.
        """
        sources = list(self.label_sources)
        where = f" in {sources[0]}" if sources else ""
        where += f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        named: list[Any] = []
        instances: list[ClassMoments] = []
        numbers = [self.labels[name] for name in sorted_names(self.labels)]
        names = list(self.labels)
        for number in numbers:
            if self.store is None or self.samples[number] == 0:
                continue
            named.append(names[number])
            instances.append(replace(self.store.moments(number), samples=self.samples[number]))
            if instances[-1].units == 1 and not self.drop_invalid:
                raise InputError(
                    f"two independent units (instances, or groups) or more in every class{where}",
                    f"a single one in class {named[-1]!r} ({instances[-1].samples} rows of"
                    f" {self.rows})",
                    "correct the labels, or drop them with drop_invalid (--drop-invalid)",
                )
        numbers = [self.labels[name] for name in named]
        linked = linked_units(self.store, self.copies, numbers, instances)
        classes = Classes(
            tuple(named),
            linked.units,
            instances,
            dtype=", ".join(self.dtypes),
            normalised=self.normalised,
            dropped=dict(self.dropped),
            views=self.views,
            copies=linked.extra,
            linked=any(a is not b for a, b in zip(linked.units, instances, strict=True)),
            part_of_copies=self.copies is not None and self.copies.halvings > 0,
            unknown_copies=linked.unknown,
            stored=self.stored or "",
        ).of_several_units()
        classes = with_views_that_differ(classes)
        if len(classes.names) < 2:
            kept = ", ".join(map(str, classes.names)) or "none"
            raise InputError(
                f"two classes or more{where}",
                f"{len(classes.names)} ({kept}) in {self.rows} rows",
                "measure several classes together",
            )
        return classes

    def measurement(
        self,
        *,
        prediction: Prediction | Mapping[str, Any] | None = None,
        margins: Margins | None = None,
        confidence: float = 0.95,
        layer: str | None = None,
        split: str | None = None,
        permutations: int = PERMUTATIONS,
        seed: int = 0,
    ) -> Measurement:
        """The record of all rows so far; the arguments are those of `measure`.

        Permutations and their seed are those of a reference; else nothing is drawn.
        """
        classes, compared = self.classes(), None
        if self.held is not None:
            drawing = Drawing(confidence, permutations, seed)
            sums = isinstance(self.store, BlockStore)
            compared = self.held.comparison(classes.names, drawing, sums=sums)
        return build_record(
            classes,
            prediction=prediction,
            margins=margins,
            confidence=confidence,
            layer=layer,
            reference=compared,
            split=split or self.split,
            columns=self.columns,
        )
