"""Two columns of one name, and names that no file can have: one sentence, exit code 2."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import call


@pytest.mark.parametrize("name", ["split", "id"])
def test_a_column_that_stands_there_twice_is_refused_by_its_name(name, tmp_path):
    columns = [[[1.0, 2], [2, 1], [1, 3], [4, 1]], list("aabb"), list("wxyz"), list("wxyz")]
    names = ["embedding", "label", name, name]
    if name == "split":
        columns[2] = columns[3] = ["test"] * 4
    pq.write_table(pa.table([pa.array(c) for c in columns], names), tmp_path / "t.parquet")
    key = ("--rows", str(tmp_path / "rows.parquet")) if name == "id" else ()
    done = call("measure", str(tmp_path / "t.parquet"), *key)
    assert done.returncode == 2
    assert f"one column '{name}'" in done.stderr


def test_a_path_that_no_file_can_have_is_refused(tmp_path):
    for words in (("measure", "x" * 5000 + ".npz"), ("train", "x" * 5000, "-o", "new")):
        done = call(*words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
