"""Exact copies are counted, said, kept together, and no evidence of anything twice."""

import numpy as np
import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, load_state, measure, save_state
from uncollapse.monitor import CollapseMetric
from uncollapse.probes import Embedded, ProbeOptions, probe
from uncollapse.samples import CopyCounter, row_hashes, row_keys, row_norms

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


def streamed(rows, labels, path, interval="exact", **columns):
    """Two streams of parts, one of them saved, as one."""
    parts = [Accumulator(interval) for _ in range(2)]
    for k, at in enumerate(np.array_split(np.arange(len(rows)), 7)):
        own = {name: values[at] for name, values in columns.items()}
        parts[k % 2].update(rows[at], labels[at], **own)
    save_state(parts[1], path)
    parts[0].merge(load_state(path))
    return parts[0].measurement(permutations=0)


@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_a_stream_has_the_interval_of_one_call(rng, noise, tmp_path, large, instances):
    """Of classes that are kept as rows whatever is repeated, of others that are kept as sums."""
    rows, labels = noise[:2]
    if large:
        rows, labels = repeated(rng, rows[:, :4], labels)
    else:
        times = rng.integers(1, 4, 60)  # a class of at most 22 units keeps them
        rows, labels = (
            np.repeat(column[:60], times, axis=0) for column in (rows, np.arange(60) % 6)
        )
        rows = np.tile(rows, (1, 2))
    names = {"instances": np.arange(len(rows))} if instances else {}
    expected = measure(rows, labels, permutations=0, **names)
    found = streamed(rows, labels, tmp_path / "state.npz", **names)
    assert found.conditions.copies == expected.conditions.copies > 0
    assert found.conditions.units == expected.conditions.units
    for name in ("within_class_variance", "between_class_variance", "total_variance", "share"):
        a, b = expected[name], found[name]
        assert (b.estimate, b.low, b.high) == pytest.approx((a.estimate, a.low, a.high), rel=1e-9)
    for one, other in zip(expected.classes, found.classes, strict=True):
        assert other.share.low == pytest.approx(one.share.low, rel=1e-9)
    assert [one.text for one in found.reasons] == [one.text for one in expected.reasons]


def test_groups_of_a_stream_are_linked_by_copies(rng, noise, tmp_path):
    rows, labels = noise[:2]
    groups = np.arange(240) // 3
    rows = np.concatenate([rows, rows[:90]])  # 30 groups that are there under other names
    labels, groups = np.r_[labels, labels[:90]], np.r_[groups, 100 + groups[:90]]
    expected = measure(rows, labels, groups=groups, permutations=0)
    found = streamed(rows, labels, tmp_path / "state.npz", groups=groups)
    assert found.conditions.copies == expected.conditions.copies == 90
    assert found.conditions.units == expected.conditions.units
    for name in ("within_class_variance", "between_class_variance", "total_variance", "share"):
        a, b = expected[name], found[name]
        assert (b.estimate, b.low, b.high) == pytest.approx((a.estimate, a.low, a.high), rel=1e-9)
    assert [one.text for one in found.reasons] == [one.text for one in expected.reasons]


def test_a_state_with_a_group_twice_in_a_class_is_refused(noise, tmp_path):
    rows, labels = noise[:2]
    state = Accumulator()
    state.update(rows, labels, groups=np.arange(240) // 3)
    save_state(state, tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz") as stored:
        damaged = dict(stored)
    damaged["group_class"] = np.zeros_like(damaged["group_class"])
    np.savez(tmp_path / "state.npz", **damaged)
    with pytest.raises(InputError, match="a group that is twice in a class"):
        load_state(tmp_path / "state.npz")


def test_a_stream_without_linked_copies_is_as_it_was(rng, tmp_path):
    labels = np.arange(3000) % 3
    points = rng.standard_normal((3, 4, 8))[labels, rng.integers(0, 4, 3000)]
    for interval in ("exact", "blocks"):
        found = streamed(points, labels, tmp_path / "state.npz", interval)
        assert found.conditions.units == 3000
        (reason,) = [one for one in found.reasons if one.code == "UC507"]
        assert "each counts by itself" in reason.text


@pytest.mark.parametrize("views", [1, 2])
def test_a_metric_in_training_counts_copies_once_as_a_stream_does(rng, noise, views):
    rows, labels, _ = noise
    rows = np.stack([rows + 0.1 * rng.standard_normal(rows.shape) for _ in range(views)], axis=1)
    many, theirs = repeated(rng, rows, labels)
    stream = Accumulator()
    stream.update(many, theirs)
    expected = stream.measurement()
    metric, other = CollapseMetric(3, 16), CollapseMetric(3, 16)
    for k, at in enumerate(np.array_split(np.arange(len(many)), 7)):
        # forward resets inside; both must know the copies of their own and of the other's rows
        (metric, other)[k % 2](torch.tensor(many[at]), torch.tensor(theirs[at]))
    metric.merge_state(other)
    found = metric.measurement()
    for name in ("within_class_variance", "between_class_variance", "total_variance", "share"):
        a, b = expected[name], found[name]
        assert (b.estimate, b.low, b.high) == pytest.approx((a.estimate, a.low, a.high), rel=1e-9)
    assert (found.conditions.copies, found.conditions.units) == (960, 240)
    assert [one.text for one in found.reasons if one.code == "UC507"] == [
        one.text for one in expected.reasons if one.code == "UC507"
    ]
    metric.reset()
    metric.update(torch.tensor(rows), torch.tensor(labels))
    assert metric.measurement().conditions.copies == 0


def test_a_metric_counts_copies_of_many_rows_by_a_part_of_them(rng, monkeypatch):
    monkeypatch.setattr("uncollapse.monitor.metric._MOST_KINDS", 1000)
    rows, labels = rng.standard_normal((8000, 8)), np.arange(8000) % 2
    metric = CollapseMetric(2, 8)
    for at in np.array_split(np.arange(16_000) % 8000, 8):
        metric.update(torch.tensor(rows[at]), torch.tensor(labels[at]))
    found = metric.measurement()
    assert found.conditions.copies == pytest.approx(8000, rel=0.15)
    assert found.conditions.units == pytest.approx(8000, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["exact", "blocks"])
@pytest.mark.parametrize("times", [1, 5, "1 to 9"])
def test_intervals_of_streams_of_copies_hold(tmp_path, interval, times):
    """95 % intervals of within-class variance, true 1 - 1/d |E u|^2, of Gaussian rows repeated."""
    rng, held, rows = np.random.default_rng(7), [], 200
    shift = np.array([[1.0, 0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0, 0]])
    many = rng.standard_normal((2_000_000, 6)) + shift[0]
    truth = 1 - np.sum((many / np.linalg.norm(many, axis=1)[:, None]).mean(axis=0) ** 2)
    for _ in range(300):
        labels = np.arange(rows) % 2
        found = rng.standard_normal((rows, 6)) + shift[labels]
        count = rng.integers(1, 10, rows) if times == "1 to 9" else np.full(rows, times)
        order = rng.permutation(int(count.sum()))
        stream = Accumulator(interval)
        stream.update(np.repeat(found, count, axis=0)[order], np.repeat(labels, count)[order])
        low, high = (stream.measurement().within_class_variance[end] for end in ("low", "high"))
        held.append(low <= truth <= high)
    assert 0.91 <= np.mean(held) <= 0.99


def test_copies_that_an_older_state_does_not_place_leave_no_interval(rng, noise, tmp_path):
    rows, labels = repeated(rng, *noise[:2])
    state = Accumulator()
    state.update(rows, labels)
    save_state(state, tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz") as stored:
        older = dict(stored)
    whole, older["copies"] = state, older["copies"][:3]
    np.savez(tmp_path / "state.npz", **older)
    found = load_state(tmp_path / "state.npz").measurement()
    assert found.conditions.copies == 960
    assert found.share.low is None is not found.share.estimate
    (reason,) = [one for one in found.reasons if one.code == "UC507"]
    assert "a state of an older version does not say of which classes" in reason.text
    state = tmp_path / "state.npz"
    for row, change in ((2, 1), (3, 3)):
        save_state(load_state(state), tmp_path / "again.npz")
        save_state(whole, state)
        with np.load(state) as stored:
            damaged = dict(stored)
        damaged["copies"] = damaged["copies"].copy()
        damaged["copies"][row] += np.uint64(change)
        np.savez(state, **damaged)
        with pytest.raises(InputError, match="copies of "):
            load_state(state)
        save_state(load_state(tmp_path / "again.npz"), state)


def test_the_null_of_nc1_permutes_copies_together(rng, noise):
    rows, labels = noise[:2]
    plain = measure(rows, labels).secondary.nc1
    many, theirs = repeated(rng, rows, labels)
    found = measure(many, theirs).secondary.nc1
    assert found.value == pytest.approx(plain.value, rel=1e-9)
    assert found.null.low == pytest.approx(plain.null.low, rel=0.2)  # of rows: .2 of it
    assert found.null.p_value > 0.04
    groups = np.repeat(np.arange(240), TIMES)
    found = measure(np.repeat(rows, TIMES, axis=0), np.repeat(labels, TIMES), groups=groups)
    assert found.secondary.nc1.null.p_value > 0.04


@pytest.mark.parametrize("interval", ["exact", "blocks"])
def test_retention_counts_copies_once(rng, noise, tmp_path, interval):
    rows, labels = noise[:2]
    base = np.hstack([rows, rng.standard_normal((240, 8))])
    plain = measure(rows, labels, reference=base, permutations=0).reference
    many, theirs, beside = repeated(rng, rows, labels, base)
    found = measure(many, theirs, reference=beside, permutations=0).reference
    columns = {"reference": beside}
    other = streamed(many, theirs, tmp_path / "state.npz", interval, **columns).reference
    for each in (found, other):
        for end in ("estimate", "low", "high"):
            a, b = plain.retention[end], each.retention[end]
            assert b == pytest.approx(a, rel=1e-6)
        assert [one.units for one in each.classes] == [one.units for one in plain.classes]


@pytest.mark.parametrize("codes", [False, True])
def test_a_long_stream_counts_copies_in_bounded_memory(rng, codes):
    counter = CopyCounter(most=1000)
    rows = rng.standard_normal((30_000, 4)) if not codes else rng.choice([-1.0, 1], (30_000, 64))

    def add(part):
        keys = row_keys(part, row_norms(part))
        classes = np.zeros(len(part), dtype=int)
        counter.add(keys, lambda some: row_hashes(part[some]), classes)

    for start in range(0, 30_000, 5000):
        add(rows[start : start + 5000])
        assert counter.extra == 0
    add(rows[:15_000])
    assert 400 < counter.array().shape[1] <= 1000
    (found,) = counter.repeats([45_000])
    assert found.times == pytest.approx(5 / 3, abs=0.05)
    assert found.distinct == pytest.approx(2 / 3, abs=0.05)
    assert counter.extra == pytest.approx(15_000, rel=0.15)
