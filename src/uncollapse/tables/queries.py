"""Rows of a database: what a query selects, in batches; nothing is written."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uncollapse.errors import InputError
from uncollapse.tables.streams import StreamShard

# Rows that a database hands over at once.
_BATCH = 16384
_POSTGRES = re.compile(r"postgres(ql)?://", re.IGNORECASE)
_DUCKDB = re.compile(r"duckdb:(///?)?", re.IGNORECASE)
# What pgvector calls its types, and the numbers in them, which it sends highest byte first.
_PGVECTOR: dict[str, np.dtype[Any]] = {"vector": np.dtype(">f4"), "halfvec": np.dtype(">f2")}


@dataclass(frozen=True)
class Query:
    """Rows of a database in place of files.

    PostgreSQL (with pgvector, its vector and halfvec) is asked by ADBC and in a transaction that
    cannot write; DuckDB in process, a file of its own or, without any, other files by their names
    in the query. Both hand rows over in batches.

    Attributes:
        sql: Query of a database whose rows are read in place of files: one SELECT.
        db: Database that it asks: postgresql://USER@HOST/NAME, or a DuckDB file. [default: DuckDB
            in process, which reads files by their names in the query]

    Examples:
        >>> import numpy as np
        >>> import pyarrow as pa, pyarrow.parquet
        >>> from tempfile import TemporaryDirectory
        >>> from uncollapse import measure_files
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> table = pa.table({"z": list(np.eye(3, 16)[labels]), "kind": labels, "site": labels % 2})
        >>> with TemporaryDirectory() as folder:
        ...     pa.parquet.write_table(table, f"{folder}/rows.parquet")
        ...     rows = f"'{folder}/rows.parquet'"
        ...     query = Query(f"select z, kind as label from {rows} where kind < 2")
        ...     measure_files(query).conditions.classes
        2
    """

    sql: str | None = None
    db: str | None = None

    def words(self) -> list[str]:
        """Its options on a command line, without a password; none where there is no query."""
        place = [] if self.db is None else ["--db", _shown(self.db)]
        return [] if self.sql is None else ["--sql", self.sql, *place]


class QueryShard(StreamShard):
    """The rows of a query."""

    kind = "result of a query"

    def __init__(self, query: Query) -> None:
        if not (query.sql or "").strip():
            raise InputError("a query (--sql)", "none", 'for example --sql "select * from rows"')
        sql, db = str(query.sql), query.db or ""
        self._opened = ExitStack()  # what must live as long as its rows are read
        asked = _postgres if _POSTGRES.match(db) else _duckdb
        with ExitStack() as opening:
            opened = asked(sql, db, opening)
            super().__init__(opened, "the query")
            self._opened = opening.pop_all()
        weakref.finalize(self, self._opened.close)


def _failed(error: BaseException, db: str) -> InputError:
    """The error of a database, without the password that its address may have."""
    reason = _without_password(" ".join(str(error).split()))
    where = _shown(db) or "DuckDB"
    return InputError(
        f"rows of the query from {where}",
        f"{type(error).__name__}: {reason[:240]}",
        "correct the query, or the address of the database (--db)",
    )


def _shown(db: str) -> str:
    """The address of a database without what may be a secret."""
    return _without_password(db.partition("?")[0])


def _without_password(text: str) -> str:
    return re.sub(r"(//[^/@:\s]*):[^/@\s]*@", r"\1@", text)


def _duckdb(sql: str, db: str, opening: ExitStack) -> Any:
    """The rows of a query that DuckDB answers in this process."""
    file = _DUCKDB.sub("", db, count=1)
    scheme = re.match(r"([a-z0-9+]+)://", file, re.IGNORECASE)
    if scheme is not None:
        raise InputError(
            "a database at postgresql://..., or a DuckDB file",
            f"{scheme[1]}://",
            "export the rows (parquet), or hand them over in Python as Arrow",
        )
    if file and not Path(file).is_file():
        raise InputError(f"a DuckDB file at {file}", "none", "check the path (--db)")
    try:
        import duckdb
    except ImportError as error:
        raise _without("duckdb", error) from error
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise InputError("one SELECT (--sql)", f"{sql[:80]}", "give a query that only reads")
        connection = duckdb.connect(
            file or ":memory:",
            read_only=bool(file),
            config={"autoinstall_known_extensions": "false"},  # nothing is fetched by itself
        )
        opening.callback(connection.close)
        rows = connection.sql(sql)
        reader = getattr(rows, "to_arrow_reader", None) or rows.fetch_record_batch
        return reader(_BATCH)
    except duckdb.Error as error:
        raise _failed(error, file) from error


def _postgres(sql: str, db: str, opening: ExitStack) -> Any:
    """The rows of a query that a PostgreSQL server answers."""
    import pyarrow as pa

    try:
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi
    except ImportError as error:
        raise _without("adbc-driver-postgresql", error) from error
    try:
        connection = opening.enter_context(dbapi.connect(db))
        cursor = opening.enter_context(connection.cursor())
        cursor.execute("set transaction read only")
        cursor.execute(sql)
        reader = cursor.fetch_record_batch()
        types = {field.name: _pgvector(field) for field in reader.schema}
        known = {name: kind for name, kind in types.items() if kind}
        if not known:
            return reader
        schema = pa.schema(
            [
                pa.field(f.name, pa.list_(pa.float32())) if f.name in known else f
                for f in reader.schema
            ]
        )
        decoded = _decoded(reader, schema, known)
        return pa.RecordBatchReader.from_batches(schema, decoded)
    except Error as error:
        raise _failed(error, db) from error


def _without(package: str, error: ImportError) -> InputError:
    return InputError(
        f"{package}, which asks the database",
        f"an environment without {error.name or package}",
        "pip install 'uncollapse[sql]'",
    )


def _pgvector(field: Any) -> str:
    """Which type of pgvector a column is of; "" for another."""
    noted = (field.metadata or {}).get(b"ADBC:postgresql:typname", b"").decode()
    noted = noted or str(getattr(field.type, "type_name", ""))
    if noted == "sparsevec":
        raise InputError(
            f"vectors in column {field.name!r} of the query",
            "type sparsevec",
            f"select {field.name}::vector",
        )
    return noted if noted in _PGVECTOR else ""


def _decoded(reader: Any, schema: Any, known: dict[str, str]) -> Iterator[Any]:
    """The batches, vectors as lists of float32."""
    import pyarrow as pa

    for batch in reader:
        columns = [
            _lists(batch.column(name), _PGVECTOR[known[name]], name)
            if name in known
            else batch.column(name)
            for name in schema.names
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _lists(column: Any, kind: np.dtype[Any], name: str) -> Any:
    """Lists from pgvector's bytes: the length and a zero, 16 bits each, then the numbers."""
    import pyarrow as pa

    column = getattr(column, "storage", column)
    lists: list[Any] = []
    for value in column.to_pylist():
        if value is None:
            lists.append(None)
            continue
        numbers = np.frombuffer(value, kind, offset=4) if len(value) % kind.itemsize == 0 else None
        if numbers is None or len(numbers) != int.from_bytes(value[:2], "big"):
            raise InputError(
                f"vectors of pgvector in column {name!r} of the query",
                f"{len(value)} bytes that are none",
                f"select {name}::real[]",
            )
        lists.append(numbers.astype(np.float32))
    return pa.array(lists, pa.list_(pa.float32()))
