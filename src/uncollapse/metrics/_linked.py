"""Independent units of a stream: exact copies together, by what was counted of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uncollapse.metrics._stores import GroupStore, Store
from uncollapse.metrics.moments import ClassMoments
from uncollapse.samples import CopyCounter


@dataclass(frozen=True)
class Linked:
    """Moments of the units of some classes, and what is known of copies."""

    units: list[ClassMoments]
    extra: int | None  # copies beyond the first of each kind; None where they were not looked for
    unknown: bool = False  # whether there are some, it is not known of which classes


def linked_units(
    store: Store | None,
    copies: CopyCounter | None,
    numbers: Sequence[int],
    moments: list[ClassMoments],
) -> Linked:
    """Copies together, in classes of these numbers whose moments count each by itself."""
    if copies is None:
        return Linked(moments, None)
    if isinstance(store, GroupStore):
        return _linked_groups(store, copies, numbers, moments)
    if not (extra := copies.extra):
        return Linked(moments, 0)
    if not copies.by_class:
        return Linked([replace(each, rows=None, scatter=None) for each in moments], extra, True)
    counts = [0] * (max(numbers, default=-1) + 1)
    for number, each in zip(numbers, moments, strict=True):
        counts[number] = each.units
    repeats = copies.repeats(counts)
    pairs = zip(numbers, moments, strict=True)
    return Linked([each.repeated(repeats[number]) for number, each in pairs], extra)


def _linked_groups(
    store: GroupStore, copies: CopyCounter, numbers: Sequence[int], groups: list[ClassMoments]
) -> Linked:
    """Groups that have copies of each other's rows as one, class by class."""
    classes, codes = store.codes()
    found = copies.between(classes, codes)
    if found is None or found.units is None:
        return Linked(groups, 0 if found is None else found.extra)
    linked = [store.moments_of(number, classes, found.units) for number in numbers]
    pairs = zip(linked, groups, strict=True)
    return Linked([replace(each, samples=group.samples) for each, group in pairs], found.extra)
