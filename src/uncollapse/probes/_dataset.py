"""Embeddings with splits and targets: what is probed, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.probes._task import Integers, SplitRows, Task
from uncollapse.samples import (
    Codes,
    Copies,
    as_matrix,
    encode,
    find_copies,
    label_codes,
    raise_fault,
    row_hashes,
    row_norms,
    to_numpy,
    vector_faults,
)
from uncollapse.tables import SPLITS, part_names


@dataclass(frozen=True)
class Embedded:
    """Embeddings of one data set as a caller has them.

    Attributes:
        layers: (N, d) array or tensor by the layer's name; or (N, p, d) for p views of each of N
            instances, with N entries in every column.
        targets: (N,) column by name; entries that are None, NaN or "" take no part, and -1 in other
            targets than slices.
        split: (N,) "train", "validation" or "test" (or val, valid, dev; in any case). Without
            validation, a fifth of train is cut off for it; None: a fifth of all is cut off for test
            first.
        label: The target that the encoder was trained on; inside its classes the others are probed.
        fine: Targets that are finer labels; none may be the label under other names.
        slices: Targets that are slices (site, machine, ...).
        groups: (N,) what must not be divided between splits (patient, part, video).
        instances: (N,) instance of each row, where rows are views of instances.
        name: Of the data set; "" for the one that the encoder was trained for.
        sources: Where "embeddings" and targets come from, for errors.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import probe
        >>> digit = np.arange(200) % 4
        >>> rows = np.eye(4, 8)[digit] + 0.3 * np.random.default_rng(0).standard_normal((200, 8))
        >>> embedded = Embedded({"z": rows}, {"even": digit % 2, "digit": digit}, label="even")
        >>> [(entry.target, entry.role) for entry in probe(embedded).targets]
        [('even', 'label'), ('digit', 'target')]
    """

    layers: Mapping[str, Any]
    targets: Mapping[str, Any]
    split: Any | None = None
    label: str | None = None
    fine: Sequence[str] = ()
    slices: Sequence[str] = ()
    groups: Any | None = None
    instances: Any | None = None
    name: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """An `Embedded` that was checked."""

    layers: dict[str, NDArray[Any]]  # (N, d) float32 or float64 rows by name
    targets: dict[str, Codes]
    rows: dict[str, Integers]  # positions by split
    cut: tuple[str, ...]  # splits that were cut off here
    units: Integers  # (N,) independent unit of each row
    unit: str  # what it is
    given: Embedded
    notes: tuple[str, ...] = ()  # what the reader must know of the rows


def as_dataset(given: Embedded, seed: int) -> Dataset:
    """Check an `Embedded` and settle its splits; refuses what `probe` lists."""
    given = _one_row_each(given)
    layers: dict[str, NDArray[Any]] = {}
    for name, values in given.layers.items():
        matrix = as_matrix(values)[0]
        for fault, bad in vector_faults(row_norms(matrix)).items():
            if bad.any():
                where = given.sources.get(f"layer {name}", f"layer {name!r}")
                raise_fault(fault, bad, {"embeddings": where})
        layers[name] = matrix if matrix.dtype == np.float32 else matrix.astype(np.float64)
    if not layers or not given.targets:
        raise InputError(
            "a layer and a target, or more", "none", "give embeddings and a column to predict"
        )
    count = len(next(iter(layers.values())))
    if any(len(matrix) != count for matrix in layers.values()):
        listed = ", ".join(f"{name} {len(matrix)}" for name, matrix in layers.items())
        raise InputError("layers of as many rows", listed, "give one row per sample in each")
    targets = {
        name: (encode if name in given.slices else label_codes)(values, f"target {name!r}", count)
        for name, values in given.targets.items()
    }
    units, unit = _units(given, count)
    stratum = targets[given.label if given.label in targets else next(iter(targets))]
    where = given.sources.get("split", "the splits")
    copies = find_copies(
        row_hashes(np.hstack([row_hashes(matrix)[:, None] for matrix in layers.values()])),
        stratum.codes - stratum.codes.min(initial=0),
        None if unit == "row" else units,
    )
    alone, units = units, units if copies is None or copies.units is None else copies.units
    rows, cut = _split(given.split, stratum.codes, units, seed, where)
    _groups_whole(rows, alone, unit)
    for name in given.fine:
        _not_the_label(targets, given.label, name)
    notes = () if copies is None else (_about_copies(copies, rows, units, count),)
    return Dataset(layers, targets, rows, cut, units, unit, given, notes)


def _about_copies(copies: Copies, rows: Mapping[str, Integers], units: Integers, count: int) -> str:
    """How many rows are copies of others, and how many of the test rows are of training rows."""
    chosen = np.concatenate([rows["train"], rows["validation"]])
    again = int(np.count_nonzero(np.isin(units[rows["test"]], units[chosen])))
    note = f"{copies.extra} of {count} rows are exact copies of other rows"
    if again:
        return f"{note}; {again} test rows are copies of training or validation rows, and are known"
    return note if copies.units is None else f"{note}; copies of a row lie in one split"


def _one_row_each(given: Embedded) -> Embedded:
    """The same with views (N, p, d) as rows of their instances, and columns as long as these."""
    views = {as_matrix(values)[2] for values in given.layers.values()}
    if len(views) != 1 or views == {1}:
        return given
    count = views.pop()

    def each_view(column: Any) -> Any:
        return None if column is None else np.repeat(to_numpy(column)[0], count, axis=0)

    instances = given.instances
    if instances is None:
        rows = len(as_matrix(next(iter(given.layers.values())))[0])
        instances = np.arange(rows // count)
    return replace(
        given,
        layers={name: as_matrix(values)[0] for name, values in given.layers.items()},
        targets={name: each_view(column) for name, column in given.targets.items()},
        split=each_view(given.split),
        groups=each_view(given.groups),
        instances=each_view(instances),
    )


def task_of(data: Dataset, layer: str, target: str) -> Task:
    """The rows of a target in the three splits; InputError where there are too few."""
    names, codes = data.targets[target].names, data.targets[target].codes
    known = np.unique(codes[data.rows["train"]])
    known = known[known >= 0]
    if len(known) < 2:
        raise InputError(
            f"two values or more of target {target!r} among the training rows",
            f"{len(known)}",
            "name another target",
        )
    # Labels of the training rows come first, so that codes of the others are never predicted.
    unseen = np.setdiff1d(np.unique(codes[codes >= 0]), known)
    order = np.full(len(names) + 1, -1, dtype=np.int64)
    order[np.concatenate([known, unseen])] = np.arange(len(known) + len(unseen))
    labels = np.where(codes >= 0, order[codes], -1)

    def part(name: str) -> SplitRows:
        rows = data.rows[name][labels[data.rows[name]] >= 0]
        if not len(rows):
            raise InputError(
                f"{name} rows with a value of target {target!r}",
                "none",
                "name another target, or give that split labels",
            )
        return SplitRows(data.layers[layer][rows], labels[rows], data.units[rows])

    label_names = tuple(names[k] for k in known)
    return Task(target, label_names, part("train"), part("validation"), part("test"))


def _units(given: Embedded, rows: int) -> tuple[Integers, str]:
    for values, what in ((given.groups, "group"), (given.instances, "instance")):
        if values is None:
            continue
        codes = encode(values, f"{what}s", rows).codes
        if (codes < 0).any():
            raise InputError(
                f"a {what} in every row",
                f"{int((codes < 0).sum())} of {rows} rows with none",
                "fill them in",
            )
        return codes, what
    return np.arange(rows), "row"


def _split(
    values: Any, labels: Integers, units: Integers, seed: int, where: str
) -> tuple[dict[str, Integers], tuple[str, ...]]:
    """Positions by split, and which splits were cut off here."""
    if values is None:
        everything = np.arange(len(units))
        test = _cut(everything, labels, units, np.random.default_rng([seed, 0]))
        train, validation = np.setdiff1d(everything, test), everything[:0]
    else:
        codes = encode(values, "split", len(units))
        remedy = "rename them, or name another column with --split"
        if codes.missing.any():
            found = f"{np.count_nonzero(codes.missing)} of {len(units)} rows without one"
            raise InputError(f"a split for every row in {where}", found, remedy)
        names = part_names(codes.names, where, remedy=remedy).tolist()
        by_row = np.array([*names, ""], dtype=object)[codes.codes]
        train, validation, test = (np.flatnonzero(by_row == name) for name in SPLITS)
        for name, rows in (("train", train), ("test", test)):
            if not len(rows):
                present = ", ".join(dict.fromkeys(names)) or "none"
                raise InputError(f"{name} rows", f"splits {present}", "embed that split too")
    cut = ("test",) if values is None else ()
    if not len(validation):
        # Of the training rows alone: what lies in the test split cannot move it.
        validation = _cut(train, labels, units, np.random.default_rng([seed, 1]))
        train = np.setdiff1d(train, validation)
        cut = (*cut, "validation")
    return dict(zip(SPLITS, (train, validation, test), strict=True)), cut


def _cut(rows: Integers, labels: Integers, units: Integers, rng: np.random.Generator) -> Integers:
    """A fifth of the rows: every fifth unit in the order of labels, units whole."""
    names, first, place = np.unique(units[rows], return_index=True, return_inverse=True)
    if len(names) < 5:
        raise InputError(
            "five independent units or more to cut a split from",
            f"{len(names)}",
            "give a split column with train, validation and test",
        )
    shuffled = rng.permutation(len(names))
    ordered = shuffled[np.argsort(labels[rows[first[shuffled]]], kind="stable")]
    taken = np.zeros(len(names), dtype=bool)
    taken[ordered[2::5]] = True
    return np.asarray(rows[taken[place]])


def _groups_whole(rows: Mapping[str, Integers], units: Integers, unit: str) -> None:
    for a, b in (("train", "test"), ("validation", "test"), ("train", "validation")):
        both = np.intersect1d(units[rows[a]], units[rows[b]])
        if len(both):
            raise InputError(
                f"every {unit} in one split",
                f"{len(both)} in both {a} and {b}",
                f"split by {unit}, or leave the split column out to have it cut here",
            )


def _not_the_label(targets: Mapping[str, Codes], label: str | None, name: str) -> None:
    if label is None or name not in targets or label not in targets:
        return
    pairs = np.stack([targets[label].codes, targets[name].codes])
    pairs = pairs[:, (pairs >= 0).all(axis=0)]
    together = np.unique(pairs, axis=1)
    if name == label or (
        together.shape[1] == len(np.unique(together[0])) == len(np.unique(together[1]))
    ):
        raise InputError(
            f"a finer label that divides the classes of {label!r}",
            f"{name!r}, which is the same up to names",
            "name a finer column, or leave it out",
        )
