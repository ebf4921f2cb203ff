"""Rows with their labels, checked: what is wrong is named with its column and its row count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.samples.embeddings import Codes, as_matrix, encode, row_norms

__all__ = ["RowError", "Sample", "check_rows", "checked", "sample_of", "select", "split_instances"]

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

# Rows whose norms are taken at once: bounds the memory that float64 copies need.
_CHUNK = 65536

_FAULTS = {
    "not_finite": ("embeddings", "finite numbers", "a NaN or an infinity"),
    "zero": ("embeddings", "vectors with a direction", "all zeros"),
    "no_label": ("labels", "a label in every row", "no label"),
    "no_instance": ("instances", "an instance in every row", "no instance"),
    "no_group": ("groups", "a group in every row", "no group"),
    "instance_in_two_classes": (
        "instances",
        "every instance in one class",
        "an instance id that other classes use too",
    ),
    "instance_in_two_groups": (
        "instances",
        "every instance in one group",
        "an instance id that other groups use too",
    ),
    "alone_in_class": (
        "labels",
        "two independent units (instances, or groups) or more in every class",
        "a class with a single one",
    ),
}


class RowError(InputError):
    """Rows that cannot be used; `fault` is which of the faults they have."""

    fault = ""


@dataclass(frozen=True)
class Sample:
    """Rows to measure.

    Attributes:
        matrix: (N, d) rows as they came.
        labels: Class of each row.
        instances: Instance of each row, or None when every row is its own.
        groups: Group of each row, or None.
        columns: Further columns (finer labels, slices) by name.
        dtype: Name of the type the embeddings came in.
        normalised: Whether they came with unit norm.
        dropped: Rows left out, by fault.
        sources: Where each part came from, for errors.
    """

    matrix: NDArray[Any]
    labels: Codes
    instances: Codes | None
    groups: Codes | None
    columns: dict[str, Codes]
    dtype: str
    normalised: bool = True
    dropped: dict[str, int] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def sample_of(
    embeddings: Any,
    labels: Any,
    instances: Any,
    groups: Any,
    columns: Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
) -> Sample:
    """Arrays or tensors of one length as a `Sample`; with (N, p, d) embeddings, N labels."""
    named = dict(sources or {})
    try:
        matrix, dtype, views = as_matrix(embeddings)
    except InputError as error:
        where = named.get("embeddings")
        raise error if where is None else _located(error, where) from error
    rows = len(matrix) // views

    def column(values: Any, what: str) -> Codes | None:
        if values is None:
            return None
        codes = encode(values, named.get(what, what), rows)
        return replace(codes, codes=np.repeat(codes.codes, views)) if views > 1 else codes

    if views > 1 and instances is None:
        instances = np.arange(rows)
    found = column(labels, "labels")
    if found is None:
        raise InputError("labels, one per row", "none", "say which class each row is of")
    more = {name: column(values, name) for name, values in columns.items()}
    return Sample(
        matrix,
        found,
        column(instances, "instances"),
        column(groups, "groups"),
        {name: codes for name, codes in more.items() if codes is not None},
        dtype,
        sources=named,
    )


def _located(error: InputError, where: str) -> InputError:
    return InputError(error.expected, f"{error.found} in {where}", error.remedy)


def check_rows(
    matrix: NDArray[Any], codes: Mapping[str, Codes | None]
) -> tuple[dict[str, Bools], bool]:
    """Faults that a row has by itself, and whether all rows have unit norm.

    Args:
        matrix: (N, d) rows.
        codes: Columns whose missing entries are faults, by the fault's name.
    """
    norms = np.concatenate(
        [row_norms(matrix[start : start + _CHUNK]) for start in range(0, len(matrix), _CHUNK)]
    )
    faults = {"not_finite": ~np.isfinite(norms), "zero": norms == 0}
    for name, column in codes.items():
        if column is not None:
            faults[name] = column.codes < 0
    half = matrix.dtype.itemsize <= 2
    return faults, bool(np.all(np.abs(norms - 1) < (1e-2 if half else 1e-3)))


def raise_fault(name: str, bad: Bools, sources: Mapping[str, str], first_row: int = 0) -> None:
    """Raise the error for a fault, with the count of its rows and the first of them."""
    rows = np.flatnonzero(bad)
    raise row_fault(name, len(rows), len(bad), first_row + int(rows[0]), sources)


def row_fault(name: str, bad: int, rows: int, first: int, sources: Mapping[str, str]) -> RowError:
    """The error for `bad` of `rows` rows with a fault, the first of them row `first`."""
    part, expected, found = _FAULTS[name]
    error = RowError(
        f"{expected} in {sources.get(part, part)}",
        f"{bad} of {rows} rows with {found} (first: row {first})",
        "correct them, or drop them with drop_invalid (--drop-invalid)",
    )
    error.fault = name
    return error


def checked(sample: Sample, *, drop_invalid: bool) -> Sample:
    """The sample with every fault raised, or dropped and counted.

    Raises:
        InputError: A fault without `drop_invalid`; or fewer than two classes are left.
    """
    columns = {
        "no_label": sample.labels,
        "no_instance": sample.instances,
        "no_group": sample.groups,
    }
    faults, normalised = check_rows(sample.matrix, columns)
    good = np.ones(len(sample.matrix), dtype=bool)
    dropped: dict[str, int] = {}

    def leave_out(name: str, bad: Bools) -> None:
        bad = bad & good
        if not bad.any():
            return
        if not drop_invalid:
            raise_fault(name, bad, sample.sources)
        dropped[name] = int(bad.sum())
        good[bad] = False

    for name, bad in (faults | split_instances(sample)).items():
        leave_out(name, bad)
    leave_out("alone_in_class", _alone(sample, good))
    if len(np.unique(sample.labels.codes[good])) < 2:
        one_class(sample, good)
    if dropped:
        sample = select(sample, good)
        faults, normalised = check_rows(sample.matrix, {})
    return replace(sample, normalised=normalised, dropped=dropped)


def split_instances(sample: Sample) -> dict[str, Bools]:
    """Rows whose instance lies in two classes or groups, by the fault's name.

    Judged by names alone, whether the embeddings can be used or not; rows without a label, instance
    or group say nothing of where an instance belongs.
    """
    if sample.instances is None:
        return {}
    found = {"instance_in_two_classes": _in_two(sample.instances, sample.labels)}
    if sample.groups is not None:
        found["instance_in_two_groups"] = _in_two(sample.instances, sample.groups)
    return found


def one_class(sample: Sample, good: Bools) -> None:
    """Raise: there are no two classes to compare."""
    names = [str(sample.labels.names[c]) for c in np.unique(sample.labels.codes[good])]
    raise InputError(
        f"two classes or more in {sample.sources.get('labels', 'labels')}",
        f"{len(names)} ({', '.join(names) or 'none'}) in {int(good.sum())} usable rows",
        "measure several classes together",
    )


def _in_two(inner: Codes, outer: Codes) -> Bools:
    """Rows whose inner code occurs with more than one outer code."""
    known = (inner.codes >= 0) & (outer.codes >= 0)
    first = np.full(len(inner.names), -1, dtype=np.int64)
    bad = np.zeros(len(inner.names), dtype=bool)
    kept, of = inner.codes[known], outer.codes[known]
    first[kept] = of
    bad[kept[first[kept] != of]] = True
    found = np.zeros(len(known), dtype=bool)
    found[known] = bad[kept]
    return found


def _alone(sample: Sample, good: Bools) -> Bools:
    """Rows of classes with a single independent unit."""
    units = sample.groups or sample.instances
    labels = sample.labels.codes[good]
    if units is None:
        counts = np.bincount(labels, minlength=len(sample.labels.names))
    else:
        pairs = np.unique(np.stack([labels, units.codes[good]]), axis=1)
        counts = np.bincount(pairs[0], minlength=len(sample.labels.names))
    found = np.zeros(len(good), dtype=bool)
    found[good] = counts[labels] == 1
    return found


def select(sample: Sample, good: Bools) -> Sample:
    """The rows that are good."""

    def of(codes: Codes | None) -> Codes | None:
        return None if codes is None else replace(codes, codes=codes.codes[good])

    return replace(
        sample,
        matrix=sample.matrix[good],
        labels=replace(sample.labels, codes=sample.labels.codes[good]),
        instances=of(sample.instances),
        groups=of(sample.groups),
        columns={
            name: replace(codes, codes=codes.codes[good]) for name, codes in sample.columns.items()
        },
    )
