"""What a header declares is held against the bytes that are there before memory is asked for."""

import json
import os
import struct
import tracemalloc
import zipfile
from collections import Counter
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from declared import TENSORS, arrays, npy_file, npz_file, parquet_file, safetensors_file
from uncollapse.errors import InputError
from uncollapse.metrics import measure_files
from uncollapse.tables import Columns, open_arrays, open_shards

LABELS = np.repeat([0, 1, 2], 20).astype("<i8").tobytes()
LABEL = npy_file("<i8", "(60,)", LABELS)
ROWS = arrays()["embedding"].tobytes()


def refused(path, data, words):
    """The sentence's words; NumPy and Python may not ask for memory on the way."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=words):
            measure_files([path], columns=Columns(label="label"), permutations=0)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("said", TENSORS.values(), ids=TENSORS)
def test_tensors_that_a_file_does_not_hold(tmp_path, said):
    data = safetensors_file("embedding", arrays(), said)
    refused(tmp_path / "t.safetensors", data, "expected named tensors")


@pytest.mark.parametrize("length", [10**12, 2**64 - 1, 200_000_000])
def test_a_header_longer_than_its_file(tmp_path, length):
    data = safetensors_file("embedding", arrays(), {})
    refused(tmp_path / "t.safetensors", struct.pack("<Q", length) + data[8:], "header too large")


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"more"])
def test_tensors_end_with_their_file(tmp_path, change):
    data = safetensors_file("embedding", arrays(), {})
    refused(tmp_path / "t.safetensors", change(data), "not fully covered")


@pytest.mark.parametrize("kind", ["<f4", "<U100000000", "|S0", "<c16"])
@pytest.mark.parametrize("shape", ["(1000000000000, 5)", "(4611686018427387904, 4)", "(61, 5)"])
def test_arrays_that_a_file_does_not_hold(tmp_path, kind, shape):
    for role in ("embedding", "other"):
        members = {"embedding": npy_file("<f4", "(60, 5)", ROWS), "label": LABEL}
        members[role] = npy_file(kind, shape, ROWS)
        refused(tmp_path / "a.npz", npz_file(members), f"an array named '{role}'")
    refused(tmp_path / "a.npy", members["other"], "an array of rows")


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(60,)"])
def test_text_without_letters_takes_no_memory(tmp_path, shape):
    """Of no bytes there are 10^12 in an empty file."""
    members = {"embedding": npy_file("<f4", shape[:-1] + "0)"), "label": npy_file("<U0", shape)}
    refused(tmp_path / "a.npz", npz_file(members), "an array named 'label'")


def test_members_that_unpack_to_more_than_their_bytes_can(tmp_path):
    """The archive's list says that 10^9 bytes are packed in so many that it is not that long."""
    parts = {"embedding": npy_file("<f4", "(10000000000, 5)", bytes(1200)), "label": LABEL}
    data = bytearray(npz_file(parts, zipfile.ZIP_DEFLATED))
    at = data.index(b"PK\x01\x02")
    for packed, words in ((100, "declared in 100"), (4_000_000_000, f"declared in {len(data):,}")):
        data[at + 20 : at + 28] = struct.pack("<2I", packed, 4_000_000_000)
        refused(tmp_path / "a.npz", bytes(data), words)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_cannot_be_unpacked_is_refused(tmp_path, method):
    data = npz_file({"embedding": npy_file("<f4", "(60, 5)", ROWS), "label": LABEL}, method)
    place = data.index(b"embedding.npy") + 40
    damaged = data[:place] + b"\xff" * 200 + data[place + 200 :]
    refused(tmp_path / "a.npz", damaged, "an array named 'embedding'")


@pytest.mark.parametrize(
    ("said", "places"),
    [(10**12, slice(1)), (2**60, slice(1)), (100, slice(1)), (10**12, slice(0, None))],
    ids=["many", "most", "few", "many throughout"],
)
def test_rows_that_a_table_does_not_hold(tmp_path, said, places):
    data = parquet_file(1234, said, places)
    refused(tmp_path / "t.parquet", data, f"1,234 rows where its footer declares {said:,}")


@pytest.mark.parametrize("said", [100, 10**12])
def test_rows_that_no_group_of_a_table_names(tmp_path, said):
    """Arrow reads the rows of the groups, and says nothing of a thousand that are missing."""
    data = parquet_file(1234, said, slice(1, None))
    refused(tmp_path / "t.parquet", data, f"{said:,} rows where its footer declares 1,234")


def test_tables_of_no_rows_and_of_no_numbers_of_views(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)
    with pytest.raises(InputError, match="no rows"):
        open_shards([path])[0].encoded("image")
    about = {"kind": "embeddings", "plain_first": True, "views": 2}
    for views in ([0, None, 1, 2], ["0", "1", "0", "1"]):
        table = pa.table({"z": [[1.0, 2.0]] * 4, "label": [0, 1, 0, 1], "view": views})
        table = table.replace_schema_metadata({"uncollapse": json.dumps(about)})
        pq.write_table(table, path)
        with pytest.raises(InputError, match="numbers of views in column 'view'"):
            measure_files([path], permutations=0)


@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "parquet", "arrow", "safetensors"])
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path, ending):
    os.mkfifo(tmp_path / f"a.{ending}")
    with pytest.raises(InputError, match="a pipe or a device"):
        measure_files([tmp_path], permutations=0)
    if ending == "npy":
        with pytest.raises(InputError, match="a pipe, a device or a folder"):
            open_arrays(tmp_path)


def test_an_archive_of_3000_arrays_is_opened_once(tmp_path):
    """To read its list for every array takes minutes, the more the more there are."""
    counts = []
    for number in (30, 3000):
        path, count = tmp_path / f"{number}.npz", Counter()
        np.savez(path, **arrays(), **{f"c{k}": np.zeros(60) for k in range(number)})
        with (
            mock.patch.object(
                zipfile.ZipFile,
                "__init__",
                _counted(zipfile.ZipFile.__init__, count, "archive"),
            ),
            mock.patch.object(
                zipfile.ZipFile, "open", _counted(zipfile.ZipFile.open, count, "member")
            ),
        ):
            measure_files([path], permutations=0)
        counts.append((count["archive"], count["member"] - number))
    assert counts[0] == counts[1]  # every array's header once, whatever else is opened
    assert counts[1][0] <= 2


def _counted(call, count, name):
    def counting(*given, **options):
        count[name] += 1
        return call(*given, **options)

    return counting
