"""What a column is follows from what it is read for, in every format and on every path."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uncollapse.data import data_config, load_data
from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, measure, measure_files
from uncollapse.probes import ProbeColumns, embedded_files, probe
from uncollapse.report import ReportOptions, build_report
from uncollapse.tables import Columns


def csv_of(path, names, rows, **columns):
    """A CSV file of rows and columns of text, written as they are."""
    head = ",".join([*(f"e{k}" for k in range(rows.shape[1])), *columns])
    cells = zip(rows.tolist(), *columns.values(), strict=True)
    lines = [",".join([*map(repr, row), *more]) for row, *more in cells]
    path.write_text("\n".join([head, *lines]) + "\n", "utf-8")
    return path


@pytest.fixture
def rows(rng):
    return np.repeat(np.eye(4, 6), 12, axis=0) + 0.3 * rng.standard_normal((48, 6))


@pytest.mark.parametrize(
    "names",
    [
        ("1.1", "1.10", "2.2", "2.20"),
        ("1", "01", "1e2", "100"),
        ("true", "TRUE", "True", "1"),
        ("NA", "nan", "None", "null"),
        ("12345678901234567890", "12345678901234567891", "7", "07"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_text_that_looks_like_numbers_stays_what_is_written(tmp_path, rows, names, stream):
    label = [names[k // 12] for k in range(48)]
    path = csv_of(tmp_path / "d.csv", names, rows, label=label, site=label)
    found = measure_files([path], stream=stream, permutations=0)
    assert {one.label for one in found.classes} == set(names)
    block = {"source": "table", "path": str(path), "vector": "*", "split": {"test": 0}}
    assert set(load_data(data_config({**block, "slices": ["site"]})).label_names) == set(names)
    read = embedded_files([path], ProbeColumns(targets=("site",), label="label"))
    assert set(read.targets["site"].tolist()) == set(names)


@pytest.mark.parametrize("stream", [False, True])
def test_no_type_is_settled_by_the_first_rows(tmp_path, stream):
    # Above 16 MiB a reader of CSV has several blocks, the first of which holds whole numbers.
    rng, count = np.random.default_rng(0), 64_000
    rows = np.round(rng.standard_normal((count, 32)), 6)
    late = np.arange(count) >= count - 50
    columns = {f"e{k}": rows[:, k].astype(str) for k in range(32)}
    columns["e0"] = np.where(late, "0.5", "0")
    columns["label"] = np.where(late, "unknown", (np.arange(count) % 3).astype(str))
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    path = tmp_path / "d.csv"
    path.write_text("\n".join(lines))
    assert path.stat().st_size > 1 << 24
    found = measure_files([path], stream=stream, permutations=0)
    assert [(one.label, one.count) for one in found.classes][-1] == ("unknown", 50)


@pytest.mark.parametrize("encoding", ["cp932", "latin-1", "utf-16"])
def test_a_header_in_another_encoding_is_one_sentence(tmp_path, encoding):
    name = "判定" if encoding == "cp932" else "catégorie"
    (tmp_path / "d.csv").write_text(f"e0,e1,{name}\n1,2,a\n2,1,b\n", encoding)
    with pytest.raises(InputError, match=r"d\.csv"):
        measure_files([tmp_path / "d.csv"], columns=Columns(label=name))


def test_small_and_large_integers_neither_overflow_nor_merge(rows):
    for kind, values in (
        ("i1", (0, 1, 126, 127)),
        ("u8", (2**63, 2**63 + 1, 2**64 - 1, 0)),
        ("u8", (2**63, 2**63 + 1, 2**63 + 2, 2**63 + 3)),
        ("i8", (2**62, 2**62 + 1, 2**63 - 1, 0)),
    ):
        labels = np.repeat(np.array(values, dtype=kind), 12)
        found = measure(rows, labels, permutations=0)
        assert [one.label for one in found.classes] == sorted(values)
    mixed = np.repeat(np.array([1, "1", True, 0], dtype=object), 12)
    assert len(measure(rows, mixed, permutations=0).classes) == 4
    with pytest.raises(InputError, match=r"1 \(int\) and '1' \(str\)"):
        measure(rows, np.arange(48) % 4, slices=mixed, permutations=0)


# Rows 0 to 3 have the label -1, or another code in their place.
def coded(tmp_path, kind, rows, code=-1):
    label = np.where(np.arange(48) < 4, code, np.arange(48) // 12)
    if kind == "csv":
        return csv_of(tmp_path / "d.csv", (), rows, label=label.astype(str))
    if kind == "npz":
        np.savez(tmp_path / "d.npz", z=rows, label=label)
        return tmp_path / "d.npz"
    feature = {"label": {"_type": "ClassLabel", "names": ["0", "1", "2", "3"]}}
    about = {b"huggingface": json.dumps({"info": {"features": feature}}).encode()}
    table = pa.table({"z": rows.tolist(), "label": label.tolist()})
    table = table.replace_schema_metadata(about if kind == "ClassLabel" else None)
    pq.write_table(table, tmp_path / "d.parquet")
    return tmp_path / "d.parquet"


KINDS = ["csv", "npz", "parquet", "ClassLabel"]


@pytest.mark.parametrize("kind", KINDS)
def test_minus_one_is_unlabelled_everywhere(tmp_path, rows, kind):
    path = coded(tmp_path, kind, rows)
    kept = measure(rows[4:], np.arange(4, 48) // 12, permutations=0)
    for stream in (False, True):
        found = measure_files([path], stream=stream, interval="exact", permutations=0)
        assert found.conditions.dropped == {"unlabelled": 4}
        assert found.share.estimate == pytest.approx(kept.share.estimate, rel=1e-12)
        assert [str(one.label) for one in found.classes] == ["0", "1", "2", "3"]
    (case,) = build_report([path], options=ReportOptions()).inputs.cases
    assert case.measured[0].measurement.conditions.samples == 44
    assert set(case.points[""].label) == {"0", "1", "2", "3"}
    read = probe(embedded_files([path], ProbeColumns(label="label")))
    assert (read.targets[0].classes, read.targets[0].sizes.missing) == (4, 4)
    block = {"path": str(path), "unlabelled": "allow", "split": {"test": 0}}
    if kind == "npz":
        block |= {"source": "arrays", "inputs": "z", "kind": "vector"}
    else:
        block |= {"source": "table", "vector": "*" if kind == "csv" else "z"}
    data = load_data(data_config(block))
    assert (data.labels < 0).sum() == 4
    assert data.label_names == ("0", "1", "2", "3")
    with pytest.raises(InputError, match="4 rows of 48 without one"):
        load_data(data_config(block | {"unlabelled": "refuse"}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [-2, -100])
def test_other_codes_below_zero_are_refused_by_name(tmp_path, rows, kind, code):
    path = coded(tmp_path, kind, rows, code)
    block = {"source": "table", "path": str(path), "vector": "*" if kind == "csv" else "z"}
    if kind == "npz":
        block |= {"source": "arrays", "inputs": "z", "kind": "vector"}
        del block["vector"]
    for read in (
        lambda: measure_files([path], permutations=0),
        lambda: measure_files([path], stream=True),
        lambda: build_report([path]),
        lambda: probe(embedded_files([path], ProbeColumns(label="label"))),
        lambda: load_data(data_config(block)),
    ):
        with pytest.raises(InputError, match=f"'?label'?.*; found {code} ") as error:
            read()
        assert "drop" not in error.value.remedy


@pytest.mark.parametrize("kind", ["csv", "npz", "parquet"])
def test_a_column_declared_as_text_has_a_class_of_that_name(tmp_path, rows, kind):
    path = coded(tmp_path, kind, rows)
    found = measure_files([path], columns=Columns(text=("label",)), permutations=0)
    assert [one.label for one in found.classes] == ["-1", "0", "1", "2", "3"]
    assert found.conditions.dropped == {}
    with pytest.raises(InputError, match="text columns among those that are read"):
        measure_files([path], columns=Columns(text=("z" if kind != "csv" else "e0",)))


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_rows_that_embed_wrote_without_a_label_are_unlabelled(tmp_path, rows, kind):
    label = ["" if k < 4 else "abcd"[k // 12] for k in range(48)]
    about = json.dumps({"kind": "embeddings", "layers": ["projector"], "label": "label"})
    path = tmp_path / f"d.{kind}"
    if kind == "npz":
        np.savez(path, projector=rows, label=np.array(label), about=np.array(about))
    else:
        table = pa.table({"projector": rows.tolist(), "label": [name or None for name in label]})
        pq.write_table(table.replace_schema_metadata({b"uncollapse": about.encode()}), path)
    found = measure_files([path], columns=Columns(embedding="projector"), permutations=0)
    assert (found.conditions.dropped, len(found.classes)) == ({"unlabelled": 4}, 4)


def test_what_lacks_a_label_may_have_faults(rows):
    rows[1] = np.nan
    labels = np.where(np.arange(48) < 4, -1, np.arange(48) // 12)
    assert measure(rows, labels, permutations=0).conditions.dropped == {"unlabelled": 4}
    accumulator = Accumulator()
    accumulator.update(rows, labels)
    assert accumulator.measurement().conditions.dropped == {"unlabelled": 4}
    with pytest.raises(InputError, match="24 rows of -1, which means unlabelled"):
        measure(rows, np.where(np.arange(48) % 2, 1, -1), permutations=0, drop_invalid=True)


def test_class_names_that_are_out_of_date_are_not_believed(tmp_path, rows):
    path = coded(tmp_path, "ClassLabel", rows)
    stored = pq.read_table(path)
    text = pa.array([("ant", "bee", "cow", "dog")[k // 12] for k in range(48)])
    pq.write_table(stored.set_column(1, "label", text), path)
    found = measure_files([path], permutations=0)
    assert [one.label for one in found.classes] == ["ant", "bee", "cow", "dog"]
    floats = pa.array([None, *map(float, np.arange(1, 48) // 12)])
    pq.write_table(stored.set_column(1, "label", floats), path)
    found = measure_files([path], permutations=0)
    assert (found.conditions.dropped, len(found.classes)) == ({"unlabelled": 1}, 4)
    pq.write_table(stored.set_column(1, "label", pa.array([4, *[0, 1] * 23, 1])), path)
    with pytest.raises(InputError, match=r"codes from 0 to 3.*'label' of .*; found 4 "):
        measure_files([path])


def test_a_pattern_takes_a_prefix_and_whole_numbers(tmp_path, rows, rng):
    order = [0, 1, 10, *range(2, 10), 11]
    wide = np.hstack([rows, rng.standard_normal((48, 6))])
    table = {f"e{k}": wide[:, k] for k in order} | {"label": np.arange(48) // 12}
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table(table), path)

    def read(pattern="e*"):
        columns = ProbeColumns((pattern,), ("label",), "label")
        return next(iter(embedded_files([path], columns).layers.values()))

    np.testing.assert_array_equal(read(), wide)
    pq.write_table(pa.table(table | {"epoch": np.zeros(48), "e_norm": np.zeros(48)}), path)
    with pytest.raises(InputError, match="found 'epoch', 'e_norm' among the 14"):
        read()
    with pytest.raises(InputError, match="among the 15 that it takes"):
        read("*")
    del table["e7"]
    pq.write_table(pa.table(table), path)
    with pytest.raises(InputError, match=r"e0 to e11 without a gap .* found no e7"):
        read()
    with pytest.raises(InputError, match=r"e0 to e11 without a gap .* found no e7"):
        measure_files([path])  # nor is what nobody asked for taken in part
    assert read("e0, e5,e6").shape == (48, 3)


def test_dimensions_of_shards_go_by_their_names(tmp_path, rows):
    label = {"label": np.arange(48) // 12}
    for k, order in enumerate(([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0])):
        at = slice(k, None, 2)
        table = {f"e{j}": rows[at, j] for j in order} | {"label": label["label"][at]}
        pq.write_table(pa.table(table), tmp_path / f"s{k}.parquet")
    files = [tmp_path / "s0.parquet", tmp_path / "s1.parquet"]
    once = measure(rows, label["label"], permutations=0)
    for stream in (False, True):
        found = measure_files(files, stream=stream, interval="exact", permutations=0)
        assert found.share.estimate == pytest.approx(once.share.estimate, rel=1e-9)
    renamed = [f"e{j}" for j in range(1, 7)] + ["label"]
    pq.write_table(pq.read_table(files[1]).rename_columns(renamed), files[1])
    with pytest.raises(InputError, match=r"s0\.parquet in .*s1\.parquet; found e0, e6 in one"):
        measure_files(files)


def test_tensors_of_one_shape_are_read_and_text_is_named_with_its_type(tmp_path, rows):
    path = tmp_path / "d.parquet"
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(rows.reshape(24, 2, 6).astype("f4"))
    label = np.arange(24) // 6
    pq.write_table(pa.table({"embedding": tensor, "label": label}), path)
    found = measure_files([path], permutations=0)
    assert (found.conditions.samples, found.conditions.views) == (48, True)
    pq.write_table(
        pa.table({"embedding": list(map(str, rows[:24].tolist())), "label": label}), path
    )
    with pytest.raises(InputError, match=r"numbers in column 'embedding'.*\(type string\)"):
        measure_files([path])


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path, rng):
    labels = np.repeat([0, 1, 2, 3], 30)
    rows = np.eye(4, 6)[labels] + 1e-3 * rng.standard_normal((120, 6))
    order = rng.permutation(120)
    (tmp_path / "shards").mkdir()
    for k in range(12):
        np.save(tmp_path / f"shards/emb_{k}.npy", rows[order][10 * k : 10 * k + 10])
    np.save(tmp_path / "labels.npy", labels[order])
    for stream in (False, True):
        found = measure_files(
            [tmp_path / "shards"], labels_from=[tmp_path / "labels.npy"], stream=stream
        )
        assert found.verdict == "collapsed"
    files = sorted((tmp_path / "shards").iterdir())
    with pytest.raises(InputError, match=r"emb_10\.npy where a shell sorts it"):
        measure_files(files, labels_from=[tmp_path / "labels.npy"])
