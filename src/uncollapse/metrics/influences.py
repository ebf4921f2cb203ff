"""What every independent unit moves: so that two measurements of the same rows can be paired.

To first order, a variance is its mean over samples plus a sum of influences, one for each unit, and
the jackknife variance of it is the sum of their squares. Of two models on the same units the
influences of the difference are the differences of theirs, and with G_c units in class c

    Var(b - a) = sum_c sum_g (b_cg - a_cg)^2,    degrees of freedom by Satterthwaite of G_c - 1

which is short where units that are far out under one model are so under the other. Rows that are
not the same, paired by mistake, give about the interval of two independent samples.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics.classes import Classes, features_by_class, with_linked_copies
from uncollapse.metrics.cosines import Crossing, jackknife_functionals
from uncollapse.metrics.features import COSINE_COUNT, Floats, Integers, group_features
from uncollapse.metrics.variance import linearised
from uncollapse.records import Influences, Interval, Measurement, Message, Variances
from uncollapse.samples import Codes, Sample, hash_ids
from uncollapse.statistics import t_quantile

UNPAIRED = "compare.unpaired"


def influences_of(sample: Sample, classes: Classes) -> Influences | None:
    """The influences of a checked sample's units on its variances.

    None where a class is too small for a jackknife, where rows that were dropped and have no ids
    leave the places of the others unknown, or where copies link groups that cross classes.
    """
    given, units = linearised(classes.units), classes.units
    if classes.linked and given.crossing is not None:
        return None
    lone = any(moments.totals[COSINE_COUNT] == 1 for moments in units)
    if lone or any(level.degrees == 0 for level in given.levels):
        return None
    if sample.dropped and sample.instances is None:
        return None
    slopes = np.stack([quantity.slopes for quantity in given.quantities[:4]])  # (4, C, 3)
    followed = 3 if given.crossing is None else 2
    columns, codes = [], []
    for c, (_, features, groups, _) in enumerate(features_by_class(with_linked_copies(sample))):
        if groups is not None:
            features, groups = group_features(features, groups)
            codes.append(groups)
        functionals = jackknife_functionals(units[c], given.levels[c], given.directions[c])
        columns.append(slopes[:, c, :followed] @ functionals[:followed] @ features.T)
    values, counts = np.concatenate(columns, axis=1), [moments.units for moments in units]
    if given.crossing is not None:
        values = _followed(values, slopes, np.concatenate(codes), given.crossing)
        counts = [values.shape[1]]
    levels = zip(Variances().keys(), given.quantities, values, strict=False)
    known = {name: row for name, at, row in levels if np.isfinite(at.value)}
    return Influences.of(digests(sample), tuple(counts), known)


def _followed(values: Floats, slopes: Floats, codes: Integers, crossing: Crossing) -> Floats:
    """Influences of groups from those of their parts in each class: a group is one unit."""
    summed = np.stack([np.bincount(codes, weights=row) for row in values])
    if crossing.influences is not None:
        # m_c . v_c enters by 2 w_c times what the products of different classes enter by.
        summed = summed + slopes[:, :, 2].sum(axis=1)[:, None] / 2 * crossing.influences
    return np.asarray(summed[:, np.unique(codes)])


def digests(sample: Sample) -> dict[str, str]:
    """By role, a digest of the column in the order of rows, or of instances where they are known.

    Two measurements are of the same rows if those of labels, instances and groups agree, and those
    of every other column that both have. Rows without instances are then the same by their places.
    Copies, which are one unit, must be of the same rows too.
    """
    rows = np.arange(len(sample.matrix))
    if sample.instances is not None:
        _, rows = np.unique(sample.instances.codes, return_index=True)
    found = {role: _digest(column, rows) for role, column in sample.all().items()}
    if sample.copies is not None and sample.copies.units is not None:
        found["copies"] = _of(np.unique(sample.copies.units[rows], return_inverse=True)[1])
    return found


def pairing(before: Measurement, after: Measurement) -> tuple[bool, Message]:
    """Whether two measurements are of the same rows, and by what, or why not, in words."""
    first, second = before.influences, after.influences
    if first is None or second is None:
        side = "before" if first is None else "after"
        return False, Message(f"{UNPAIRED}-{side}")
    a, b = dict(first.digests), dict(second.digests)
    shared = a.keys() & b.keys() | {"labels", "instances", "groups", "copies"}
    differing = [role for role in (*a, *b) if role in shared and a.get(role) != b.get(role)]
    for name in ("split", "confidence"):
        ends = before.conditions[name], after.conditions[name]
        if None not in ends and ends[0] != ends[1]:
            differing.append(name)
    if first.units != second.units:
        differing.append("units")
    if differing:
        return False, Message(f"{UNPAIRED}-rows", {"names": tuple(dict.fromkeys(differing))})
    return True, Message("compare.paired-ids" if "instances" in a else "compare.paired-places")


def paired_difference(before: Measurement, after: Measurement, name: str) -> Interval | None:
    """The change of a variance or of the share, of the same units; None where it has no interval.

    The share is w / t with influence (w' - share t') / t, t' those of within plus between.
    """
    a, b = _influence(before, name), _influence(after, name)
    units = before.influences.units if before.influences is not None else ()
    gap = (after[name].estimate or 0.0) - (before[name].estimate or 0.0)
    if a is None or b is None or None in (before[name].low, after[name].low):
        return None
    cuts = np.split(b - a, np.cumsum(units)[:-1])
    parts = np.array([float(part @ part) for part in cuts])
    total = float(parts.sum())
    if total == 0:
        return Interval(gap, gap, gap)
    freedom = total**2 / float(np.sum(parts**2 / (np.array(units) - 1.0)))
    half = t_quantile(freedom, before.conditions.confidence) * total**0.5
    return Interval(gap, gap - half, gap + half)


def _influence(measured: Measurement, name: str) -> Floats | None:
    """Of each unit on a variance or the share; None where it was not kept."""
    if measured.influences is None:
        return None
    known = measured.influences.by_variance()
    within, between = known.get("within_class_variance"), known.get("between_class_variance")
    if within is None or between is None:
        return None
    total = within + between
    if name == "total_variance":
        return total
    if name != "share":
        return known.get(name)
    top = known.get("instance_variance", within)
    share, scale = measured.share.estimate, measured.total_variance.estimate
    return None if share is None or not scale else (top - share * total) / scale


def _digest(column: Codes, rows: Integers) -> str:
    names = np.r_[hash_ids(list(column.names)), np.uint64(0)]  # the last of what is missing
    return _of(names[np.maximum(column.codes[rows], -1)])


def _of(values: NDArray[Any]) -> str:
    return blake2b(values.astype("<u8").tobytes(), digest_size=16).hexdigest()
