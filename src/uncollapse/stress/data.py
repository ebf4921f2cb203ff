"""Data under a damage: rows that stay, labels that change, and what a record says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import LabelledData, LimitConfig, limited_rows
from uncollapse.errors import InputError
from uncollapse.records import Damage, StressOptions
from uncollapse.stress import damages

Integers = NDArray[np.int64]

LEAST = 2  # rows of each class for training


@dataclass(frozen=True)
class Damaged:
    """Data under a damage, and which rows of the clean data they are."""

    data: LabelledData
    rows: Integers  # (n,) numbers of the clean data's rows
    true: Integers  # (n,) right labels, by the damaged data's classes
    test: Integers  # numbers of the clean data's rows that are tested
    apart: bool = False  # whether rows of other classes or values are no examples of anything

    @property
    def wrong(self) -> int:
        """Training rows with a wrong label."""
        return int(np.count_nonzero(self.data.labels != self.true))


def damaged(data: LabelledData, damage: Damage, options: StressOptions, seed: int) -> Damaged:
    """The data of a run: its training rows damaged, its test rows as they are.

    Raises:
        InputError: A class would be left with fewer than two training rows, a slice column with
            one value, labels that say nothing any more.
    """
    tested = data.rows(test_part(data))
    everything = np.arange(len(data.labels))
    rows, labels = everything, data.labels
    train = data.rows("train")
    if damage.kind == "imbalance":
        counts = np.bincount(data.labels[train].clip(min=0), minlength=len(data.label_names))
        rare = _codes(data, options.rare)
        left = damages.imbalanced_counts(
            counts, float(damage.dose), damage.form or "exponential", rare
        )
        rows = _with(data, train[damages.kept_places(data.labels[train], left, seed)])
    elif damage.kind == "rows":
        count = max(1, round(float(damage.dose) * len(train)))
        fine = [data.columns[name] for name in data.fine]
        limit = LimitConfig(train=count)
        rows = limited_rows(limit, data.split, data.labels, fine, seed)
    elif damage.kind == "classes":
        return _fewer(data, int(damage.dose), tested)
    elif damage.kind == "shift":
        return _shifted(data, options.shift or "", damage.dose, tested)
    elif damage.kind == "label-noise":
        labels = data.labels.copy()
        labels[train] = _mislabelled(data, train, damage, options, seed)
    found = Damaged(subset(data, rows, labels, damage), rows, data.labels[rows], tested)
    _check_classes(found.data, damage)
    return found


def test_part(data: LabelledData) -> str:
    """The split that is tested: validation rows where there are no test rows."""
    part = "test" if len(data.rows("test")) else "validation"
    if not len(data.rows(part)):
        raise InputError("test rows, to measure on", "none", "set data.split.test")
    return part


def subset(data: LabelledData, rows: Integers, labels: Integers, damage: Damage) -> LabelledData:
    """Those rows with these labels (of all rows), described as what they are."""
    if damage.kind == "none":
        return data
    inputs, given = data.inputs, labels[rows]
    places = rows if inputs.rows is None else inputs.rows[rows]
    split, ids, about = data.split[rows], data.ids[rows], data.description
    parts = list(about.rows)
    digest = hashlib.sha256(about.fingerprint.encode())
    for array in (rows, given):
        digest.update(np.ascontiguousarray(array).data)
    classes = {
        part: {
            name: int(np.count_nonzero((split == part) & (given == code)))
            for code, name in enumerate(data.label_names)
        }
        for part in parts
    }
    about = replace(
        about,
        rows={part: int(np.count_nonzero(split == part)) for part in parts},
        classes=classes,
        unlabelled=int(np.count_nonzero(given < 0)),
        notes=[*about.notes, f"damaged for a stress test: {damage.name}"],
        fingerprint=digest.hexdigest(),
        fingerprint_of=f"{about.fingerprint_of}; then rows and labels that are left",
    )
    return replace(
        data,
        inputs=replace(inputs, rows=places),
        labels=given,
        columns={name: column[rows] for name, column in data.columns.items()},
        groups=None if data.groups is None else data.groups[rows],
        ids=ids,
        split=split,
        description=about,
        beside=None if data.beside is None else data.beside[rows],
    )


def _with(data: LabelledData, train: Integers) -> Integers:
    """These training rows and all others, ascending."""
    return np.union1d(np.flatnonzero(data.split != "train"), train).astype(np.int64)


def _codes(data: LabelledData, names: Sequence[str]) -> list[int]:
    from uncollapse.records import check_words

    for name in names:
        check_words("rare", name, data.label_names)
    if len({*names}) == len(data.label_names):
        raise InputError("a class that is not rare", "all of them", "name fewer with --rare")
    return [data.label_names.index(name) for name in names]


def _fewer(data: LabelledData, count: int, tested: Integers) -> Damaged:
    """The largest classes alone, numbered anew, in every part."""
    m = len(data.label_names)
    if count >= m:
        raise InputError(f"fewer classes than the {m} of the data", f"{count}", "give fewer")
    train = data.labels[data.rows("train")]
    sizes = np.bincount(train.clip(min=0), weights=train >= 0, minlength=m)
    kept = np.sort(np.argsort(-sizes, kind="stable")[:count])
    number = np.full(m + 1, -1)
    number[kept] = np.arange(count)
    rows = np.flatnonzero(np.isin(data.labels, kept))
    named = replace(data, label_names=tuple(data.label_names[c] for c in kept))
    found = subset(named, rows, number[data.labels], Damage("classes", str(count)))
    return Damaged(found, rows, found.labels, np.intersect1d(tested, rows), apart=True)


def _shifted(data: LabelledData, column: str, value: str, tested: Integers) -> Damaged:
    """Training and validation rows of one value of a slice, test rows of the others."""
    mine = data.columns[column] == value
    train = np.flatnonzero(mine & (data.split == "train") & (data.labels >= 0))
    present = np.unique(data.labels[train])
    number = np.full(len(data.label_names) + 1, -1)
    number[present] = np.arange(len(present))
    if len(present) < 2:
        raise InputError(
            f"two classes or more among the training rows of {column} {value!r}",
            f"{len(present)}",
            "name another slice column with --shift",
        )
    other = tested[~mine[tested] & np.isin(data.labels[tested], present)]
    if not len(other):
        raise InputError(
            f"test rows of other values than {value!r} in {column}", "none", "name another column"
        )
    known = np.isin(data.labels, present)
    rows = np.union1d(np.flatnonzero(mine & known), other).astype(np.int64)
    rows = rows[mine[rows] | np.isin(rows, other)]
    named = replace(data, label_names=tuple(data.label_names[c] for c in present))
    damage = Damage("shift", value)
    found = subset(named, rows, number[data.labels], damage)
    _check_classes(found, damage)
    return Damaged(found, rows, found.labels, other, apart=True)


def values_of(data: LabelledData, column: str) -> list[str]:
    """The values of a slice column that training rows have, two or more."""
    from uncollapse.records import check_words

    if not data.columns:
        raise InputError("a slice column", "none", "name one in data.slices of the configuration")
    check_words("shift", column, tuple(data.columns))
    values = np.unique(data.columns[column][data.rows("train")])
    values = values[values != ""]
    if len(values) < 2:
        found = f"{len(values)} ({', '.join(map(repr, values.tolist()))})"
        raise InputError(
            f"two values or more in the slice column {column!r}", found, "name another column"
        )
    return [str(value) for value in values.tolist()]


def _mislabelled(
    data: LabelledData, train: Integers, damage: Damage, options: StressOptions, seed: int
) -> Integers:
    labels, rate = data.labels[train], float(damage.dose)
    m = len(data.label_names)
    if damage.form == "near-duplicates":
        damages.check_rate(rate, m)
        return damages.near_duplicates(_flat(data, train), labels, rate, seed)
    return damages.mislabelled(labels, chances_of(data, damage, options), seed)


def chances_of(data: LabelledData, damage: Damage, options: StressOptions) -> damages.Floats:
    """(m, m) chances of each label by true class, of the forms that have such."""
    m, rate = len(data.label_names), float(damage.dose)
    if damage.form == "confusion":
        matrix = np.asarray(options.confusion, dtype=np.float64)
        if matrix.shape != (m, m) or not (matrix >= 0).all() or not matrix.sum(1).all():
            raise InputError(
                f"a confusion matrix of {m} rows (true classes) by {m} labels, from 0",
                f"one of shape {matrix.shape}",
                "write one line for each class",
            )
        # The dose is the share of labels drawn by the matrix; 1 is the matrix itself.
        matrix = matrix / matrix.sum(1, keepdims=True)
        return np.asarray(rate * matrix + (1 - rate) * np.eye(m))
    damages.check_rate(rate, m)
    similar = None
    if damage.form == "similar":
        train = data.rows("train")
        train = train[data.labels[train] >= 0]
        rows, labels = _flat(data, train), data.labels[train]
        means = np.stack([rows[labels == code].mean(axis=0) for code in range(m)])
        similar = damages.most_similar(means)
    return damages.transitions(m, rate, similar)


def _flat(data: LabelledData, rows: Integers) -> damages.Floats:
    """(n, D) inputs, each feature over its deviation."""
    values = data.inputs.read(rows).numpy().reshape(len(rows), -1).astype(np.float64)
    deviation = values.std(axis=0)
    return np.asarray(values / np.where(deviation > 0, deviation, 1))


def _check_classes(data: LabelledData, damage: Damage) -> None:
    """Refuse what leaves a class with fewer than two training rows."""
    labels = data.labels[data.rows("train")]
    counts = np.bincount(labels[labels >= 0], minlength=len(data.label_names))
    small = int(np.argmin(counts))
    if counts[small] < LEAST:
        raise InputError(
            f"two training rows or more in every class under {damage.name}",
            f"{counts[small]} in {data.label_names[small]!r}",
            "give a smaller dose, or more rows",
        )
