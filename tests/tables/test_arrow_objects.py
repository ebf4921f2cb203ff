"""What hands out Arrow is read as a file of it is, without a copy where that is possible."""

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.metrics import compare, measure, measure_files
from uncollapse.probes import ProbeColumns, probe
from uncollapse.report import build_report
from uncollapse.samples import to_numpy
from uncollapse.tables import Columns, Query, ReferenceFiles, open_shards

COLUMNS = Columns(embedding="z", label="kind")
LABELS = np.repeat(["ant", "bee", "007"], 40)


@pytest.fixture
def rows(rng):
    centres = np.repeat(np.eye(3, 8), 40, axis=0)
    return (centres + 0.3 * rng.standard_normal((120, 8))).astype(np.float32)


@pytest.fixture
def table(rows):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 8)
    return pa.table({"z": lists, "kind": LABELS.tolist(), "site": np.arange(120) % 2})


class OnlyAStream:
    """As a cursor of ADBC hands out its result: once, and nothing but Arrow."""

    def __init__(self, table):
        self.reader = table.to_reader(max_chunksize=50)

    def __arrow_c_stream__(self, requested_schema=None):
        return self.reader.__arrow_c_stream__(requested_schema)


def views_and_runs(table):
    """Views of lists that lie in another order, and labels as runs of one value."""
    rows = np.stack(table["z"].to_pylist()).astype("f4")[::-1]
    offsets = pa.array(8 * np.arange(len(rows))[::-1], pa.int32())
    sizes = pa.array(np.full(len(rows), 8), pa.int32())
    views = pa.ListViewArray.from_arrays(offsets, sizes, pa.array(rows.ravel()))
    runs = pa.compute.run_end_encode(table["kind"].combine_chunks())
    return pa.table({"z": views, "kind": runs})


TABLES = {
    "pyarrow.Table": lambda t: t,
    "pyarrow.RecordBatch": lambda t: t.combine_chunks().to_batches()[0],
    "a reader": lambda t: t.to_reader(max_chunksize=50),
    "a stream": OnlyAStream,
    "views and runs": views_and_runs,
    "polars": pl.from_arrow,
    "polars with lists": lambda t: pl.from_arrow(t).with_columns(pl.col("z").arr.to_list()),
    "pandas": lambda t: t.to_pandas(),
    "duckdb": lambda t: duckdb.connect().from_arrow(t),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_measured_as_its_arrays_are(kind, rows, table):
    wanted = measure(rows, LABELS)
    assert measure(TABLES[kind](table), columns=COLUMNS) == wanted
    found = measure_files(TABLES[kind](table), columns=COLUMNS, stream=True, interval="exact")
    assert found.within_class_variance.estimate == pytest.approx(
        wanted.within_class_variance.estimate, rel=1e-12
    )


SERIES = {
    "lists of arrow": lambda t, x: t["z"],
    "tensors of a fixed shape": lambda t, x: pa.FixedShapeTensorArray.from_numpy_ndarray(x),
    "polars": lambda t, x: pl.from_arrow(t)["z"],
    "pandas, arrays": lambda t, x: pd.Series(list(x)),
    "pandas, lists": lambda t, x: pd.Series(x.tolist(), dtype=object),
    "pandas, of arrow": lambda t, x: t.to_pandas(types_mapper=pd.ArrowDtype)["z"],
    "a list of arrays": lambda t, x: list(x),
    "a list of tensors": lambda t, x: [torch.tensor(row) for row in x],
}


@pytest.mark.parametrize("kind", SERIES)
def test_a_column_is_measured_as_its_array_is(kind, rows, table):
    vectors, _ = to_numpy(SERIES[kind](table, rows))
    np.testing.assert_array_equal(vectors, rows)
    for labels in (table["kind"], pl.from_arrow(table)["kind"], table.to_pandas()["kind"]):
        assert (
            measure(SERIES[kind](table, rows), labels, permutations=0).verdict
            == measure(rows, LABELS, permutations=0).verdict
        )


def test_numbers_of_arrow_are_not_copied(rows, table):
    column = table["z"].chunk(0)
    assert np.shares_memory(to_numpy(column)[0], column.flatten().to_numpy())
    (shard,) = open_shards(table)
    (part,) = shard.read(["z"], [], 1 << 16)
    assert np.shares_memory(part["z"], column.flatten().to_numpy())


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (pa.array(["a", None] * 60), "60 of 120 rows with no label"),
        (pa.array([1, None] * 60), "60 of 120 rows with no label"),
        (pd.Series(["a", None] * 60).astype("string"), "60 of 120 rows with no label"),
        (pd.Series([1, None] * 60).astype("Int64"), "60 of 120 rows with no label"),
    ],
)
def test_a_missing_label_is_missing_whoever_holds_it(rows, labels, found):
    with pytest.raises(InputError, match=found):
        measure(rows, labels)


def test_what_is_no_table_yet_is_told_how_to_become_one(rows):
    frame = pl.DataFrame({"z": rows, "label": LABELS})
    for given in (frame.lazy(), datasets.Dataset.from_dict({"z": rows, "label": LABELS})):
        with pytest.raises(InputError, match=rf"a {type(given).__name__} of .*; hand over what"):
            measure(given, "label")
    assert measure(frame.lazy().collect(), "label") == measure(rows, LABELS)


def test_lists_of_several_lengths_are_refused(rows):
    ragged = [*rows[:-1], rows[0][:5]]
    for given in (ragged, pd.Series(ragged), [torch.tensor(row) for row in ragged]):
        with pytest.raises(InputError, match="rows of one length"):
            measure(given, LABELS)
    with pytest.raises(InputError, match=r"lists of one length \(8\) in ChunkedArray"):
        measure(pa.chunked_array([pa.array(list(ragged))]), LABELS)


def test_what_is_refused_of_a_table_names_it(rows, table):
    with pytest.raises(InputError, match=r"a column 'species' in pyarrow.Table"):
        measure(table, "species")
    with pytest.raises(InputError, match="names of a table's columns"):
        measure(table, LABELS)
    with pytest.raises(InputError, match="a table with columns"):
        measure(rows, LABELS, columns=COLUMNS)
    bad = table.set_column(1, "kind", pa.array([None, *LABELS.tolist()[1:]], pa.string()))
    with pytest.raises(InputError, match=r"column 'kind' of polars.DataFrame"):
        measure(pl.from_arrow(bad), columns=COLUMNS)


def test_a_stream_longer_than_what_is_held_is_measured_in_one_pass(table, monkeypatch):
    monkeypatch.setattr("uncollapse.tables.streams._HELD_BYTES", 1000)
    reader = table.to_reader(max_chunksize=20)
    found = measure_files(reader, columns=COLUMNS, interval="exact")
    wanted = measure(table, columns=COLUMNS)
    assert found.conditions.interval is not None
    assert found.conditions.seed is None  # as of a stream
    assert found.share.estimate == pytest.approx(wanted.share.estimate, rel=1e-12)
    with_splits = table.append_column("split", pa.array(["train", "test"] * 60))
    with pytest.raises(InputError, match="can be read again"):
        measure_files(with_splits.to_reader(max_chunksize=20), columns=COLUMNS)
    assert measure_files(with_splits, columns=COLUMNS).conditions.split == "test"


def test_the_reference_of_a_table_is_a_table(rows, table):
    ids = pa.array([f"r{k}" for k in range(120)])
    other = np.hstack([rows, 0.2 * rows[:, :3] ** 2])
    base = pa.table({"id": ids, "embedding": list(other)}).take(np.arange(120)[::-1])
    given = table.append_column("id", ids)
    found = measure(pl.from_arrow(given), columns=COLUMNS, reference=pl.from_arrow(base))
    wanted = measure(rows, LABELS, reference=other)
    assert (found.reference.joined_by, found.reference.name) == ("id", "polars.DataFrame")
    assert found.reference.retention == wanted.reference.retention
    inside = table.append_column("base", pa.array(list(other)))
    found = measure(inside, columns=COLUMNS, reference=ReferenceFiles(reference_embedding="base"))
    assert found.reference.retention == wanted.reference.retention


def test_compare_probe_and_report_take_tables(rows, table, tmp_path):
    pq.write_table(table, tmp_path / "rows.parquet")
    closer = table.set_column(
        0, "z", pa.array(list(0.1 * rows + np.repeat(np.eye(3, 8), 40, axis=0)))
    )
    found = compare(table, closer, columns=COLUMNS)
    assert found.paired
    assert {c.name: c.direction for c in found.changes}["share"] == "fell"
    columns = ProbeColumns(layers=("z",), targets=("kind",), label="kind")
    assert probe(table, columns=columns) == probe(tmp_path / "rows.parquet", columns=columns)
    renamed = table.rename_columns(["embedding", "label", "site"])
    report = build_report([renamed])
    assert report.decision.verdict == "not-collapsed"
    (source,) = report.inputs.sources
    assert (source.path, len(source.sha256)) == ("pyarrow.Table", 64)


def test_a_query_is_the_file_it_asks(table, tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path)
    query = Query(f"select kind, z from '{path}' where kind <> '007'")
    found = measure_files(query, columns=COLUMNS)
    keep = table.filter(pa.compute.not_equal(table["kind"], "007"))
    assert found == measure(keep, columns=COLUMNS)
