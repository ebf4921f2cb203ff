"""Two measurements of the same rows are compared unit by unit, and others are not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from embeddings import simplex, unit
from scipy import stats

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, compare, measure
from uncollapse.records import Comparison, Measurement

QUIET = {"permutations": 0, "probe": None}
SPREADS = 0.30, 0.27


def two_models(rng, n, alike=0.95, shares=SPREADS, classes=3, d=8):
    """The same rows under two models, whose shares of variance within classes are these.

    `alike` is the correlation of what a row deviates by under one model and the other.
    """
    labels = np.repeat(np.arange(classes), n)
    centre = np.zeros((classes, d))
    centre[:, :classes] = simplex(classes)
    first, fresh = rng.standard_normal((2, classes * n, d)) / np.sqrt(d)
    first *= rng.lognormal(0, 0.3, (classes * n, 1))
    second = alike * first + np.sqrt(1 - alike**2) * fresh
    return labels, [
        unit(np.sqrt(1 - share) * centre[labels] + np.sqrt(share) * own)
        for share, own in zip(shares, (first, second), strict=True)
    ]


def measured(rng, n=20, **options):
    labels, models = two_models(rng, n)
    return [measure(rows, labels, **QUIET, **options) for rows in models]


def change(found, name="share"):
    return {c.name: c for c in found.changes}[name]


def length(found, name="share"):
    return change(found, name).high - change(found, name).low


def test_ids_pair_rows_in_any_order(rng):
    labels, (a, b) = two_models(rng, 20)
    ids, order = [f"row {k}" for k in range(60)], rng.permutation(60)
    before = measure(a, labels, instances=ids, **QUIET)
    after = measure(b[order], labels[order], instances=np.array(ids)[order], **QUIET)
    found = compare(before, after)
    assert found.paired
    assert "by their ids" in found.pairing
    assert change(found).direction == "fell"
    alone = compare(before, replace(after, influences=None))
    assert not alone.paired
    assert "second measurement does not hold its rows" in alone.pairing
    assert length(found) < length(alone) / 2
    # In JSON the same, to the digits that are kept.
    read = [Measurement.from_json(m.to_json()) for m in (before, after)]
    assert compare(*read) == found
    assert Comparison.from_json(found.to_json()) == found


def test_without_ids_rows_pair_by_their_places(rng):
    before, after = measured(rng)
    found = compare(before, after)
    assert found.paired
    assert "because their labels agree" in found.pairing


@pytest.mark.parametrize(
    ("change_of", "named"),
    [
        ({"labels": np.repeat(np.arange(3), 20)[::-1]}, "labels"),
        ({"instances": np.arange(60)[::-1] + 1}, "instances"),
        ({"instances": None}, "instances"),
        ({"groups": np.arange(60) // 2}, "groups"),
        ({"slices": {"site": np.arange(60) % 3}}, "slice 'site'"),
        ({"fine_labels": np.arange(60) % 3}, "fine_labels"),
        ({"split": "validation"}, "split"),
        ({"confidence": 0.9}, "confidence"),
    ],
)
def test_rows_that_differ_in_anything_are_not_paired(rng, change_of, named):
    labels, (a, b) = two_models(rng, 20)
    columns = {"labels": labels, "instances": np.arange(60), "split": "test", "confidence": 0.95}
    columns |= {"slices": {"site": np.arange(60) % 2}, "fine_labels": np.arange(60) % 2}
    before, after = (measure(z, **QUIET, **c) for z, c in ((a, columns), (b, columns | change_of)))
    assert compare(before, before).paired
    found = compare(before, after)
    assert not found.paired
    assert named in found.pairing


def test_copies_pair_where_both_have_them(rng):
    labels, (a, b) = two_models(rng, 20)
    a[7], b[7] = a[3], b[3]
    before, after = measure(a, labels, **QUIET), measure(b, labels, **QUIET)
    assert before.conditions.copies == 1
    assert compare(before, after).paired
    b[7] = -b[3]
    alone = compare(before, measure(b, labels, **QUIET))
    assert not alone.paired
    assert "copies" in alone.pairing


def test_what_only_one_of_the_two_has_does_not_part_them(rng):
    labels, (a, b) = two_models(rng, 20)
    sites = {"site": np.arange(60) % 2}
    assert compare(measure(a, labels, slices=sites, **QUIET), measure(b, labels, **QUIET)).paired


def test_rows_are_not_known_of_streams_of_small_classes_and_after_unnamed_drops(rng):
    labels, (a, b) = two_models(rng, 20)
    stream = Accumulator()
    stream.update(a, labels)
    assert stream.measurement().influences is None
    few = np.r_[0:22, 40:60]
    assert measure(a[few], labels[few], **QUIET).influences is None
    a[3] = np.nan
    assert measure(a, labels, drop_invalid=True, **QUIET).influences is None
    named = measure(a, labels, instances=np.arange(60), drop_invalid=True, **QUIET)
    whole = measure(b, labels, instances=np.arange(60), **QUIET)
    assert "instances" in compare(named, whole).pairing


def test_many_units_are_paired_in_memory_and_left_out_of_json(rng, monkeypatch):
    before, after = measured(rng)
    monkeypatch.setattr("uncollapse.records.measurement.MOST_UNITS", 59)
    assert compare(before, after).paired
    assert json.loads(before.to_json())["influences"] is None
    assert not compare(Measurement.from_json(before.to_json()), after).paired


@pytest.mark.parametrize("change_of", ["values", "units", "type", "bytes", "nan"])
def test_garbled_influences_are_refused(rng, change_of):
    record = json.loads(measured(rng)[0].to_json())
    kept, name = record["influences"], "within_class_variance"
    if change_of == "values":
        kept["values"][name] = kept["values"][name][:-4]
    if change_of == "units":
        kept["units"] = [1, 58, 1]
    if change_of == "type":
        kept["values"] = [3]
    if change_of == "bytes":
        kept["values"][name] = "$$" + kept["values"][name][2:]
    if change_of == "nan":
        kept["values"][name] = "AADAfw" + kept["values"][name][6:]
    with pytest.raises(InputError, match="influences"):
        Measurement.from_json(json.dumps(record))


@pytest.mark.parametrize("kind", ["rows", "views", "groups", "crossing", "copies"])
def test_influences_are_those_of_leaving_one_unit_out(rng, kind):
    """Naive jackknife of the difference: every unit out of both measurements in turn."""
    # Views that are no views leave little variance between instances: 90 units for an interval.
    labels, models = two_models(rng, 60 if kind == "views" else 12, classes=3)
    rows = np.arange(len(labels))
    columns = {"labels": labels}
    units = rows
    if kind == "views":
        units = rows // 2
        columns["instances"] = units
    if kind == "copies":
        units = np.where(rows % 12 == 1, rows - 1, rows)
        models = [z[units] for z in models]
    if kind in ("groups", "crossing"):
        units = rows // 2 if kind == "groups" else rows % 12
        columns["groups"] = units

    def numbers(kept):
        both = [
            measure(z[kept], **{k: v[kept] for k, v in columns.items()}, **QUIET) for z in models
        ]
        found = compare(*both)
        assert found.paired
        return found

    whole = numbers(rows >= 0)
    names = [c.name for c in whole.changes]
    left = np.array(
        [[change(numbers(units != u), n).estimate for n in names] for u in np.unique(units)]
    )
    owner = labels[np.unique(units, return_index=True)[1]]
    blocks = [left] if kind == "crossing" else [left[owner == c] for c in range(3)]
    parts = np.array([(len(b) - 1) / len(b) * np.sum((b - b.mean(0)) ** 2, axis=0) for b in blocks])
    total, counts = parts.sum(axis=0), np.array([len(b) for b in blocks])
    freedoms = total**2 / np.sum(parts**2 / (counts[:, None] - 1), axis=0)
    for name, variance, freedom in zip(names, total, freedoms, strict=True):
        half = stats.t.ppf(0.975, freedom) * variance**0.5
        assert length(whole, name) / 2 == pytest.approx(half, rel=0.1), name


def test_the_same_twice_has_changed_by_nothing(rng):
    before, _ = measured(rng)
    found = compare(before, before)
    assert {(c.estimate, c.low, c.high) for c in found.changes} == {(0.0, 0.0, 0.0)}


@pytest.mark.slow
def test_a_fall_is_seen_and_intervals_cover(rng):
    """At n = 20 a class: from .30 to .27 in nine of ten samples; independent rows hardly ever."""
    labels, models = two_models(rng, 20_000)
    truth = compare(*(measure(rows, labels, **QUIET) for rows in models))
    seen, alone, held = 0, 0, dict.fromkeys([c.name for c in truth.changes], 0)
    repeats = 400
    for _ in range(repeats):
        before, after = measured(rng)
        found = compare(before, after)
        seen += change(found).direction == "fell"
        alone += change(compare(before, replace(after, influences=None))).direction == "fell"
        for name in held:
            held[name] += change(found, name).low <= change(truth, name).estimate
            held[name] -= change(found, name).high < change(truth, name).estimate
    assert seen >= 0.9 * repeats
    assert alone <= 0.1 * repeats
    # The grand mean of these classes is zero, where the total's interval is too long.
    del held["total_variance"]
    assert all(0.92 < count / repeats < 0.98 for count in held.values())
