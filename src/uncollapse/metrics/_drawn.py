"""Which instances retention is computed from: all, or so many of each class that it stays cheap.

Where all would cost more than a part of the measurement itself, each class gives the instances
with the smallest hashes of their content, the same number in every class that has more. So what is
drawn is drawn at random and depends neither on the order of the rows nor on a seed; copies are
drawn together, groups give a part of their instances; and of a stream the same ones are drawn as of
one call, as long as it holds them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics._hsic import gram_cost, product_cost
from uncollapse.metrics._hsic_groups import grouped_gram_cost, grouped_product_cost
from uncollapse.metrics._stores import mixed
from uncollapse.metrics.features import Integers
from uncollapse.samples import Contents, Sample, hash_ids

Keys = NDArray[np.uint64]

# Multiplications that may always be spent: some 30 ms.
_FREE = 7e8
# Multiplications that may be spent for each number of d-dimensional rows, besides the d / 2 of
# their second moments: less than what measuring takes by all else that it does.
_PER_NUMBER = 192
# The same of a stream that keeps only sums: it has neither second moments nor what follows of them.
_PER_NUMBER_OF_SUMS = 16
# Instances of a class that are used whatever they cost.
_ENOUGH = 100


def keys_of(sample: Sample, contents: Contents) -> Keys:
    """What decides whether a stream holds each instance: a hash of its group, or of its content."""
    if sample.groups is None:
        return np.asarray(mixed(contents.keys), dtype=np.uint64)
    codes = sample.groups.codes[contents.first]
    return np.asarray(hash_ids(list(sample.groups.names))[codes], dtype=np.uint64)


def most_of_class(
    counts: Integers, dimensions: tuple[int, int], rows: int, *, grouped: bool, sums: bool = False
) -> int | None:
    """How many instances of a class are used, of classes of these sizes; None: all of them.

    `dimensions` are those of the embedding and of the reference, `rows` those that are measured;
    `sums` says that nothing but sums is kept of them.
    """
    d, e = dimensions
    forms = (grouped_gram_cost, grouped_product_cost) if grouped else (gram_cost, product_cost)
    each = _PER_NUMBER_OF_SUMS if sums else d / 2 + _PER_NUMBER
    allowed = max(_FREE, rows * d * each)

    def cost(most: int) -> float:
        used = np.minimum(counts, most).astype(np.float64)
        return float(np.minimum(*(form(used, d, e) for form in forms)).sum())

    low, high = _ENOUGH, int(counts.max(initial=0)) + 1
    if cost(high) <= allowed or high <= low + 1:
        return None
    while high - low > 1:  # `high` costs too much
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= allowed else (low, middle)
    return low


def smallest(keys: Keys, classes: Integers, most: int | None) -> NDArray[Any]:
    """Positions of the instances of each class with the smallest keys, in their order.

    All with one key are used together.
    """
    if most is None:
        return np.arange(len(keys))
    order = np.argsort(classes, kind="stable")
    used = []
    for own in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        if len(own) > most:
            own = own[keys[own] <= np.partition(keys[own], most - 1)[most - 1]]
        used.append(own)
    return np.sort(np.concatenate(used))
