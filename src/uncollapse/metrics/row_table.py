"""What is worth a look row by row: the nearest of the class, copies, doubtful labels, losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncollapse.errors import InputError
from uncollapse.metrics._nearest import among_all, nearest_rows
from uncollapse.metrics._reference import Reference, as_reference
from uncollapse.metrics.features import Floats, Integers
from uncollapse.progress import Progress, quiet
from uncollapse.samples import ByRole, Sample, checked, sample_of, unit_rows
from uncollapse.storage import beside, check_output
from uncollapse.tables import USUAL_KEYS, USUAL_PATHS, Reading, Rows, usual_column

MOST_ROWS = 100_000
# Cosine distance up to which another row is a near copy: rounding of float32 is below it.
NEAR_COPY = 1e-5
_INSIDE = 10  # neighbours inside the class that are held against the reference's
_ROW = "row"


@dataclass(frozen=True, kw_only=True)
class RowTable:
    """One entry per row that was measured; positions are those of the rows that were given.

    Attributes:
        row: (n,) its position.
        id: (n,) its id; None where none were given.
        path: (n,) its file; None where none were given.
        label: (n,) its class.
        nearest: (n,) position of the nearest other row of its class, of another unit; -1 for none.
        distance: (n,) 1 - cosine to that row, 0 to 2; NaN for none.
        copy: (n,) "exact" where that row is the same but for its length and rounding to 1e-12,
            "near" where it is no further than 1e-5, else "".
        label_doubt: (n,) share of the votes of the `neighbours` nearest rows of other units that go
            to other classes, each vote over the size of its class: 0 no doubt, 1 all others.
        suggested: (n,) the class with most of the votes.
        lost: (n,) neighbours inside the class that the reference has and the embedding has not, of
            ten (fewer in small classes), over what unrelated rows lose: 0 none, 1 all but chance.
            NaN in classes of fewer than four units; None without a reference.

    Examples:
        >>> import numpy as np
        >>> labels, noise = np.arange(90) % 3, np.random.default_rng(0).standard_normal((90, 16))
        >>> table = row_table(np.eye(3, 16)[labels] + 0.1 * noise, labels)
        >>> list(table.columns())
        ['row', 'label', 'nearest', 'distance', 'copy', 'label_doubt', 'suggested']
    """

    row: Integers
    id: NDArray[Any] | None = None
    path: NDArray[Any] | None = None
    label: NDArray[Any]
    nearest: Integers
    distance: Floats
    copy: NDArray[Any]
    label_doubt: Floats
    suggested: NDArray[Any]
    lost: Floats | None = None

    def columns(self) -> dict[str, NDArray[Any]]:
        """The arrays that there are, by name."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: column for name, column in found.items() if column is not None}

    def write(self, path: Path) -> None:
        """To a parquet file, written beside and renamed.

        Raises:
            InputError: Another kind of file, or it cannot be written.
        """
        check_table(path)
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({name: _plain(column) for name, column in self.columns().items()})
        with beside(path) as part:
            pq.write_table(table, part)


def row_table(
    embeddings: ArrayLike | Any,
    labels: Any,
    *,
    instances: Any = None,
    groups: Any = None,
    ids: Any = None,
    paths: Any = None,
    reference: Reference | ArrayLike | Any | None = None,
    neighbours: int = 20,
    drop_invalid: bool = False,
    sources: Mapping[str, str] | None = None,
    progress: Progress = quiet,
) -> RowTable:
    """What is worth a look, row by row, by exact neighbours on the unit sphere.

    Args:
        embeddings: (n, d), of at most 100,000 rows.
        labels: (n,).
        instances: (n,) rows of one are no neighbours of each other.
        groups: (n,) likewise.
        ids: (n,) what the rows are called.
        paths: (n,) the files of the rows.
        reference: Another embedding of the same rows, as in `measure`.
        neighbours: Whose votes doubt a label, from 1.
        drop_invalid: Leave out unusable rows instead of refusing them.
        sources: Where columns came from, for errors.
        progress: Called with how many rows have been compared with all after them, and with n.

    Raises:
        InputError: As `measure`; also more rows, or no neighbours.

    Examples:
        >>> import numpy as np
        >>> labels, noise = np.arange(90) % 3, np.random.default_rng(0).standard_normal((90, 16))
        >>> rows = np.eye(3, 16)[labels] + 0.1 * noise
        >>> labels[4], rows[8] = 2, rows[5]  # a wrong label, a copy
        >>> table = row_table(rows, labels)
        >>> int(table.label_doubt.argmax()), int(table.suggested[4])
        (4, 1)
        >>> str(table.copy[5]), int(table.nearest[5])
        ('exact', 8)
    """
    if neighbours < 1:
        raise InputError("neighbours from 1", f"{neighbours}", "20 is usual")
    given = None if reference is None else as_reference(reference)
    columns = ByRole[Any](
        labels=labels, instances=instances, groups=groups, slices={_ROW: np.arange(len(labels))}
    )
    other, paired = (None, None) if given is None else (given.array, given.paired)
    sample = sample_of(embeddings, columns, sources, reference=other, paired=paired)
    sample = checked(sample, drop_invalid=drop_invalid)
    if len(sample.matrix) > MOST_ROWS:
        raise InputError(
            f"at most {MOST_ROWS:,} rows to look at one by one",
            f"{len(sample.matrix):,}",
            "give a part of them (--split)",
        )
    names = sample.slices[_ROW]
    rows = np.asarray(names.names, dtype=np.int64)[names.codes]
    label = np.asarray(sample.labels.names, dtype=object)[sample.labels.codes]
    closest = _closest(sample, min(neighbours, len(rows) - 1), progress)
    doubt, suggested = _votes(sample, closest)
    nearest, distance = _nearest(sample, closest)
    copy = np.where(distance <= NEAR_COPY, np.where(distance <= 1e-12, "exact", "near"), "")
    return RowTable(
        row=rows,
        id=None if ids is None else np.asarray(ids)[rows],
        path=None if paths is None else np.asarray(paths)[rows],
        label=label,
        nearest=np.where(nearest < 0, -1, rows[nearest]),
        distance=distance,
        copy=copy,
        label_doubt=doubt,
        suggested=np.asarray(sample.labels.names, dtype=object)[suggested],
        lost=_lost(sample),
    )


def check_table(path: Path, stream: bool | None = False, read: Iterable[object] = ()) -> None:
    """Refuse a file that cannot be written before anything is read, and rows that are not held."""
    if path.suffix != ".parquet":
        raise InputError("a file *.parquet for the rows", str(path), "rename it")
    if stream:
        raise InputError("rows in memory, to look at them", "a stream", "leave out --stream")
    check_output(path, read)


def table_of(
    reading: Reading,
    rows: Rows,
    reference: Reference | None,
    *,
    drop_invalid: bool,
    progress: Progress,
) -> RowTable:
    """The table of rows of files, with ids and paths where columns have them by usual names."""
    return row_table(
        rows.embeddings,
        rows.labels,
        instances=rows.instances,
        groups=rows.groups,
        ids=usual_column(reading, USUAL_KEYS),
        paths=usual_column(reading, USUAL_PATHS),
        reference=reference,
        drop_invalid=drop_invalid,
        sources=rows.sources,
        progress=progress,
    )


def _units(sample: Sample) -> Integers:
    """Instances or groups; copies are what is looked for, so they are units by themselves."""
    names = sample.groups or sample.instances
    return np.arange(len(sample.matrix)) if names is None else names.codes


def _centred(rows: NDArray[Any]) -> Floats:
    """Unit rows less their mean: distances keep their digits where all are nearly one point."""
    units = unit_rows(rows)
    return np.asarray(units - units.mean(axis=0))


def _closest(sample: Sample, k: int, progress: Progress) -> Integers:
    """(n, k) positions of the nearest rows of other units, best first; -1 for none."""
    order = np.argsort(sample.labels.codes, kind="stable")
    rows, units = _centred(sample.matrix)[order], _units(sample)[order]
    positions, _ = nearest_rows(rows, units, k, progress)
    found = np.empty_like(positions)
    found[order] = np.where(positions < 0, -1, order[positions])
    return found


def _votes(sample: Sample, closest: Integers) -> tuple[Floats, Integers]:
    """Doubt of each label, and the class with most votes."""
    codes = sample.labels.codes
    votes = np.zeros((len(codes), len(sample.labels.names)))
    weights = np.where(closest < 0, 0, 1 / np.bincount(codes)[codes[closest]])
    np.add.at(votes, (np.arange(len(codes))[:, None], codes[closest]), weights)
    own = votes[np.arange(len(codes)), codes]
    return 1 - own / np.maximum(votes.sum(axis=1), 1e-300), votes.argmax(axis=1)


def _classes(sample: Sample) -> Iterator[Integers]:
    order = np.argsort(sample.labels.codes, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(sample.labels.codes))[:-1])


def _nearest(sample: Sample, closest: Integers) -> tuple[Integers, Floats]:
    """Position of the nearest row of the class, and 1 - cosine to it, from the difference.

    The first of the nearest of all that is of the class; else the class is searched.
    """
    codes, units = sample.labels.codes, _units(sample)
    is_own = (closest >= 0) & (codes[closest] == codes[:, None])
    nearest = closest[np.arange(len(codes)), is_own.argmax(axis=1)]
    is_open = ~is_own.any(axis=1)
    for own in _classes(sample):
        asked = np.flatnonzero(is_open[own])
        if len(asked):
            found = among_all(_centred(sample.matrix[own]), units[own], 1, asked)[0][:, 0]
            nearest[own[asked]] = np.where(found < 0, -1, own[found])
    rows = unit_rows(sample.matrix)
    apart = rows - rows[nearest]
    distance = np.einsum("ij,ij->i", apart, apart) / 2
    return nearest, np.where(nearest < 0, np.nan, distance)


def _lost(sample: Sample) -> Floats | None:
    """Share of the reference's neighbours inside the class that are lost, over that of chance."""
    if sample.beside is None:
        return None
    units, lost = _units(sample), np.full(len(sample.matrix), np.nan)
    for everyone in _classes(sample):
        own = everyone[sample.beside.paired[everyone]]
        count = len(np.unique(units[own]))
        k = min(_INSIDE, (count - 1) // 3)
        if k < 1:
            continue
        mine, theirs = (
            nearest_rows(_centred(matrix[own]), units[own], k)[0]
            for matrix in (sample.matrix, sample.beside.matrix)
        )
        kept = (mine[:, :, None] == theirs[:, None, :]).any(axis=2).mean(axis=1)
        lost[own] = (1 - kept) / (1 - k / (len(own) - 1))
    return lost


def _plain(column: NDArray[Any]) -> list[Any]:
    """Values that arrow knows: names of several types as text."""
    values = column.tolist()
    kinds = {type(value) for value in values}
    return [str(value) for value in values] if len(kinds) > 1 else values
