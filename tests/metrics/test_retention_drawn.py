"""Retention from a part of the rows, where all of them would cost more than the measurement."""

import numpy as np
import pytest

from uncollapse.metrics import Accumulator, measure, retention
from uncollapse.metrics._drawn import most_of_class


@pytest.fixture
def cheap(monkeypatch):
    """A draw of rows that are few enough for a test."""
    monkeypatch.setattr("uncollapse.metrics._drawn._FREE", 1e6)
    monkeypatch.setattr("uncollapse.metrics._drawn._PER_NUMBER", 0)


def pair(rng, sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    base = rng.standard_normal((len(labels), 12)) * np.geomspace(1, 0.2, 12)
    return base[:, :4] + 0.2 * rng.standard_normal((len(labels), 4)), base, labels


def test_large_classes_give_as_many_rows_each_in_whatever_order_they_come(rng, cheap):
    rows, base, labels = pair(rng, [1500, 900, 50])
    found = retention(rows, base, labels, permutations=0)
    units = [one.units for one in found.classes]
    assert units[0] == units[1] >= 100
    assert units[2] == 50  # a rare class gives all of its rows
    assert (found.rows, found.drawn_from) == (sum(units), 2450)
    order = rng.permutation(2450)
    other = retention(rows[order], base[order], labels[order], seed=1, permutations=0)
    assert [one.units for one in other.classes] == units
    for one, same in zip(found.classes, other.classes, strict=True):
        assert same.retention.estimate == pytest.approx(one.retention.estimate, rel=1e-12)
    measured = measure(rows, labels, reference=base, permutations=0)
    # Which takes the second moments from the measurement: the last digit may be another.
    kept, own = measured.reference.retention, found.retention
    assert [kept.low, kept.estimate, kept.high] == pytest.approx(
        [own.low, own.estimate, own.high], rel=1e-13
    )
    assert f"retention from {found.rows} of 2450 rows" in " ".join(str(measured).split())


@pytest.mark.parametrize("columns", ["", "instances", "groups"])
def test_a_stream_draws_what_one_call_draws(rng, cheap, columns):
    rows, base, labels = pair(rng, [1600, 800])
    rows[1600:1700], base[1600:1700] = rows[1700:1800], base[1700:1800]  # copies
    given = {columns: np.arange(2400) // 4} if columns else {}
    streams = [Accumulator(), Accumulator()]
    for k in range(0, 2400, 800):
        part = slice(k, k + 800)
        own = {name: values[part] for name, values in given.items()}
        streams[k == 800].update(rows[part], labels[part], reference=base[part], **own)
    streams[0].merge(streams[1])
    found = streams[0].measurement(permutations=0).reference
    once = measure(rows, labels, **given, reference=base, permutations=0).reference
    assert found.drawn_from == once.drawn_from == 2400
    assert [one.units for one in found.classes] == [one.units for one in once.classes]
    assert all(one.units >= 75 for one in found.classes)  # of 100 instances: copies are one
    for one, same in zip(found.classes, once.classes, strict=True):
        assert same.retention.estimate == pytest.approx(one.retention.estimate, rel=1e-9)


def test_a_stream_of_sums_uses_fewer_since_it_spends_less(rng, monkeypatch):
    held, rows = np.full(10, 415), 1 << 18
    assert most_of_class(held, (128, 768), rows, grouped=False) is None
    assert most_of_class(held, (128, 768), rows, grouped=False, sums=True) == 302
    assert most_of_class(held, (128, 768), 4 * rows, grouped=False, sums=True) is None
    monkeypatch.setattr("uncollapse.metrics._drawn._FREE", 1e6)
    monkeypatch.setattr("uncollapse.metrics._drawn._PER_NUMBER_OF_SUMS", 0)
    arrays = pair(rng, [900, 900])
    used = {}
    for interval in ("exact", "blocks"):
        stream = Accumulator(interval)
        stream.update(arrays[0], arrays[2], reference=arrays[1])
        used[interval] = stream.measurement(permutations=0).reference.rows
    assert used["blocks"] < used["exact"]


def test_half_precision_rows_are_held_as_they_come(rng):
    """Their hashes and unit vectors are those of one call, whatever stands beside them."""
    rows, base, labels = pair(rng, [300, 300])
    rows, wide = rows.astype(np.float16), base.astype(np.float32)
    rows[:40], wide[:40] = rows[40:80], wide[40:80]
    stream = Accumulator()
    for k, kind in ((0, np.float16), (300, np.float64)):  # of two precisions
        part = slice(k, k + 300)
        stream.update(rows[part].astype(kind), labels[part], reference=wide[part])
        wide[part].fill(7)  # a reader uses its memory again
    wide = base.astype(np.float32)
    wide[:40] = wide[40:80]
    once = measure(rows, labels, reference=wide, permutations=0).reference
    found = stream.measurement(permutations=0).reference
    assert [one.units for one in found.classes] == [one.units for one in once.classes]
    assert found.retention.estimate == pytest.approx(once.retention.estimate, rel=1e-9)


@pytest.mark.parametrize("classes", [4, 10, 100, 1000])
@pytest.mark.parametrize("dimensions", [(128, 128), (128, 768), (128, 2048), (2048, 2048)])
def test_all_rows_are_used_where_they_are_few(classes, dimensions):
    few, many = (np.full(classes, rows // classes) for rows in (1000, 400_000))
    assert most_of_class(few, dimensions, 1000, grouped=False) is None
    most = most_of_class(many, dimensions, 400_000, grouped=False)
    assert most is None or most >= 100
    if dimensions == (128, 2048):
        assert most is not None


def test_copies_of_the_embedding_are_the_same_beside_a_reference(rng):
    rows, base, labels = pair(rng, [200, 200])
    rows[100:200] = rows[:100]  # alike in the embedding only
    alone, beside = measure(rows, labels), measure(rows, labels, reference=base)
    assert beside.share == alone.share
    assert beside.conditions.copies == alone.conditions.copies == 100
    assert [one.units for one in beside.reference.classes] == [200, 200]


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.3, 2])
def test_the_interval_of_the_rows_drawn_covers_what_all_rows_keep(rng, monkeypatch, noise):
    hits, draws = 0, 100
    for _ in range(draws):
        rows, base, labels = pair(rng, [800, 800])
        rows = base[:, :4] + noise * rng.standard_normal(rows.shape)
        whole = retention(rows, base, labels, permutations=0)
        with monkeypatch.context() as patch:
            patch.setattr("uncollapse.metrics._drawn._FREE", 1e6)
            patch.setattr("uncollapse.metrics._drawn._PER_NUMBER", 0)
            found = retention(rows, base, labels, permutations=0)
        assert whole.drawn_from is None
        assert found.drawn_from == 1600
        hits += found.retention.low <= whole.retention.estimate <= found.retention.high
    assert hits >= 0.93 * draws
