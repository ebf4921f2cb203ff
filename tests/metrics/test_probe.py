"""The within-class probe and the slices: what is there is found, what is not is not."""

import numpy as np
import pytest
from embeddings import unit

from uncollapse.errors import InputError
from uncollapse.metrics import Columns, Measurement, measure, measure_files
from uncollapse.probes import (
    ProbeOptions,
    WithinClassOptions,
    exact_neighbours,
    knn_votes,
    probed_classes,
)
from uncollapse.samples import ByRole, sample_of

WITHIN = WithinClassOptions(strengths=(0.1, 1.0), neighbours=(5,), temperatures=(1.0,))
QUICK = ProbeOptions(within=WITHIN)


def residuals(rng, V, structured, n=90, fine=3, d=12):
    """Two classes of three finer labels; the residuals know them, or do not."""
    labels = np.repeat([0, 1], n)
    finer = np.tile(np.arange(fine), 2 * n // fine)
    noise = rng.standard_normal((2 * n, d)) / np.sqrt(d)
    if structured:
        noise = np.eye(fine, d)[finer] + 0.2 * noise
    centre = np.concatenate([np.eye(2)[labels], np.zeros((2 * n, d))], axis=1)
    spread = np.concatenate([np.zeros((2 * n, 2)), noise], axis=1)
    return np.sqrt(1 - V) * centre + np.sqrt(V) * spread, labels, finer


@pytest.mark.parametrize("V", [0.5, 1e-6])
def test_structured_and_isotropic_residuals_are_told_apart(rng, V):
    rows, labels, finer = residuals(rng, V, structured=True)
    found = measure(rows, labels, fine_labels=finer, probe=QUICK, permutations=0)
    assert found.probe["knn"]["estimate"] > 0.9
    assert found.probe["logistic"]["estimate"] > 0.9
    assert found.probe["verdict"] == "information"
    # Collapsed in size, not in what it knows.
    assert found.verdict == ("not-collapsed" if V == 0.5 else "at-risk")
    assert found.reasons[0].code == ("UC402" if V == 0.5 else "UC207")

    rows, labels, finer = residuals(rng, V, structured=False)
    found = measure(rows, labels, fine_labels=finer, probe=QUICK, permutations=0)
    assert abs(found.probe["logistic"]["estimate"]) < 0.2
    assert found.probe["null"]["p_value"] > 0.05
    assert found.probe["verdict"] != "information"
    assert found.verdict == {0.5: found.verdict, 1e-6: "collapsed"}[V]


def test_p_values_of_the_null_are_uniform_enough(rng):
    within = WithinClassOptions(strengths=(1.0,), neighbours=(5,), temperatures=(1.0,), folds=3)
    options = ProbeOptions(within=within)
    values = []
    for _ in range(12):
        rows, labels, finer = residuals(rng, 0.5, structured=False, n=30)
        found = measure(rows, labels, fine_labels=finer, probe=options, permutations=0)
        values.append(found.probe["null"]["p_value"])
    assert np.mean(np.array(values) <= 0.25) < 0.6
    assert min(np.mean(values), 1 - np.mean(values)) > 0.2


def test_groups_are_never_split(rng):
    # The group's own mark gives the finer label away to whoever has seen the group.
    groups = np.repeat(np.arange(60), 6)
    labels, finer = groups % 2, (groups // 2) % 2
    rows = np.eye(60)[groups] + 0.01 * rng.standard_normal((360, 60)) + 0.3
    seen = measure(rows, labels, fine_labels=finer, probe=QUICK, permutations=0)
    held = measure(rows, labels, fine_labels=finer, groups=groups, probe=QUICK, permutations=0)
    assert seen.probe["knn"]["estimate"] > 0.95
    assert held.probe["knn"]["estimate"] < 0.4
    sample = sample_of(rows, ByRole(labels=labels, groups=groups, fine_labels=finer))
    for probed in probed_classes(sample, sample.fine_labels, WITHIN, rng):
        for unit_code in np.unique(probed.units):
            assert len(set(probed.folds[probed.units == unit_code])) == 1


def test_chance_is_zero_whatever_the_imbalance(rng):
    labels = np.repeat([0, 1], 300)
    finer = np.tile(np.repeat([0, 1], [270, 30]), 2)
    rows = np.eye(2, 10)[labels] * 3 + rng.standard_normal((600, 10))
    found = measure(rows, labels, fine_labels=finer, probe=QUICK, permutations=0).probe
    assert abs(found["knn"]["estimate"]) < 0.2
    assert abs(found["logistic"]["estimate"]) < 0.2


def test_too_few_finer_labels_is_not_applicable_and_not_passed(rng):
    rows, labels, _ = residuals(rng, 0.5, structured=True)
    found = measure(rows, labels, fine_labels=labels, probe=QUICK, permutations=0)
    assert found.probe["verdict"] == "cannot-tell"
    assert found.probe["logistic"] is None
    assert found.probe["skipped_classes"] == 2
    missing = np.where(np.arange(180) < 170, None, "x")
    found = measure(rows, labels, fine_labels=missing, probe=QUICK, permutations=0)
    assert found.probe["classes"] == ()


def test_neighbours_against_loops_and_a_plugged_index(rng):
    train, queries = unit(rng.standard_normal((40, 5))), unit(rng.standard_normal((7, 5)))
    cosines, found = exact_neighbours(train, queries, 4)
    expected = np.argsort(-queries @ train.T, axis=1)[:, :4]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(cosines, np.take_along_axis(queries @ train.T, expected, 1))
    labels = rng.integers(0, 3, 40)
    for q, vote in enumerate(knn_votes(cosines, found, labels, 0.5, 0.4)):
        weights = [
            sum(np.exp(queries[q] @ train[i] / 0.2) for i in expected[q] if labels[i] == k)
            / np.sum(labels == k)
            for k in range(3)
        ]
        assert vote == np.argmax(weights)

    calls = []

    def index(train, queries, k):
        calls.append(k)
        return exact_neighbours(train, queries, k)

    rows, labels, finer = residuals(rng, 0.5, structured=True)
    within = WithinClassOptions(strengths=(1.0,), neighbours=(3,), permutations=0, index=index)
    options = ProbeOptions(within=within)
    measure(rows, labels, fine_labels=finer, probe=options, permutations=0)
    assert set(calls) == {3}


def test_slices_show_gap_and_leakage(rng):
    # Site b is collapsed and sits aside: a gap in variance, and the site can be read.
    rows, labels, finer = residuals(rng, 0.5, structured=True, n=180)
    site = np.where(rng.random(360) < 0.5, "a", "b")
    quiet = site == "b"
    rows[quiet, 2:] *= 0.02
    rows = np.concatenate([rows, np.where(quiet, 0.3, 0.0)[:, None]], axis=1)
    found = measure(
        rows, labels, fine_labels=finer, slices={"site": site}, probe=QUICK, permutations=0
    ).slices["site"]
    a, b = found["values"]["a"], found["values"]["b"]
    assert (a["verdict"], b["verdict"]) == ("not-collapsed", "collapsed")
    assert a["count"] + b["count"] == 360
    gap = found["gap"]["within_class_variance"]
    assert (gap["smallest"], gap["largest"]) == ("b", "a")
    difference = a["within_class_variance"]["estimate"] - b["within_class_variance"]["estimate"]
    assert gap["estimate"] == pytest.approx(difference)
    assert gap["low"] > 0
    assert found["leakage"]["verdict"] == "information"
    assert a["probe"]["logistic"]["low"] > 0.5


def test_slices_without_difference_and_with_missing_rows(rng):
    rows, labels, _ = residuals(rng, 0.5, structured=False, n=180)
    site = rng.integers(0, 2, 360).astype(object)
    site[:20] = None
    found = measure(rows, labels, slices=site, probe=QUICK, permutations=0).slices["slice"]
    assert found["missing_rows"] == 20
    assert found["gap"]["within_class_variance"]["low"] < 0
    assert found["leakage"]["verdict"] != "information"
    assert found["values"]["0"]["probe"] is None
    rare = np.where(np.arange(360) < 2, "rare", "common")
    found = measure(rows, labels, slices={"k": rare}, probe=QUICK, permutations=0).slices["k"]
    assert found["values"]["rare"]["verdict"] == "cannot-tell"
    assert found["values"]["rare"]["within_class_variance"] is None


def test_without_scikit_learn_the_error_says_so(rng, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    rows, labels, finer = residuals(rng, 0.5, structured=True)
    with pytest.raises(InputError, match="scikit-learn"):
        measure(rows, labels, fine_labels=finer)


def test_no_probe_is_none_everywhere(rng, tmp_path):
    rows, labels, finer = residuals(rng, 0.5, structured=True)
    found = measure(rows, labels, fine_labels=finer, slices=finer, probe=None, permutations=0)
    assert found.probe is None
    assert found.slices["slice"]["leakage"] is None
    assert all(entry.probe is None for entry in found.slices["slice"]["values"].values())
    assert "Leakage" not in str(found)
    assert Measurement.from_json(found.to_json()) == found
    np.savez(tmp_path / "a.npz", z=rows, label=labels, fine=finer)
    columns = Columns(fine="fine", slices=("fine",))
    again = measure_files([tmp_path / "a.npz"], columns=columns, probe=None, permutations=0)
    assert again.probe is None
    assert again.slices["fine"].leakage is None


@pytest.mark.parametrize("stream", [False, True])
def test_options_of_another_type_are_refused(rng, tmp_path, stream):
    rows, labels = unit(rng.standard_normal((60, 4))), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", z=rows, label=labels)
    for wrong in (False, WithinClassOptions(), {}):
        with pytest.raises(InputError, match="probe as ProbeOptions, or None"):
            measure(rows, labels, probe=wrong)
        with pytest.raises(InputError, match="probe as ProbeOptions, or None"):
            measure_files([tmp_path / "a.npz"], probe=wrong, stream=stream)
