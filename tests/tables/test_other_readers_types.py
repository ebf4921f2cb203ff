"""Names and columns from the readers that came last: folders by value, Arrow, lists, JSON lines."""

import json
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from uncollapse.errors import InputError
from uncollapse.metrics import measure, measure_files
from uncollapse.probes import ProbeColumns, embedded_files
from uncollapse.tables import Columns, embedding_columns
from uncollapse.tables._shard import Column

LABELS = np.repeat(np.arange(4), 12)


@pytest.fixture
def rows(rng):
    return np.repeat(np.eye(4, 6), 12, axis=0) + 0.3 * rng.standard_normal((48, 6))


def names_of(found):
    return [one.label for one in found.classes]


def csv_of(path, rows, **columns):
    wide = pd.DataFrame(rows, columns=[f"e{k}" for k in range(rows.shape[1])])
    path.parent.mkdir(parents=True, exist_ok=True)
    wide.assign(**columns).to_csv(path, index=False)


def json_lines_of(path, rows, labels):
    lines = zip(rows.tolist(), labels, strict=True)
    path.write_text("".join(f'{{"z": {json.dumps(z)}, "label": {y}}}\n' for z, y in lines))


def test_minus_one_marks_rows_in_folders_by_value_and_as_written_by_pandas(tmp_path, rows):
    for value in range(4):
        label = -1 if value == 3 else value
        mine = value == LABELS
        csv_of(tmp_path / f"keys/label={label}/p.csv", rows[mine])
        csv_of(tmp_path / f"inside/site={value % 2}/{value}.csv", rows[mine], label=label)
    csv_of(tmp_path / "floats.csv", rows, label=np.where(LABELS == 3, -1.0, LABELS))
    for name in ("keys", "inside", "floats.csv"):
        found = measure_files([tmp_path / name], permutations=0)
        assert found.conditions.dropped == {"unlabelled": 12}, name
    (tmp_path / "keys/label=-1").rename(tmp_path / "keys/label=-100")
    csv_of(tmp_path / "floats.csv", rows, label=np.where(LABELS == 3, -100.0, LABELS))
    for name in ("keys", "floats.csv"):
        with pytest.raises(InputError, match="-100 in 12 of 48 rows"):
            measure_files([tmp_path / name])


def test_integers_beyond_what_a_float_distinguishes_are_never_merged(tmp_path, rows):
    large = [2**63 + 5 + int(k) for k in LABELS]
    json_lines_of(tmp_path / "r.jsonl", rows, large)
    with pytest.raises(InputError, match="several whole numbers"):
        measure_files([tmp_path / "r.jsonl"])
    for given in ([float(k) for k in large], np.array([2**24 + k for k in LABELS], np.float32)):
        with pytest.raises(InputError, match="several whole numbers"):
            measure(rows, given)
    assert len(names_of(measure(rows, large, permutations=0))) == 4
    mixed = [*large[:36], *[-1] * 12]  # numpy makes floats of these
    assert len(names_of(measure(rows, mixed, permutations=0))) == 3


def test_a_list_of_several_types_stays_what_it_holds(rows):
    for pair in ((1, "1"), (1.5, "1.5"), (1, True)):
        assert len(names_of(measure(rows, [pair[k % 2] for k in range(48)], permutations=0))) == 2


def test_columns_of_polars_and_pandas_that_arrow_has_no_names_for(rows):
    named = pl.Series(np.array(["1.1", "1.10", "01", "NA"])[LABELS])
    for kind in (pl.Categorical, pl.Enum(["1.1", "1.10", "01", "NA"])):
        table = pl.DataFrame({"z": rows.tolist(), "label": named.cast(kind)})
        for found in (measure(table, "label"), measure(rows, table["label"])):
            assert set(names_of(found)) == {"1.1", "1.10", "01", "NA"}
    objects = pl.Series("label", [str(k) for k in LABELS], dtype=pl.Object)
    for given in ((pl.DataFrame({"z": rows.tolist()}).with_columns(objects),), (rows, objects)):
        with pytest.raises(InputError, match="cast them to String"):
            measure(*given)
    with pytest.raises(InputError, match="a table of columns"):
        measure(pd.DataFrame({"z": list(rows), "label": [10**20 + int(k) for k in LABELS]}))


@pytest.mark.parametrize(
    ("embedding", "label", "said"),
    [
        ("e*", "e5", "'e5' among e0..e5"),
        (None, "e5", "'e5' among e0..e5"),
        ("e0,e1,nope", "label", "'nope'"),
        ("e0,e0", "label", "'e0' twice"),
        ("z*", "label", "the vectors 'z1'"),
        ("e0,z1", "label", "the vectors 'z1'"),
    ],
)
def test_columns_that_make_no_embedding_are_refused_by_name(tmp_path, rows, embedding, label, said):
    table = pd.DataFrame({f"e{k}": rows[:, k] for k in range(5)}).assign(e5=LABELS, label=LABELS)
    if embedding:
        table = table.assign(z1=list(rows), z2=list(rows))
    table.to_parquet(tmp_path / "r.parquet")
    with pytest.raises(InputError, match=said):
        measure_files([tmp_path / "r.parquet"], columns=Columns(embedding, label))


def test_many_columns_take_seconds():
    shard = SimpleNamespace(
        path=Path("wide.csv"), columns=[Column(f"e{k}", "number") for k in range(50_000)]
    )
    began = perf_counter()
    assert len(embedding_columns(shard, "e*")) == 50_000
    assert perf_counter() - began < 5


def test_probe_reads_folders_by_value(tmp_path, rows):
    for part in ("train", "test"):
        csv_of(tmp_path / f"rows/split={part}/p.csv", rows, label=LABELS)
    read = embedded_files([tmp_path / "rows"], ProbeColumns(targets=("label",)))
    assert sorted(set(read.split.tolist())) == ["test", "train"]


def test_a_state_is_not_called_by_another_part(tmp_path, rows):
    from uncollapse.metrics import accumulate_files, save_state

    csv_of(tmp_path / "r.csv", rows, label=LABELS, split=["Test", "train"] * 24)
    state = accumulate_files([tmp_path / "r.csv"])
    save_state(state, tmp_path / "state.npz")
    assert measure_files([tmp_path / "state.npz"], split="testing").conditions.split
    with pytest.raises(InputError, match="those of test"):
        measure_files([tmp_path / "state.npz"], split="train")


def test_rows_alike_but_for_the_sign_of_a_zero_are_copies(rows):
    twice = np.repeat(rows, 2, axis=0)
    twice[:, 5] = np.tile([0.0, -0.0], 48)
    assert measure(twice, np.repeat(LABELS, 2), permutations=0).conditions.copies == 48
