"""A second embedding of the same rows: which of its rows belongs to which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.records import JoinedBy
from uncollapse.samples import hash_ids
from uncollapse.tables._shard import Array, Shard
from uncollapse.tables.columns import Columns, embedding_columns, label_column
from uncollapse.tables.formats import open_shards
from uncollapse.tables.rows import Reading, Rows, Vectors, together

Integers = NDArray[np.int64]

USUAL_KEYS = (
    *("id", "ids", "key", "keys", "uid", "uuid", "row_id", "sample_id", "image_id"),
    *("path", "file", "filename", "file_name"),
)
USUAL_PATHS = ("path", "file", "filename", "file_name", "image_path")
_BATCH = 65536


@dataclass(frozen=True)
class ReferenceFiles:
    """Another embedding of the same rows, and how its rows are found.

    Rows are joined by an id column where both have one; else by position, if they are as many.

    Attributes:
        reference: File or folder with another embedding of the same rows: another layer, the
            untrained or pretrained encoder, raw inputs, the model in production.
        reference_embedding: Its column of vectors; alone, a column of the files that are measured.
        key: Id column of both by which rows are joined. [default: an id column that both have]

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from uncollapse import Columns, measure_files
        >>> rows = np.random.default_rng(0).standard_normal((100, 8))
        >>> layers = {"z": rows[:, :4], "h": rows, "label": np.arange(100) % 2}
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/rows.npz", **layers)
        ...     found = measure_files(
        ...         [f"{folder}/rows.npz"],
        ...         columns=Columns(embedding="z"),
        ...         reference=ReferenceFiles(reference_embedding="h"),
        ...     ).reference
        >>> found.name, found.joined_by, found.rows
        ('h', 'same file', 100)
    """

    reference: Path | None = None
    reference_embedding: str | None = None
    key: str | None = None


class IdDigest(NamedTuple):
    """What tells whether two lists of ids are the same, in whatever order."""

    rows: int
    digest: int


@dataclass(frozen=True)
class Joined:
    """The reference's files, and which of their rows belongs to which of the embeddings'."""

    name: str
    shards: Sequence[Shard]
    embedding: str | None
    joined_by: JoinedBy
    rows: Integers | None = None  # of each row that in the reference, or -1; None: the same order
    only_in_reference: int = 0
    fill_ragged: bool = False
    key: str | None = None
    ids: IdDigest | None = None  # of all rows of the reference, where they have ids

    @property
    def in_step(self) -> bool:
        """Whether both can be read side by side."""
        return self.rows is None

    def reading(self, batch: int) -> Reading:
        """The reference alone."""
        columns = Columns(embedding=self.embedding)
        return Reading(self.shards, [], columns, fill_ragged=self.fill_ragged, batch=batch)

    def beside(self, parts: Iterator[Rows], batch: int) -> Iterator[Rows]:
        """The parts, each with its rows of the reference.

        Raises:
            InputError: As many rows are wanted and not there, columns that cannot be read.
        """
        vectors = self.reading(batch).vectors()
        return self._by_id(parts, vectors) if self.rows is not None else self._step(parts, vectors)

    def _step(self, parts: Iterator[Rows], vectors: Iterator[Vectors]) -> Iterator[Rows]:
        first, done = next(vectors, None), 0
        source = "" if first is None else first.source
        held = np.empty(0) if first is None else first.matrix
        for part in parts:
            pieces = [held[: len(part)]]
            held, count = held[len(part) :], len(pieces[0])
            while count < len(part) and (more := next(vectors, None)) is not None:
                pieces.append(more.matrix[: len(part) - count])
                held = more.matrix[len(part) - count :]
                count += len(pieces[-1])
            done += len(part)
            if count < len(part):
                self._refuse(done - len(part) + count, done + sum(map(len, parts)))
            yield _with(part, self._stacked(pieces), None, source)
        if rest := len(held) + sum(map(len, vectors)):
            self._refuse(done + rest, done)

    def _stacked(self, pieces: Sequence[Array]) -> Array:
        shapes = {piece.shape[1:] for piece in pieces if len(piece)}
        if len(shapes) > 1:
            raise InputError(
                f"embeddings of one length in all files of the reference {self.name}",
                " and ".join(str(shape) for shape in sorted(shapes)),
                "use files of one model together",
            )
        filled = [piece for piece in pieces if len(piece)] or pieces[:1]
        return filled[0] if len(filled) == 1 else together(filled)

    def _refuse(self, found: int, expected: int) -> None:
        raise InputError(
            f"as many rows in {self.shards[0].path} as there are embeddings, or an id column in"
            " both",
            f"{found} and {expected}",
            "name the id column (--key), or give files of the same rows in the same order",
        )

    def _by_id(self, parts: Iterator[Rows], vectors: Iterator[Vectors]) -> Iterator[Rows]:
        whole = list(vectors)
        matrix, done = self._stacked([each.matrix for each in whole]), 0
        assert self.rows is not None  # the caller has asked
        for part in parts:
            rows = self.rows[done : done + len(part)]
            yield _with(part, matrix[np.maximum(rows, 0)], rows >= 0, whole[0].source)
            done += len(part)


def _with(part: Rows, matrix: Array, paired: Array | None, source: str) -> Rows:
    sources = {**part.sources, "reference": source}
    return replace(part, reference=matrix, paired=paired, sources=sources)


def join_reference(reading: Reading, given: ReferenceFiles, *, views: bool) -> Joined:
    """How the reference's rows belong to those that are read.

    With `views` an id may stand in several rows of the embeddings: all of them have its one row.

    Raises:
        InputError: Ids that occur twice, no id in both, a key that one of them lacks.
    """
    fill = reading.fill_ragged
    if given.reference is None:
        if given.reference_embedding is None or given.key is not None:
            raise InputError(
                "--reference with --key" if given.key else "a reference",
                "a column alone" if given.reference_embedding else "none",
                "name the file with the reference (--reference)",
            )
        name = given.reference_embedding
        for shard in reading.shards:
            embedding_columns(shard, name, "--reference-embedding")
        return Joined(name, reading.shards, name, "same file", fill_ragged=fill)
    shards = open_shards([given.reference])
    embedding = given.reference_embedding or _same_column(shards[0], reading.columns.embedding)
    path: Any = given.reference
    name = str(shards[0].path)  # of a table of Arrow
    if isinstance(path, str | Path):
        name = Path(path).stem if Path(path).suffix else Path(path).name
    if given.reference_embedding is not None:
        name = f"{given.reference_embedding} of {name}"
    for shard in shards:
        embedding_columns(shard, embedding, "--reference-embedding")
    key = _key(reading, shards, given.key)
    if key is None:
        _check_labels(reading, shards)
        return Joined(name, shards, embedding, "position", fill_ragged=fill)
    column, mine = key
    theirs = _ids(shards, column)
    rows, alone = _partners(_ids(mine, column), theirs, column, shards, views)
    hashes = hash_ids([_text(name) for name in theirs.tolist()])
    ids = IdDigest(len(hashes), int(np.bitwise_xor.reduce(hashes)))
    return Joined(name, shards, embedding, "id", rows, alone, fill, column, ids)


def _check_labels(reading: Reading, shards: Sequence[Shard]) -> None:
    """Refuse rows in another order, where both files have labels that tell."""
    mine = reading.others or reading.shards
    if any(shard.path.suffix == ".npy" for shard in mine):
        return
    vectors = None if reading.others else embedding_columns(mine[0], reading.columns.embedding)[0]
    column = reading.columns.label or label_column(mine[0], vectors)
    if column not in _names(shards) & _names(mine):
        return
    here, there = ([_text(name) for name in _ids(files, column)] for files in (mine, shards))
    if len(here) == len(there) and here != there and set(here) == set(there):
        differ = sum(a != b for a, b in zip(here, there, strict=True))
        raise InputError(
            f"the same labels row by row in {shards[0].path}, which is joined by position",
            f"{differ} of {len(here)} rows with another label in column {column!r}",
            "write both in the same order, or with an id column (--key)",
        )


def _same_column(shard: Shard, embedding: str | None) -> str | None:
    """The column of the same name, for two models' files alike, where the reference has one."""
    names = [column.name for column in shard.columns]
    return embedding if embedding in names else None


def _key(
    reading: Reading, shards: Sequence[Shard], key: str | None
) -> tuple[str, Sequence[Shard]] | None:
    """The id column of both, and which files of the embeddings hold it."""
    theirs = _names(shards)
    for mine in (reading.others, reading.shards):
        both = [name for name in ([key] if key else USUAL_KEYS) if name in theirs & _names(mine)]
        if both:
            return both[0], mine
    if key is not None:
        where = shards[0].path if key not in theirs else (reading.others or reading.shards)[0].path
        raise InputError(
            f"the id column {key!r} in both files",
            f"none in {where}",
            "name a column that both have, or leave --key out to join by position",
        )
    return None


def usual_column(reading: Reading, usual: Sequence[str]) -> Array | None:
    """A column of the rows that are read, by the first of these names that all files have."""
    names = _names(reading.others or reading.shards)
    column = next((name for name in usual if name in names), None)
    if column is None:
        return None
    others = replace(reading.columns, slices=(column,), text=(*reading.columns.text, column))
    parts = list(replace(reading, columns=others).named())
    return together([part.slices[column] for part in parts])


def _names(shards: Sequence[Shard]) -> set[str]:
    """Names of the columns that can hold ids in every file; those of a single array hold none."""
    if not shards or any(shard.path.suffix == ".npy" for shard in shards):
        return set()
    return set.intersection(
        *({column.name for column in shard.columns if column.kind != "matrix"} for shard in shards)
    )


def _ids(shards: Sequence[Shard], column: str) -> Array:
    parts = [part[column] for s in shards for part in s.read([], [column], _BATCH)]
    if not parts:
        raise InputError(f"rows in {shards[0].path}", "none", "name one that holds embeddings")
    return together(parts)


def _partners(
    mine: Array, theirs: Array, column: str, shards: Sequence[Shard], views: bool
) -> tuple[Integers | None, int]:
    """Row of the reference for each of mine, -1 where it has none, and how many it has alone."""
    where = f"in column {column!r}"
    names, others = ([_text(name) for name in ids.tolist()] for ids in (mine, theirs))
    place: dict[str, int] = {}
    for row, name in enumerate(others):
        if name:
            place.setdefault(name, row)
    repeated = sum(map(bool, others)) - len(place)
    seen = [name for name in names if name]
    twice = 0 if views else len(seen) - len(set(seen))
    if repeated or twice:
        raise InputError(
            f"every id once {where} of both",
            f"{twice} rows of the embeddings and {repeated} of {shards[0].path} with an id that"
            " came before",
            "name another column (--key); for views of an instance, also --instance",
        )
    rows = np.array([place.get(name, -1) for name in names])
    if not (rows >= 0).any():
        raise InputError(
            f"ids {where} that both have",
            f"none of {len(mine)} in the {len(theirs)} of {shards[0].path}",
            "name another column (--key), or write the ids of both in one way",
        )
    alone = len(theirs) - len(np.unique(rows[rows >= 0]))
    same = len(mine) == len(theirs) and np.array_equal(rows, np.arange(len(rows)))
    return (None if same else rows.astype(np.int64)), alone


def _text(name: Any) -> str:
    """An id as text, the same from a file with types and one without; "" where it is missing."""
    if name is None or name != name:
        return ""
    if isinstance(name, float) and name.is_integer():
        return str(int(name))
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
