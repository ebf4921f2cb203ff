"""A short seed of `make attack`, and proof that the attackers can find something."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attacks.bytes_edits import FAMILIES
from attacks.fuzz import Tally
from attacks.oracle import rows, spread
from attacks.table_edits import ARROW, PARQUET
from attacks.tree_edits import TREE, finished, yaml_edit

TESTS = Path(__file__).parents[1]


def test_edits_depend_on_their_seed_alone_and_change_something():
    data = bytes(range(256)) * 3
    for edits in FAMILIES.values():
        for edit in edits:
            made = [edit(data, np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4)]
            assert made[0] == made[1]
            assert any(each != data for each in made)
    for change in TREE:
        tree = [json.dumps(change({"a": [1, {"b": "c"}]}, np.random.default_rng(5)))] * 2
        assert finished(tree[0]) == finished(tree[1])


def test_edits_of_tables_make_other_tables():
    """What an edit raises is passed over when a mutant is made, so that one may never work."""
    table = pa.table({"label": [1, 2, 3] * 9, "e0": [0.5, 1, 2] * 9})
    pq.write_table(table, parquet := io.BytesIO())
    with pa.ipc.new_stream(arrow := io.BytesIO(), table.schema) as writer:
        writer.write_table(table)
    for edits, data in ((PARQUET, parquet.getvalue()), (ARROW, arrow.getvalue())):
        for edit in edits:
            held = {edit(data, np.random.default_rng(seed)) for seed in range(6)}
            assert len(held - {data}) > 2


def test_yaml_of_aliases_of_aliases_is_not_walked():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    data = "\n".join(lines).encode()
    assert yaml_edit(TREE[0])(data, np.random.default_rng(1)) == data


def test_the_oracle_sees_a_wrong_number(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    labels = np.repeat(["a", "b"], 15)
    np.savez(tmp_path / "rows.npz", embedding=vectors, label=labels)
    known = spread(vectors, labels)
    classes = [{"count": n, "within_class_variance": {"plug_in": value}} for n, value in known]
    assert rows(tmp_path, "rows.npz", {"classes": classes}) == ""
    classes[0]["within_class_variance"]["plug_in"] += 1e-3
    assert rows(tmp_path, "rows.npz", {"classes": classes}).startswith("classes")


def test_every_fault_is_counted():
    tally = Tally()
    line = {"kind": "json", "mutant": "m", "code": 0, "seconds": 1.0, "megabytes": 5.0}
    tally.add(line | {"checked": "", "faults": {}})
    tally.add(line | {"code": 70, "checked": "-", "faults": {"traceback": "KeyError"}})
    assert (tally.counts["mutants"], tally.counts["accepted"], tally.faults) == (2, 1, 1)


@pytest.mark.case
def test_a_short_seed_of_the_attackers_finds_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "attacks", "--mutants", "100", "--kills", "10", "--seed", "7"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "lost or different" in done.stdout
