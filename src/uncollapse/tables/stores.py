"""Rows of vector stores, by the stores' own clients, as batches of Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uncollapse.errors import InputError
from uncollapse.tables.streams import Batches

_EMBEDDING = "embedding"


def _arrow(extra: str) -> Any:
    """The module pyarrow."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InputError(
            "pyarrow, which holds the rows of a store",
            "an environment without it",
            f"pip install 'uncollapse[{extra}]'",
        ) from error
    return pa


def from_qdrant(
    client: Any,
    collection: str,
    *,
    vectors: Sequence[str] | None = None,
    payload: Sequence[str] | None = None,
    where: Any = None,
    batch: int = 1000,
) -> Batches:
    """The points of a collection of Qdrant, page by page.

    Columns: "id"; "embedding", or a column for each of several named vectors; and a column for each
    key of the payload, but for those of these names. A collection with cosine distance holds its
    vectors normalised.

    Args:
        client: A `qdrant_client.QdrantClient`, of a server or a folder.
        collection: Its name.
        vectors: Names of the dense vectors; None: all.
        payload: Keys of the payload, inner ones as "metadata.label"; None: those of the first page
            with text or numbers.
        where: A `qdrant_client.models.Filter`; None: all points.
        batch: Points in a page.

    Raises:
        InputError: No client, no such collection, vector or key, no filter, no points, values of
            several types for a key.

    Examples:
        >>> from qdrant_client import QdrantClient, models
        >>> client = QdrantClient(":memory:")
        >>> size = models.VectorParams(size=3, distance=models.Distance.DOT)
        >>> _ = client.create_collection("animals", vectors_config=size)
        >>> for k in range(40):
        ...     point = models.PointStruct(id=k, vector=[1, k, k % 2], payload={"label": k % 2})
        ...     _ = client.upsert("animals", [point])
        >>> from uncollapse import measure
        >>> measure(from_qdrant(client, "animals"), "label").conditions.samples
        40
    """
    pa = _arrow("qdrant")

    place = f"the collection {collection!r} of Qdrant"
    _check_client(client, "scroll", "a QdrantClient", 'QdrantClient("http://...") or (path="...")')
    if not client.collection_exists(collection):
        there = ", ".join(sorted(each.name for each in client.get_collections().collections))
        raise InputError(place, there or "no collection", "name one that is there")
    if where is not None and type(where).__name__ != "Filter":
        raise InputError(
            "a qdrant_client.models.Filter (where)", f"{where!r}", "write models.Filter(must=[...])"
        )
    given = client.get_collection(collection).config.params.vectors
    several = list(given) if isinstance(given, Mapping) else []
    named = list(vectors) if vectors is not None else several
    if missing := [name for name in named if name not in several]:
        listed = ", ".join(several) or "a single one without a name"
        raise InputError(f"a vector {missing[0]!r} in {place}", listed, "name one that is there")
    pages = partial(_pages, client, collection, named, payload, where, batch)
    first = next(_pages(client, collection, named, None, where, batch), None)
    if first is None:
        remedy = "name another collection" if where is None else "loosen the filter"
        raise InputError(f"points in {place}", "none", remedy)
    plain = _plain(first + _holding(client, collection, payload, where), payload, place)
    names = named or [_EMBEDDING]
    schema = pa.schema(
        [("id", pa.string() if isinstance(first[0].id, str) else pa.int64())]
        + [(name, pa.list_(pa.float32())) for name in names]
        + [
            (key, pa.int64() if type(value) is int else pa.scalar(value).type)
            for key, value in plain.items()
            if key not in ("id", *names)
        ]
    )

    def batches() -> Iterator[Any]:
        for page in pages():
            columns: dict[str, list[Any]] = {
                field.name: [_at(point.payload or {}, field.name) for point in page]
                for field in schema
            }
            columns["id"] = [point.id for point in page]
            for name in names:
                columns[name] = [
                    (point.vector or {}).get(name) if named else point.vector for point in page
                ]
            yield _batch(columns, schema, place)

    count = client.count(collection, count_filter=where, exact=True).count
    return Batches(place, schema, batches, count)


def _check_client(given: Any, has: str, expected: str, example: str) -> None:
    """Refuse a path or an address in place of what the store's client opened."""
    if not hasattr(given, has):
        raise InputError(expected, f"a {type(given).__name__}", f"open it: {example}")


def _pages(
    client: Any,
    collection: str,
    vectors: list[str],
    payload: Sequence[str] | None,
    where: Any,
    batch: int,
) -> Iterator[list[Any]]:
    """The points of a collection, some at a time."""
    offset, more = None, True
    while more:
        page, offset = client.scroll(
            collection,
            scroll_filter=where,
            limit=batch,
            offset=offset,
            with_payload=True if payload is None else list(payload),
            with_vectors=vectors or True,
        )
        more = offset is not None
        if page:
            yield page


def _holding(client: Any, collection: str, keys: Sequence[str] | None, where: Any) -> list[Any]:
    """A point for each of the keys that are asked for, wherever in the collection it is."""
    from qdrant_client import models

    points: list[Any] = []
    for key in keys or ():
        empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        holding = models.Filter(must=None if where is None else [where], must_not=[empty])
        points += client.scroll(collection, scroll_filter=holding, limit=1)[0]
    return points


def _at(payload: Mapping[str, Any], key: str) -> Any:
    """A value of the payload, by its key or by the keys that lead to it."""
    if key in payload or "." not in key:
        return payload.get(key)
    outer, _, inner = key.partition(".")
    within = payload.get(outer)
    return _at(within, inner) if isinstance(within, Mapping) else None


def _plain(points: list[Any], wanted: Sequence[str] | None, where: str) -> dict[str, Any]:
    """Keys of the payload that hold text or numbers, with a value of each."""
    payloads = [point.payload or {} for point in points]
    keys = {
        key: value
        for payload in payloads
        for key in (payload if wanted is None else wanted)
        if (value := _at(payload, key)) is not None
    }
    there = ", ".join(dict.fromkeys(key for payload in payloads for key in payload))
    plain = {key: v for key, v in keys.items() if isinstance(v, str | int | float | bool)}
    if absent := [key for key in wanted or () if key not in plain]:
        raise InputError(
            f"text or numbers at {absent[0]!r} in the payload of {where}",
            type(keys[absent[0]]).__name__ if absent[0] in keys else "none",
            f"name others ({there or 'there are none'})",
        )
    return plain


def _batch(columns: Mapping[str, list[Any]], schema: Any, where: str) -> Any:
    """A record batch of values that must be of the columns' types."""
    import pyarrow as pa

    arrays = []
    for field in schema:
        try:
            arrays.append(pa.array(columns[field.name], field.type))
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise InputError(
                f"values of type {field.type} at {field.name!r} in {where}",
                f"another ({error})",
                "write them alike, or read other keys",
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def from_lancedb(
    table: Any, *, columns: Sequence[str] | None = None, where: str | None = None, batch: int = 4096
) -> Batches:
    """The rows of a LanceDB table, batch by batch; its vectors are found as those of a file are.

    Args:
        table: What `lancedb.connect(...).open_table(...)` gives.
        columns: Names of the columns; None: all.
        where: Filter as LanceDB has it, such as "split = 'test'".
        batch: Rows in a batch.

    Raises:
        InputError: No table, no such column, a filter that LanceDB does not read.

    Examples:
        >>> import lancedb  # doctest: +SKIP
        >>> rows = from_lancedb(lancedb.connect("store").open_table("rows"))  # doctest: +SKIP
        >>> measure(rows, "label").verdict  # doctest: +SKIP
        'not-collapsed'
    """
    pa = _arrow("lancedb")

    example = 'lancedb.connect("...").open_table("...")'
    _check_client(table, "count_rows", "a LanceDB table", example)
    name = f"the table {table.name!r} of LanceDB"
    there = table.schema.names
    if missing := [column for column in columns or () if column not in there]:
        raise InputError(
            f"a column {missing[0]!r} in {name}", ", ".join(there), "name one that is there"
        )
    wanted = list(columns or there)

    def batches() -> Iterator[Any]:
        query = table.search().select(wanted)
        query = query if where is None else query.where(where)
        for part in query.to_batches(batch):
            yield part.select(wanted)

    schema = pa.schema([table.schema.field(column) for column in wanted])
    try:
        rows = table.count_rows(where)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"a filter of {name}", f"{where!r} ({reason})", "correct it") from error
    return Batches(name, schema, batches, rows)


def from_faiss(
    index: Any, labels: ArrayLike | Any, *, batch: int = 16384, **columns: ArrayLike | Any
) -> Batches:
    """The vectors of a FAISS index, and labels beside them in the order in which rows were added.

    Columns: "embedding", "label", "id" where the index has ids of its own, and those that are given
    by name. An index that compresses vectors (PQ, SQ) gives what it kept of them.

    Args:
        index: A `faiss.Index` that can give its vectors back: flat, HNSW, IVF, with or without ids.
        labels: (N,) label of each vector.
        batch: Vectors in a batch.
        **columns: (N,) other columns, such as `site=...`.

    Raises:
        InputError: Another number of labels, an index that has no vectors or an order of its own.

    Examples:
        >>> import faiss
        >>> labels = np.repeat(["cat", "dog"], 20)
        >>> index = faiss.IndexFlatIP(4)
        >>> index.add(np.random.default_rng(0).standard_normal((40, 4)).astype("float32"))
        >>> from uncollapse import measure
        >>> measure(from_faiss(index, labels)).conditions.samples
        40
    """
    pa = _arrow("faiss")

    _check_client(index, "ntotal", "a FAISS index", 'faiss.read_index("...")')
    name, rows = "the FAISS index", int(index.ntotal)
    inside, ids = _vectors_of(index)
    given = {"label": labels, **({} if ids is None else {"id": ids}), **columns}
    beside = {key: np.asarray(values) for key, values in given.items()}
    for key, values in beside.items():
        if values.shape != (rows,):
            raise InputError(
                f"{rows} entries of {key!r}, one for each vector of {name}",
                f"shape {values.shape}",
                "give them in the order in which the vectors were added",
            )
    lists = pa.list_(pa.float32(), int(index.d))
    arrays = {key: pa.array(values) for key, values in beside.items()}
    schema = pa.schema([(_EMBEDDING, lists), *((key, a.type) for key, a in arrays.items())])

    def batches() -> Iterator[Any]:
        for start in range(0, rows, batch):
            count = min(batch, rows - start)
            flat = pa.array(inside.reconstruct_n(start, count).ravel())
            vectors = pa.FixedSizeListArray.from_arrays(flat, int(index.d))
            others = [array.slice(start, count) for array in arrays.values()]
            yield pa.RecordBatch.from_arrays([vectors, *others], schema=schema)

    return Batches(name, schema, batches, rows)


def _vectors_of(index: Any) -> tuple[Any, Any]:
    """The index whose vectors lie in the order in which they were added, and ids or None."""
    import faiss

    try:
        index, ids = faiss.downcast_index(index), None
    except TypeError as error:
        raise _no_vectors(index, "another kind of index") from error
    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        ids = faiss.vector_to_array(index.id_map)
        index = faiss.downcast_index(index.index)
    rows = int(index.ntotal)
    if not rows:
        raise _no_vectors(index, "no vectors")
    try:
        inverted = faiss.extract_index_ivf(index)
    except RuntimeError:
        inverted = None
    if inverted is not None:
        lists: Any = inverted.invlists
        held = [
            faiss.rev_swig_ptr(lists.get_ids(k), lists.list_size(k))
            for k in range(lists.nlist)
            if lists.list_size(k)
        ]
        if not np.array_equal(np.sort(np.concatenate(held or [np.empty(0)])), np.arange(rows)):
            raise InputError(
                "an index whose ids count its rows",
                "an inverted index with ids of its own, which has no order",
                "put it into an IndexIDMap2, or give the vectors themselves",
            )
    try:
        for row in (0, rows - 1) if inverted is None else ():
            index.reconstruct(row)
    except RuntimeError as error:
        raise _no_vectors(index, str(error)) from error
    return index, ids


def _no_vectors(index: Any, why: str) -> InputError:
    return InputError(
        "an index that gives its vectors back",
        f"{type(index).__name__} ({why.splitlines()[0][:80]})",
        "give the vectors that it was made of",
    )
