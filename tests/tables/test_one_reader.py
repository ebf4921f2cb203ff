"""The same file gives measure, probe, report and training the same labels, ids, rows and errors."""

import csv
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uncollapse.data import data_config, load_data
from uncollapse.errors import InputError
from uncollapse.metrics import measure, measure_files
from uncollapse.probes import ProbeColumns, embedded_files, probe
from uncollapse.report import ReportOptions, build_report
from uncollapse.tables import Columns

# Labels that a reader of numbers makes the same, or takes for missing.
NAMES = ("007", "7", "NA", "1.0")
COUNTS = (14, 12, 10, 11)


@pytest.fixture
def rows(rng):
    return (np.repeat(np.eye(4, 6), COUNTS, axis=0) + 0.3 * rng.standard_normal((47, 6))).astype(
        np.float32
    )


LABELS = np.repeat(np.array(NAMES), COUNTS)
IDS = np.array([f"{k:03d}" for k in range(47)])


def write(folder, kind, rows, labels=LABELS):
    """The rows in one format, with the columns z (or z0, z1, ...), label and part."""
    folder.mkdir(exist_ok=True)
    if kind == "csv":
        with (folder / "d.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([*(f"z{k}" for k in range(rows.shape[1])), "label", "part"])
            for row, *names in zip(rows.tolist(), labels, IDS, strict=True):
                table.writerow([*row, *names])
        return folder / "d.csv"
    if kind == "npz":
        np.savez(folder / "d.npz", z=rows, label=np.asarray(labels)[:, None], part=IDS)
        return folder / "d.npz"
    codes = [NAMES.index(label) for label in labels]
    if kind == "parquet":
        pq.write_table(
            pa.table({"z": rows.tolist(), "label": labels.tolist(), "part": IDS.tolist()}),
            folder / "d.parquet",
            row_group_size=20,
        )
        return folder / "d.parquet"
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = {
        "z": datasets.Sequence(datasets.Value("float32")),
        "label": datasets.ClassLabel(names=list(NAMES)),
        "part": datasets.Value("string"),
    }
    whole = datasets.Dataset.from_dict(
        {"z": rows.tolist(), "label": codes, "part": IDS.tolist()}, datasets.Features(features)
    )
    if kind == "parquet with class names":
        whole.to_parquet(folder / "d.parquet")
        return folder / "d.parquet"
    whole.save_to_disk(folder / "set", num_shards=3)
    return folder / "set"


@dataclass
class Seen:
    """What one command has read; rows, labels and ids in order, where it keeps them."""

    counts: dict
    rows: np.ndarray | None = None
    labels: list | None = None
    ids: list | None = None
    spread: float | None = None


def by_measure(path, label=None, embedding=None, **more):
    columns = Columns(embedding, label, "part")
    found = measure_files([path], columns=columns, permutations=0, **more)
    counts = {str(entry.label): entry.count for entry in found.classes}
    return Seen(counts, spread=found.within_class_variance.estimate)


def by_stream(path, label=None, embedding=None):
    return by_measure(path, label, embedding, stream=True, interval="exact")


def by_report(path, label=None, embedding=None):
    options = ReportOptions(columns=Columns(embedding, label, "part"))
    (case,) = build_report([path], options=options).inputs.cases
    found = case.measured[0].measurement
    counts = {str(entry.label): entry.count for entry in found.classes}
    return Seen(counts, spread=found.within_class_variance.estimate)


def by_probe(path, label=None, embedding=None):
    columns = ProbeColumns(() if embedding is None else (embedding,), ("label", "part"), label)
    found = embedded_files([path], columns)
    (matrix,) = found.layers.values()
    labels = [str(name) for name in found.targets[label or "label"].tolist()]
    return Seen(dict(Counter(labels)), matrix, labels, found.targets["part"].tolist())


def by_training(path, label=None, embedding=None):
    block = {"path": str(path), "label": label or "label", "id": "part", "split": {"test": 0}}
    if path.suffix == ".npz":
        block |= {"source": "arrays", "inputs": embedding or "z", "kind": "vector"}
    else:
        usual = "*" if path.suffix == ".csv" else "z"
        block |= {"source": "table", "vector": embedding or usual}
    data = load_data(data_config(block))
    labels = [data.label_names[code] for code in data.labels]
    vectors = data.inputs.read(np.arange(len(labels))).numpy()
    return Seen(dict(Counter(labels)), vectors, labels, data.ids.tolist())


READERS = [by_measure, by_stream, by_report, by_probe, by_training]
FORMATS = ["csv", "npz", "parquet", "parquet with class names", "hugging face"]


def check_the_same(path, rows):
    spread = measure(rows, LABELS, instances=IDS, permutations=0).within_class_variance.estimate
    for reader in READERS:
        seen = reader(path)
        assert seen.counts == dict(zip(NAMES, COUNTS, strict=True)), reader
        if seen.spread is not None:
            assert seen.spread == pytest.approx(spread, rel=1e-6), reader
        if seen.rows is not None:
            np.testing.assert_allclose(seen.rows, rows, rtol=1e-6)
            assert (seen.labels, seen.ids) == (LABELS.tolist(), IDS.tolist()), reader


@pytest.mark.parametrize("kind", FORMATS)
def test_all_read_the_same(tmp_path, rows, kind):
    check_the_same(write(tmp_path, kind, rows), rows)


def test_one_that_reads_labels_by_a_rule_of_its_own_is_seen(tmp_path, rows, monkeypatch):
    path = write(tmp_path, "csv", rows)
    monkeypatch.setattr(
        "uncollapse.data._sources.table.texts",
        lambda values: np.array([str(value).lstrip("0") for value in values], object),
    )
    with pytest.raises(AssertionError, match="by_training"):
        check_the_same(path, rows)


def test_a_reader_that_merges_labels_is_seen(tmp_path, rows, monkeypatch):
    path = write(tmp_path, "csv", rows)
    monkeypatch.setattr(
        "uncollapse.tables.rows.named_text",
        lambda column, *_: np.array([re.sub("^0+(?=.)", "", name) for name in column], object),
    )
    with pytest.raises(AssertionError, match="by_measure"):
        check_the_same(path, rows)


def errors_of(path, label=None, embedding=None):
    messages = set()
    for reader in READERS:
        with pytest.raises(InputError) as error:
            reader(path, label, embedding)
        messages.add((error.value.expected, error.value.found))
    return messages


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_column_is_the_same_error(tmp_path, rows, kind):
    path = write(tmp_path, kind, rows)
    (message,) = errors_of(path, label="species")
    assert message[0].startswith("a column 'species' in ")
    assert message[1].endswith("label, part")
    (message,) = errors_of(path, embedding="backbone")
    assert message[0].startswith("an embedding column 'backbone' in ")


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "csv"])
def test_a_file_that_is_cut_or_no_table_is_the_same_error(tmp_path, rows, kind):
    path = write(tmp_path, kind, rows)
    file = next(iter(sorted(path.glob("*.arrow")))) if path.is_dir() else path
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"no table", b""):
        file.write_bytes(damaged)
        (message,) = errors_of(path)
        assert str(file) in message[0]
        assert message[1].startswith("a file that cannot be read as one")


@pytest.mark.parametrize(
    ("kind", "column"), [("csv", "z0"), ("parquet", "z"), ("parquet with class names", "z")]
)
def test_text_among_numbers_is_the_same_error(tmp_path, rows, kind, column):
    path = write(tmp_path, kind, rows)
    if kind == "csv":
        lines = path.read_text().splitlines()
        lines[5] = "x" + lines[5][lines[5].index(",") :]
        path.write_text("\n".join(lines) + "\n")
    else:
        table = pq.read_table(path)
        pq.write_table(table.set_column(0, "z", pa.array([["a"]] * len(table))), path)
    (message,) = errors_of(path)
    assert message[0] == f"numbers in column {column!r} of {path}"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", FORMATS[:-1])  # Of a folder, measure counts the rows of one file.
def test_a_number_that_is_none_is_the_same_error(tmp_path, rows, kind, value):
    rows[[3, 30], 2] = value
    path = write(tmp_path, kind, rows)
    messages = set()
    for reader in [by_measure, by_stream, by_report, by_training]:
        with pytest.raises(InputError) as error:
            reader(path)
        messages.add((error.value.expected, error.value.found))
    expected = "2 of 47 rows with a NaN or an infinity (first: row 3)"
    assert {found for _, found in messages} == {expected}
    assert all(text.startswith("finite numbers in column 'z") for text, _ in messages)
    assert all(f" of {tmp_path}" in text for text, _ in messages)
    with pytest.raises(InputError, match=r"2 of 47 rows with a NaN or an infinity \(first: row 3"):
        probe(embedded_files([path], ProbeColumns((), ("label",), "label")))


def test_lists_of_several_lengths_are_the_same_error(tmp_path, rows):
    path = write(tmp_path, "parquet", rows)
    table = pq.read_table(path)
    ragged = pa.array([row[: 5 if k == 3 else 6] for k, row in enumerate(rows.tolist())])
    pq.write_table(table.set_column(0, "z", ragged), path)
    (message,) = errors_of(path)
    assert message == (
        f"lists of one length (6) in column 'z' of {path}",
        "1 of 47 rows of another (first: row 3, length 5)",
    )


def test_names_of_a_csv_file_are_text_in_the_order_of_their_numbers(tmp_path, rows):
    path = write(tmp_path, "csv", rows, LABELS == "7")
    text = path.read_text().replace("False", "10").replace("True", "2")
    path.write_text(text)
    found = measure_files([path], columns=Columns(instance="part"), permutations=0)
    assert [entry.label for entry in found.classes] == ["2", "10"]
    assert by_training(path).counts == {"2": 12, "10": 35}
