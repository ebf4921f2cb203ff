"""What is wrong with rows: named with its column and its row count, or dropped and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.samples.codes import Codes
from uncollapse.samples.embeddings import is_unit, row_norms
from uncollapse.samples.sample import ByRole, Sample, select, with_copies

Bools = NDArray[np.bool_]


class _Fault(NamedTuple):
    role: str
    expected: str
    defect: str


_FAULTS = {
    "not_finite": _Fault("embeddings", "finite numbers", "a NaN or an infinity"),
    "zero": _Fault("embeddings", "vectors with a direction", "all zeros"),
    "reference_not_finite": _Fault("reference", "finite numbers", "a NaN or an infinity"),
    "reference_zero": _Fault("reference", "vectors with a direction", "all zeros"),
    "no_label": _Fault("labels", "a label in every row", "no label"),
    "no_instance": _Fault("instances", "an instance in every row", "no instance"),
    "no_group": _Fault("groups", "a group in every row", "no group"),
    "instance_in_two_classes": _Fault(
        "instances", "every instance in one class", "an instance id that other classes use too"
    ),
    "instance_in_two_groups": _Fault(
        "instances", "every instance in one group", "an instance id that other groups use too"
    ),
    "alone_in_class": _Fault(
        "labels",
        "two independent units (instances, or groups) or more in every class",
        "a class with a single one",
    ),
}


class RowError(InputError):
    """Rows that cannot be used; `fault` is which of the faults they have."""

    fault = ""


def row_fault(name: str, bad: int, rows: int, first: int, sources: Mapping[str, str]) -> RowError:
    """The error for `bad` of `rows` rows with a fault, the first of them row `first`."""
    fault = _FAULTS[name]
    error = RowError(
        f"{fault.expected} in {sources.get(fault.role, fault.role)}",
        f"{bad} of {rows} rows with {fault.defect} (first: row {first})",
        "correct them, or drop them with drop_invalid (--drop-invalid)",
    )
    error.fault = name
    return error


def raise_fault(name: str, bad: Bools, sources: Mapping[str, str], first_row: int = 0) -> None:
    """Raise the error for a fault, with the count of its rows and the first of them."""
    rows = np.flatnonzero(bad)
    raise row_fault(name, len(rows), len(bad), first_row + int(rows[0]), sources)


def vector_faults(norms: NDArray[np.float64]) -> dict[str, Bools]:
    """Rows whose embedding cannot be used, by the fault's name."""
    return {"not_finite": ~np.isfinite(norms), "zero": norms == 0}


def row_faults(sample: Sample, norms: NDArray[np.float64]) -> dict[str, Bools]:
    """Rows that cannot be used whatever the others are, by the fault's name."""
    columns = {
        "no_label": sample.labels,
        "no_instance": sample.instances,
        "no_group": sample.groups,
    }
    missing = {name: column.missing for name, column in columns.items() if column is not None}
    return vector_faults(norms) | missing


def _screened_norms(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Norms of the rows that may have a fault; 1 for the others, which are most of a stream."""
    if rows.dtype.kind != "f":
        return row_norms(rows)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = rows @ np.ones(rows.shape[1], rows.dtype)  # faster than lengths, and as telling
    norms = np.ones(len(rows))
    unusual = (sums == 0) | ~np.isfinite(sums)
    norms[unusual] = row_norms(rows[unusual])
    return norms


def usable_reference(sample: Sample, *, drop_invalid: bool, first_row: int = 0) -> Sample:
    """The sample with the rows of its reference that have a fault unpaired, or refused.

    They stay in the sample: what the reference lacks changes nothing about the embeddings.
    """
    if (beside := sample.beside) is None:
        return sample
    paired, dropped = beside.paired, dict(beside.dropped)
    for fault, bad in vector_faults(_screened_norms(beside.matrix)).items():
        bad, name = bad & paired, f"reference_{fault}"
        if bad.any() and not drop_invalid:
            raise_fault(name, bad, sample.sources, first_row)
        if bad.any():
            dropped[name] = dropped.get(name, 0) + int(bad.sum())
            paired = paired & ~bad
    return replace(sample, beside=replace(beside, paired=paired, dropped=dropped))


def usable(
    sample: Sample,
    *,
    drop_invalid: bool,
    first_row: int = 0,
    more_faults: Mapping[str, Bools] | None = None,
) -> Sample:
    """The sample without the rows that have a fault, which are counted, or refused as a RowError.

    Rows that are marked as unlabelled have none; they are left out and counted.

    `first_row` is what the error calls the first; `more_faults` the sample itself may not show.
    """
    norms = row_norms(sample.matrix)
    sample = usable_reference(sample, drop_invalid=drop_invalid, first_row=first_row)
    good = ~sample.labels.unlabelled
    dropped: dict[str, int] = {} if good.all() else {"unlabelled": int(np.count_nonzero(~good))}
    faults = row_faults(sample, norms) | split_faults(sample) | dict(more_faults or {})
    for name, bad in faults.items():
        bad = bad & good
        if not bad.any():
            continue
        if not drop_invalid:
            raise_fault(name, bad, sample.sources, first_row)
        dropped[name] = int(bad.sum())
        good &= ~bad
    if dropped:
        sample, norms = select(sample, good), norms[good]
    return replace(sample, normalised=is_unit(norms, sample.dtype), dropped=dropped)


def checked(sample: Sample, *, drop_invalid: bool) -> Sample:
    """The sample with every fault raised, or dropped and counted.

    Raises:
        InputError: A fault without `drop_invalid`; or fewer than two classes are left.
    """
    sample = usable(sample, drop_invalid=drop_invalid)
    alone = _alone(sample)
    if alone.any():
        if not drop_invalid:
            raise_fault("alone_in_class", alone, sample.sources)
        sample = select(sample, ~alone)
        sample = replace(
            sample,
            normalised=is_unit(row_norms(sample.matrix), sample.dtype),
            dropped={**sample.dropped, "alone_in_class": int(alone.sum())},
        )
    present = [str(sample.labels.names[code]) for code in np.unique(sample.labels.codes)]
    if len(present) < 2:
        found = (
            f"{len(present)} ({', '.join(present) or 'none'}) in {len(sample.matrix)} usable rows"
        )
        if unlabelled := sample.dropped.get("unlabelled"):
            found += f", and {unlabelled} rows of -1, which means unlabelled"
        raise InputError(
            f"two classes or more in {sample.sources.get('labels', 'labels')}",
            found,
            "measure several classes together",
        )
    return with_copies(sample)


def split_faults(columns: ByRole[Codes]) -> dict[str, Bools]:
    """Rows whose instance lies in two classes or groups, by the fault's name.

    Judged by names alone, whether the embeddings can be used or not; rows without a label, instance
    or group say nothing of where an instance belongs.
    """
    if columns.instances is None:
        return {}
    faults = {"instance_in_two_classes": _in_two(columns.instances, columns.labels)}
    if columns.groups is not None:
        faults["instance_in_two_groups"] = _in_two(columns.instances, columns.groups)
    return faults


def _in_two(inner: Codes, outer: Codes) -> Bools:
    """Rows whose inner code occurs with more than one outer code."""
    known = (inner.codes >= 0) & (outer.codes >= 0)
    first = np.full(len(inner.names), -1, dtype=np.int64)
    divided = np.zeros(len(inner.names), dtype=bool)
    inner_codes, outer_codes = inner.codes[known], outer.codes[known]
    first[inner_codes] = outer_codes
    divided[inner_codes[first[inner_codes] != outer_codes]] = True
    bad = np.zeros(len(known), dtype=bool)
    bad[known] = divided[inner_codes]
    return bad


def _alone(sample: Sample) -> Bools:
    """Rows of classes with a single independent unit."""
    units, labels = sample.groups or sample.instances, sample.labels.codes
    pairs: Any = labels
    if units is not None:
        pairs = np.unique(np.stack([labels, units.codes]), axis=1)[0]
    counts = np.bincount(pairs, minlength=len(sample.labels.names))
    return np.asarray(counts[labels] == 1)
