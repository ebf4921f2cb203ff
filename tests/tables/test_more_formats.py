"""Feather, JSON lines, TSV, packed text, vectors as text, named folders, stdin and addresses."""

import gzip
import io
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from command_line import call
from uncollapse.errors import InputError
from uncollapse.metrics import measure_files
from uncollapse.tables import Columns, open_shards

COLUMNS = Columns(embedding="z", label="kind")
LABELS = np.repeat(["ant", "bee", "007", "-2"], 12)


@pytest.fixture
def rows(rng):
    return np.repeat(np.eye(4, 5), 12, axis=0) + 0.3 * rng.standard_normal((48, 5))


@pytest.fixture
def table(rows):
    return pa.table({"z": rows.tolist(), "kind": LABELS.tolist()})


def read(path, columns=COLUMNS):
    """Vectors and labels of all shards, as every command has them."""
    parts = [part for shard in open_shards(path) for part in shard.read(["z"], ["kind"], 1 << 16)]
    return np.concatenate([p["z"] for p in parts]), np.concatenate([p["kind"] for p in parts])


def check(path, rows):
    vectors, labels = read(path)
    np.testing.assert_allclose(vectors, rows, rtol=1e-12)
    assert labels.tolist() == LABELS.tolist()


def lines(rows, **more):
    both = zip(rows.tolist(), LABELS, strict=True)
    records = ({"z": z, "kind": kind, **more} for z, kind in both)
    return "\n".join(json.dumps(record) for record in records) + "\n"


WRITTEN = {
    "a list": str,
    "numbers": lambda row: " ".join(map(str, row)),
    "semicolons": lambda row: "; ".join(map(str, row)),
    "numpy": lambda row: str(np.array(row)),  # over several lines
    "postgres": lambda row: "{" + ",".join(map(str, row)) + "}",
}


def text(rows, written="a list", between=","):
    cells = [
        f'{kind}{between}"{WRITTEN[written](z)}"'
        for z, kind in zip(rows.tolist(), LABELS, strict=True)
    ]
    return "\n".join([f"kind{between}z", *cells]) + "\n"


def packed(path, content):
    kind = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    with pa.output_stream(str(path), compression=kind) as file:
        file.write(content.encode())
    return path


@pytest.mark.parametrize("name", ["r.feather", "r.ipc", "r.arrow", "r.arrows"])
def test_files_of_arrow(name, table, rows, tmp_path):
    pyarrow.feather.write_feather(table, tmp_path / name, compression="zstd")
    check(tmp_path / name, rows)


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst"])
def test_json_lines(ending, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("uncollapse.tables.json_lines._BLOCK", 1000)  # of many pieces
    check(packed(tmp_path / f"r{ending}", lines(rows)), rows)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".tsv.zst"])
@pytest.mark.parametrize("written", WRITTEN)
def test_vectors_as_text(written, ending, rows, tmp_path):
    rows = rows.round(4)  # as numpy prints them
    between = "\t" if "tsv" in ending else ","
    check(packed(tmp_path / f"r{ending}", text(rows, written, between)), rows)


def test_names_stay_what_is_written(rows, tmp_path):
    path = packed(tmp_path / "r.jsonl", lines(rows, day="2024-01-01", number=7))
    (shard,) = open_shards(path)
    part = next(shard.read([], ["day", "number"], 100))
    assert (part["day"][0], part["number"][0]) == ("2024-01-01", 7)
    path = packed(tmp_path / "r.csv", 'label,day,e0,e1\na,"1 2",1,0\nb,2024 01 02,0,1\n')
    (shard,) = open_shards(path)
    assert [column.kind for column in shard.columns] == ["name", "name", "number", "number"]


def test_a_folder_named_for_values(table, rows, tmp_path):
    site = pa.array(["a/b", None] * 24)
    pa.dataset.write_dataset(
        table.append_column("site", site),
        tmp_path / "set",
        format="parquet",
        partitioning=["kind", "site"],
        partitioning_flavor="hive",
    )
    columns = Columns(embedding="z", label="kind", slices=("site",), text=("kind",))
    found = measure_files(tmp_path / "set", columns=columns, drop_invalid=True)
    assert [entry.label for entry in found.classes] == ["-2", "007", "ant", "bee"]
    assert found.conditions.samples == 48
    whole = measure_files(table, columns=COLUMNS)
    assert found.share.estimate == pytest.approx(whole.share.estimate, rel=1e-12)
    assert list(found.slices["site"].values) == ["a/b"]
    memory = fsspec.filesystem("memory")
    memory.put(f"{tmp_path / 'set'}/", "/set", recursive=True)
    memory.pipe(
        {"/set/_SUCCESS.txt": b"", "/set/.crc/part-0.parquet": b"x", "/set/log/a.csv": b"x"}
    )
    there = measure_files("memory://set", columns=columns, drop_invalid=True)
    assert (there.share, there.classes, there.slices) == (found.share, found.classes, found.slices)


def test_rows_on_the_standard_input(table, rows, tmp_path, monkeypatch):
    pq.write_table(table, tmp_path / "r.parquet")
    held = {
        "parquet": (tmp_path / "r.parquet").read_bytes(),
        "lines": lines(rows).encode(),
        "packed": gzip.compress(text(rows, between="\t").encode()),
    }
    for content in held.values():
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=bool))
        check("-", rows)
    monkeypatch.setattr(
        "sys.stdin", SimpleNamespace(buffer=io.BytesIO(held["packed"]), isatty=bool)
    )
    done = call("measure", "-", "--embedding", "z", "--label", "species", "--json")
    assert done.returncode == 2
    assert "a column 'species' in stdin; found columns kind, z" in done.stderr
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\0\1"), isatty=bool))
    with pytest.raises(InputError, match="a known format from stdin"):
        measure_files("-")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_addresses_of_fsspec(table, rows, tmp_path):
    pq.write_table(table.slice(0, 20), tmp_path / "part-2.parquet")
    pq.write_table(table.slice(20), tmp_path / "part-10.parquet")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "part-2.parquet"), "/rows/")
    memory.put(str(tmp_path / "part-10.parquet"), "/rows/")
    check("memory://rows", rows)
    check("memory://rows/part-*.parquet", rows)
    with pytest.raises(InputError, match=r"files in .*; found none"):
        measure_files("memory://rows/*.csv")
    quiet = partial(Quiet, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        packed(tmp_path / "rows.csv.gz", text(rows))
        check(f"{place}/rows.csv.gz?token=secret", rows)
        with pytest.raises(InputError, match="FileNotFoundError") as error:
            measure_files(f"{place}/none.parquet?token=secret")
        assert "secret" not in str(error.value)
        server.shutdown()


def test_an_address_that_a_file_names_is_a_path():
    for address in ("memory://rows", "https://127.0.0.1:9/rows.npz", "-"):
        with pytest.raises(InputError, match="a file or folder at"):
            open_shards(address, local=True)


def test_another_scheme_is_said():
    with pytest.raises(InputError, match=r"an address at s3://.*; found ftp://; copy it"):
        measure_files("ftp://host/rows.parquet")


def test_a_scheme_without_its_package_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(InputError, match=r"fsspec and s3fs, .* s3://.*pip install fsspec s3"):
        measure_files("s3://bucket/rows.parquet")


BAD = {
    "r.jsonl": {
        "": "rows in .*; found none",
        '{"z": [1, 2], "kind": "a"}\n{"z": [1, "x"], "kind": "a"}\n': "table of JSON lines in",
        '{"z": [1, 2], "kind": "a"}\n{"z": [1], "kind": "a"}\n': r"lists of one length \([12]\)",
        '{"z": [1, 2], "kind": "a"}\n{"z": [1, 3], "kind": 7}\n': "from string to number",
        "[" * 100_000: "more than 64 deep",
        '{"a":' * 100_000: "more than 64 deep",
        '{"z": 1, "b":\n' * 100_000: "more than 64 deep",
        "no JSON at all": "table of JSON lines in",
    },
    "r.csv": {
        'kind,z\na,"[1, 2]"\nb,"[1, x]"\n': r"numbers in column 'z' of .*'x' in row 1",
        'kind,z\na,"[1. 2. ... 3. 4.]"\n': "the ends of the vectors alone",
        'kind,z\na,"[1, 2]"\nb,"[1]"\n': r"lists of one length \([12]\)",
    },
}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [(name, content, words) for name, held in BAD.items() for content, words in held.items()],
)
def test_what_cannot_be_read_is_said(name, content, words, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words):
        measure_files(tmp_path / name, columns=COLUMNS)


@pytest.mark.parametrize("ending", [".csv.gz", ".jsonl.zst"])
def test_what_unpacks_without_end_is_refused(ending, tmp_path, monkeypatch):
    monkeypatch.setattr("uncollapse.tables._unpacked._FREE_BYTES", 1 << 20)
    row = "a,0.5,0.5\n" if "csv" in ending else '{"kind": "a", "z": [0.5, 0.5]}\n'
    head = "kind,e0,e1\n" if "csv" in ending else ""
    path = packed(tmp_path / f"r{ending}", head + row * 400_000)
    with pytest.raises(InputError, match="at most 200 bytes of text for each"):
        measure_files(path, columns=Columns(label="kind"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError):
        measure_files(path, columns=Columns(label="kind"))


def test_a_journal_beside_shards_is_no_shard(table, rows, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    check(tmp_path, rows)
