"""Every command knows the same names of splits, and says which rows it judged."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uncollapse.errors import InputError
from uncollapse.metrics import accumulate_files, load_state, measure_files, save_state
from uncollapse.probes import ProbeColumns, embedded_files, probe
from uncollapse.report import build_report
from uncollapse.tables import part_of


@pytest.fixture
def write(tmp_path, rng):
    """200 collapsed rows of one part, the first of every three, and 400 spread ones of another."""
    labels = np.repeat(np.arange(4), 150)
    apart = np.arange(600) % 3 == 0
    rows = np.eye(4, 8)[labels] + np.where(apart, 1e-3, 1)[:, None] * rng.standard_normal((600, 8))

    def written(part, other="train", name="d.parquet"):
        split = [part if here else other for here in apart]
        table = pa.table({"embedding": rows.tolist(), "label": labels.tolist(), "split": split})
        pq.write_table(table, tmp_path / name)
        return tmp_path / name

    return written


WORDS = ["test", "TEST", "testing", "val", "Val", "valid", "validation", "dev"]


@pytest.mark.parametrize("word", WORDS)
def test_every_command_judges_the_rows_that_chose_nothing(write, word):
    path = write(word)
    for stream in (False, True):
        found = measure_files([path], stream=stream, permutations=0)
        assert (found.verdict, found.conditions.samples) == ("collapsed", 200)
        assert found.conditions.split == part_of(word)
    (case,) = build_report([path]).inputs.cases
    measured = case.measured[0]
    assert (measured.measurement.verdict, measured.split) == ("collapsed", part_of(word))
    embedded = embedded_files([path], ProbeColumns(label="label"))
    if part_of(word) == "test":
        assert probe(embedded).targets[0].sizes.test == 200
    else:
        with pytest.raises(InputError, match="expected test rows; found splits"):
            probe(embedded)


def test_the_part_that_is_named_is_measured_and_said(write):
    path = write("test", "Training")
    for split, rows in (("train", 400), ("test", 200), ("all", 600)):
        found = measure_files([path], split=split, permutations=0)
        assert (found.conditions.samples, found.conditions.split) == (rows, split)
        assert f"split {split}" in str(found)
    with pytest.raises(InputError, match=r"rows of split dev in column 'split' of .*; found Train"):
        measure_files([path], split="dev")


def test_words_beside_those_for_parts_are_refused_and_other_columns_of_that_name_are_none(write):
    with pytest.raises(InputError, match=r"test in column 'split' of .*; found 'holdout'; "):
        measure_files([write("test", "holdout")])
    with pytest.raises(InputError, match="'holdout'"):
        build_report([write("test", "holdout")])
    path = write("fold 1", "fold 2")
    found = measure_files([path], permutations=0)
    assert (found.conditions.samples, found.conditions.split) == (600, None)
    assert "all rows judged: no split was named" in str(found)
    assert measure_files([path], split="fold 1", permutations=0).verdict == "collapsed"


def test_a_state_keeps_the_name_of_its_rows(write, tmp_path):
    state = accumulate_files([write("dev")])
    save_state(state, tmp_path / "state.npz")
    found = load_state(tmp_path / "state.npz").measurement()
    assert (found.verdict, found.conditions.split) == ("collapsed", "validation")
    assert measure_files([tmp_path / "state.npz"]).conditions.split == "validation"


def test_faulty_rows_are_counted_among_those_that_are_judged(write):
    path = write("test")
    table = pq.read_table(path)
    rows = np.array(table["embedding"].to_pylist())
    rows[[1, 3, 6]] = np.nan  # Row 1 is for training.
    pq.write_table(table.set_column(0, "embedding", pa.array(rows.tolist())), path)
    with pytest.raises(InputError, match=r"split test; found 2 of 200 rows .*first: row 1\)"):
        measure_files([path])
