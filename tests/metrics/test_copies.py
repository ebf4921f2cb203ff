"""Exact copies are counted, said, kept together, and no evidence of anything twice."""

import numpy as np
import pytest

from uncollapse.metrics import Accumulator, load_state, measure, save_state
from uncollapse.probes import Embedded, ProbeOptions, probe
from uncollapse.samples import CopyCounter, row_hashes, row_norms

TIMES = 5


@pytest.fixture
def noise(rng):
    """Rows, labels and finer labels that know nothing of each other."""
    return rng.standard_normal((240, 16)), rng.integers(0, 3, 240), rng.integers(0, 2, 240)


def repeated(rng, *columns):
    order = rng.permutation(TIMES * len(columns[0]))
    return [np.repeat(column, TIMES, axis=0)[order] for column in columns]


@pytest.mark.parametrize("views", [False, True])
def test_numbers_and_intervals_are_those_of_the_distinct_rows(rng, noise, views):
    rows, labels, _ = noise
    plain = measure(rows, labels, permutations=0)
    many, theirs = repeated(rng, rows, labels)
    instances = np.arange(len(many)) if views else None
    found = measure(many, theirs, instances=instances, permutations=0)
    for name in ("within_class_variance", "between_class_variance", "total_variance", "share"):
        a, b = plain[name], found[name]
        assert (b.estimate, b.low, b.high) == pytest.approx((a.estimate, a.low, a.high), rel=1e-9)
    assert (plain.conditions.copies, found.conditions.copies) == (0, 960)
    assert found.conditions.units == 240
    reason = {one.code: one for one in found.reasons}["UC507"]
    assert reason.text.startswith("960 of 1200 rows are exact copies of other rows")
    assert "UC507" not in {one.code for one in plain.reasons}
    assert {"UC502"} <= {one.code for one in found.reasons}


@pytest.mark.parametrize("instances", [False, True])
def test_random_finer_labels_are_not_read_from_copies(rng, noise, instances):
    rows, labels, fine = repeated(rng, *noise)
    names = np.arange(len(rows)) if instances else None
    options = ProbeOptions(permutations=0)
    found = measure(
        rows, labels, instances=names, fine_labels=fine, probe=options, permutations=0
    ).probe
    # Rows taken for independent give 1.000 for the neighbours.
    assert found.knn.estimate < 0.4
    assert found.knn.low < 0
    record = probe(
        Embedded({"z": rows}, {"label": labels, "fine": fine}, label="label"),
        settings=ProbeOptions(shots=(1,), draws=3),
    )
    target = record.target("z", "fine")
    assert target.notes[0] == (
        "960 of 1200 rows are exact copies of other rows; copies of a row lie in one split"
    )
    for name in ("linear", "knn", "within-class knn"):
        score = target.reading(name).score.chance_corrected
        assert score.estimate < 0.45
        assert score.low < 0 < score.high - score.low - 0.2


def test_copies_between_splits_that_were_given_are_named(rng, noise):
    rows, labels, _ = noise
    rows[220:] = rows[:20]
    labels[220:] = labels[:20]
    split = np.where(np.arange(240) < 200, "train", "test")
    record = probe(
        Embedded({"z": rows}, {"label": labels}, split, label="label"),
        settings=ProbeOptions(shots=(1,), draws=3),
    )
    assert record.targets[0].notes[0] == (
        "20 of 240 rows are exact copies of other rows; 20 test rows are copies of training or "
        "validation rows, and are known"
    )


def test_collapse_to_points_is_collapse(rng):
    labels = np.repeat([0, 1, 2], 100)
    for points in (1, 2, 4):
        which = np.where(rng.random(300) < 0.02, rng.integers(0, points, 300), 0)
        rows = rng.standard_normal((3, points, 8))[labels, which]
        found = measure(rows, labels, permutations=0)
        codes = [one.code for one in found.reasons]
        assert "UC507" in codes
        if points == 1:
            assert found.verdict == "collapsed"
        assert found.conditions.units == 300  # no heap of equal rows is taken for one draw
    spread = rng.standard_normal((300, 8))
    heap = np.arange(300) % 100 < 40  # a slice that is one point in each class
    spread[heap] = rng.standard_normal((3, 8))[labels[heap]]
    found = measure(spread, labels, slices={"site": heap}, permutations=0)
    assert found.slices["site"].values["True"].verdict == "collapsed"
    assert "UC208" in {one.code for one in found.reasons}


def test_views_that_are_alike_are_no_copies(rng, noise):
    rows, labels, _ = noise
    twice = np.repeat(rows[:, None], 2, axis=1)
    assert measure(twice, labels, permutations=0).conditions.copies == 0


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i8"])
def test_hashes_are_those_of_the_bytes(rng, dtype):
    rows = rng.integers(0, 3, (20_000, 7)).astype(dtype)
    different = len(np.unique(rows, axis=0))
    assert len(np.unique(row_hashes(rows))) == different


@pytest.mark.parametrize("interval", ["exact", "blocks"])
def test_a_stream_counts_the_copies_of_all_its_parts(rng, noise, tmp_path, interval):
    rows, labels = repeated(rng, *noise[:2])
    parts = [Accumulator(interval) for _ in range(2)]
    for k, at in enumerate(np.array_split(np.arange(1200), 7)):
        parts[k % 2].update(rows[at], labels[at])
    save_state(parts[1], tmp_path / "state.npz")
    parts[0].merge(load_state(tmp_path / "state.npz"))
    found = parts[0].measurement()
    assert found.conditions.copies == 960
    assert "a stream counts each by itself" in str(found)


def test_a_long_stream_counts_copies_in_bounded_memory(rng):
    counter = CopyCounter(most=1000)
    rows = rng.standard_normal((30_000, 4))
    for start in range(0, 30_000, 5000):
        part = rows[start : start + 5000]
        counter.add(part, row_norms(part))
        assert counter.extra == 0
    counter.add(rows[:15_000], row_norms(rows[:15_000]))
    assert counter.array().shape[1] <= 1000
    assert counter.extra == pytest.approx(15_000, rel=0.15)
