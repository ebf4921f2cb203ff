"""The verdict's rules, the JSON contract, and the comparison of two records."""

import json
from dataclasses import replace

import numpy as np
import pytest
from embeddings import cloud, ssem

from uncollapse.errors import InputError
from uncollapse.metrics import (
    Comparison,
    Estimate,
    Margins,
    Measurement,
    ProbeOptions,
    WithinClassOptions,
    compare,
    measure,
)
from uncollapse.metrics.verdict import judge_share
from uncollapse.records import REASONS, SENTENCES, BlockCosines, Prediction
from uncollapse.theory import Setting, predict

CONTRACT = {
    "verdict",
    "reasons",
    "classes",
    "within_class_variance",
    "instance_variance",
    "view_variance",
    "between_class_variance",
    "total_variance",
    "ssem",
    "secondary",
    "probe",
    "slices",
    "conditions",
    "schema_version",
}
CONDITIONS = {"layer", "dtype", "samples", "classes", "dimension", "normalised", "split"}


def prediction(variance, phase="spread", classes=3):
    return Prediction(
        phase=phase,
        phase_per_class=(phase,) * classes,
        within_class_variance=variance,
        within_class_variance_per_class=(variance,) * classes,
        instance_variance=variance,
        instance_variance_per_class=(variance,) * classes,
        view_variance=0.0,
        view_variance_per_class=(0.0,) * classes,
        between_class_variance=1 - variance,
        loss=1.0,
        cosines=BlockCosines(),
        alpha_threshold=0.1,
        temperature_threshold=None,
        view_splitting_threshold=None,
        certificate_gap=0.0,
        notes=(),
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.06, 0.08, "not-collapsed"),
        (0.04, 0.06, "cannot-tell"),
        (0.002, 0.9, "cannot-tell"),
        (0.02, 0.04, "at-risk"),
        (0.008, 0.012, "at-risk"),
        (-0.01, 0.009, "collapsed"),
        (None, None, "cannot-tell"),
    ],
)
def test_the_interval_is_judged_never_the_point(low, high, verdict):
    share = Estimate(0.07, low, high, 0.07)
    assert judge_share(share, Margins().for_share(None)) == verdict


def test_json_contract_strict_and_back(rng):
    rows, labels, instances = cloud(rng, (40, 40, 3), views=2)
    finer = (instances % 2).astype(str)
    found = measure(
        rows,
        labels,
        instances=instances,
        fine_labels=finer,
        slices={"half": np.arange(len(rows)) % 4 // 2},
        prediction=prediction(0.3),
        layer="projector",
        split="test",
        probe=ProbeOptions(
            within=WithinClassOptions(permutations=1, strengths=(1.0,), neighbours=(5,))
        ),
        permutations=2,
    )
    text = found.to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    record = json.loads(text)
    assert set(record) >= CONTRACT
    assert set(record["conditions"]) >= CONDITIONS
    assert set(record["classes"][0]) >= {"label", "count", "verdict", "within_class_variance"}
    assert set(record["ssem"]) == {"delta", "omega", "fit"}
    for name in CONTRACT:
        if name.endswith("_variance"):
            assert set(record[name]) == {"estimate", "low", "high", "plug_in"}
    assert Measurement.from_json(text) == Measurement.from_dict(record)
    assert Measurement.from_json(text).to_json() == text
    assert Measurement.from_json(text) == found
    # As it was written before there were kinds.
    old = {key: value for key, value in record.items() if key not in ("kind", "micro")}
    old["prediction"] = {k: v for k, v in record["prediction"].items() if k != "kind"}
    del old["slices"]["half"]["values"]["0"]["certainly_collapsed"]
    assert Measurement.from_dict(old).slices == found.slices
    assert record["conditions"]["layer"] == "projector"


def test_records_that_are_none(rng):
    rows, labels, _ = cloud(rng, (9, 9))
    record = measure(rows, labels, permutations=0).to_dict()
    changes = {
        "schema_version": 99,
        "verdict": "splendid",
        "conditions": None,
        "probe": {"knn": 3},
        "share": None,
        "classes": [{"label": 1}],
        "slices": {"site": {"values": {"a": {"verdict": "fine"}}}},
    }
    wrongs = [record | {name: value} for name, value in changes.items()]
    wrongs += [record | {"slices": {"site": wrong}} for wrong in (None, {}, {"values": [1]})]
    wrongs.append(record | {"schema_version": "1"})
    for wrong in ({}, [], {"verdict": "healthy"}, *wrongs):
        with pytest.raises(InputError):
            Measurement.from_dict(wrong)
    del record["within_class_variance"]
    with pytest.raises(InputError, match="within_class_variance"):
        Measurement.from_dict(record)
    with pytest.raises(InputError, match="JSON"):
        Measurement.from_json("{")


def test_a_prediction_lowers_the_bar_and_stands_beside(rng):
    rows, labels = ssem(0.02, 3, 40)
    assert measure(rows, labels, permutations=0).verdict == "at-risk"
    expected = prediction(0.021)
    for given in (expected, expected.to_dict(), json.loads(json.dumps(expected.to_dict()))):
        found = measure(rows, labels, prediction=given, permutations=0)
        assert found.verdict == "healthy"
        assert {c.verdict for c in found.classes} == {"healthy"}
        assert found.prediction["within_class_variance"] == 0.021
        assert "predicted" in str(found)
    codes = [r.code for r in found.reasons]
    assert "UC503" in codes


def test_the_predicted_optimum_itself_is_neither_above_nor_below():
    # Few instances: the predicted variance of the ten, and that of new ones, differ by a ninth.
    setting = Setting(classes=4, per_class=10, alpha=0.5, temperature=0.1)
    predicted = predict(setting)
    rows, labels = ssem(predicted.within_class_variance, 4, 10)
    noise = 1e-9 * np.random.default_rng(0).standard_normal(rows.shape)
    rows += noise
    found = measure(rows, labels, prediction=predicted, permutations=0)
    text = next(reason.text for reason in found.reasons if reason.code == "UC503")
    wanted = 1 - predicted.cosines["a"][0]
    assert f"predicted {wanted:.4g}" in text
    assert found.within_class_variance.estimate == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", ["instance_variance", "phase", "instance_variance_per_class"])
def test_a_garbled_prediction_is_refused(name):
    rows, labels = ssem(0.02, 3, 40)
    with pytest.raises(InputError, match="prediction"):
        measure(rows, labels, prediction=prediction(0.1).to_dict() | {name: None})


@pytest.mark.parametrize("phase", ["collapse", "view-splitting"])
def test_spread_whose_optimum_is_collapse_is_at_risk(rng, phase):
    rows, labels, _ = cloud(rng, (50, 50, 50))
    found = measure(rows, labels, prediction=prediction(0.0, phase), permutations=0)
    assert found.verdict == "at-risk"
    assert found.reasons[0].code == "UC203"
    assert phase in found.reasons[0].text


def test_a_prediction_of_next_to_nothing_does_not_make_nothing_healthy():
    rows, labels = ssem(1e-4, 3, 40)
    for given in (prediction(1e-6), prediction(1e-16, "collapse")):
        found = measure(rows, labels, prediction=given, permutations=0)
        assert found.verdict == "collapsed"
        assert {c.verdict for c in found.classes} == {"collapsed"}


def test_instances_below_the_view_noise_are_at_risk(rng):
    rows, labels, instances = cloud(rng, (80, 80, 80), V=0.12, views=8, view_noise=1.8, d=32)
    found = measure(rows, labels, instances=instances, permutations=0, margins=Margins(noise=0.2))
    assert found.share.low < found.view_variance.estimate
    assert "UC202" in [r.code for r in found.reasons]
    assert found.verdict in {"at-risk", "cannot-tell"}


def test_every_reason_says_what_and_by_what(rng):
    rows, labels, _ = cloud(rng, (20, 20), V=0.03)
    found = measure(rows, labels, permutations=0)
    assert found.reasons
    for reason in found.reasons:
        assert reason.code.startswith("UC")
        assert reason.text
        assert reason.anchor
    assert found.verdict == "healthy" or found.reasons[0].advice


def test_a_reason_is_its_code_and_values_in_words(rng):
    rows, labels, instances = cloud(rng, (60, 60, 60), V=0.001, views=2)
    site = np.where(labels == 0, "a", "b")
    measured = [
        measure(rows, labels, instances=instances, slices={"site": site}, permutations=0),
        measure(rows, labels, prediction=prediction(0.0, "collapse"), permutations=0),
        measure(rng.standard_normal((60, 8)), np.arange(60) % 2, permutations=0),
    ]
    for found in measured:
        again = Measurement.from_json(found.to_json())
        assert again == found
        for reason in again.reasons:
            said = ["" if message is None else str(message) for message in reason.messages]
            assert said == [reason.text, reason.anchor, reason.advice]
    old = replace(measured[0].reasons[0], variant="", values=None)
    assert old.messages is None


def test_every_code_has_its_sentences():
    for code, (text, anchor, advice) in REASONS.items():
        assert any(key.startswith(f"text.{text}") for key in SENTENCES), code
        assert f"anchor.{anchor}" in SENTENCES
        assert not advice or f"advice.{advice}" in SENTENCES


def test_compare_sees_a_fall_and_not_a_reshuffle(rng):
    def run(V):
        rows, labels, _ = cloud(rng, (200, 200, 200), V=V)
        return measure(rows, labels, permutations=0)

    before, again, after = run(0.3), run(0.3), run(0.03)
    # Another sample: the labels agree row by row, and so pairs are those of independent rows.
    same, pairs = compare(before, again), compare(before, after)
    assert not same.regression
    fell = compare(before, replace(after, influences=None))
    assert (pairs.paired, fell.paired) == (True, False)
    widths = [c.high - c.low for found in (pairs, fell) for c in found.changes if c.name == "share"]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)
    share = {change.name: change for change in fell.changes}["share"]
    assert share.direction == "fell"
    assert share.estimate == pytest.approx(after.share.estimate - before.share.estimate)
    half = np.hypot(before.share.half_width, after.share.half_width)
    assert share.high - share.low == pytest.approx(2 * half)
    assert fell.regression
    assert any("verdict fell" in reason for reason in fell.reasons)
    assert fell.reasons == tuple(map(str, fell.reason_messages))
    assert Comparison.from_json(fell.to_json()) == fell
    assert not compare(after, before).regression
    assert compare(before, run(0.27)).regression
    assert not compare(before, run(0.27), tolerance=0.3).regression


def test_compare_warns_of_other_conditions(rng):
    rows, labels, _ = cloud(rng, (20, 20))
    a = measure(rows, labels, layer="backbone", permutations=0)
    b = replace(measure(rows[:, :9], labels + 1, layer="projector", permutations=0), probe=None)
    warnings = " ".join(compare(a, b).warnings)
    assert "layer differs" in warnings
    assert "dimension differs" in warnings
    assert "2 classes" in warnings
    with pytest.raises(InputError):
        compare(a, b, tolerance=1)


def test_compare_says_what_it_could_not_compare(rng):
    rows, labels, instances = cloud(rng, (30, 30), views=2)
    before = measure(rows, labels, instances=instances, permutations=0)
    after = measure(rows, labels, permutations=0)
    found = " ".join(compare(before, after).warnings)
    assert "instance variance is known only before" in found
    assert "within class variance" not in found
