"""The probes on known truth: what is there is read, what is not is at chance, nothing leaks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from known import QUICK, coarse_to_fine, splits
from sklearn.datasets import load_digits

from uncollapse.errors import InputError
from uncollapse.probes import Embedded, ProbeOptions, ProbeResult, WithinClassOptions, probe

INSIDE = ("within-class linear", "within-class knn")


def test_structured_residuals_are_read_and_isotropic_are_at_chance(rng):
    for spread in (0.5, 1e-6):
        read = probe(coarse_to_fine(rng, True, spread=spread), settings=QUICK).target("z", "fine")
        for name in INSIDE:
            assert read.reading(name).score.chance_corrected.low > 0.8
    blind = probe(coarse_to_fine(rng, False), settings=QUICK).target("z", "fine")
    for name in (*INSIDE, "linear", "knn"):
        score = blind.reading(name).score
        assert score.chance_corrected.low < 0.05
        assert score.chance_corrected.estimate < 0.15
        assert score.balanced_accuracy.estimate == pytest.approx(1 / 3, abs=0.1)
    label = probe(coarse_to_fine(rng, False), settings=QUICK).target("z", "label")
    assert label.role == "label"
    assert label.reading("linear").score.accuracy.low > 0.85
    with pytest.raises(KeyError):
        label.reading("within-class knn")


@pytest.mark.parametrize("given_validation", [True, False])
def test_labels_of_the_test_split_choose_nothing(rng, given_validation):
    data = coarse_to_fine(rng, True, spread=0.1)
    split = np.array(data.split)
    if not given_validation:
        split[split == "validation"] = "train"
    test = split == "test"
    shuffled = {name: np.array(values) for name, values in data.targets.items()}
    for values in shuffled.values():
        values[test] = rng.permutation(values[test])
    a = probe(replace(data, split=split), settings=QUICK)
    b = probe(replace(data, split=split, targets=shuffled), settings=QUICK)
    assert a.conditions.data[0].cut_here == (() if given_validation else ("validation",))
    for mine, theirs in zip(a.targets, b.targets, strict=True):
        for one, other in zip(mine.readings, theirs.readings, strict=True):
            assert one.chosen == other.chosen
            assert one.validation == other.validation
            inside = [[c.chosen for c in r.details.classes or ()] for r in (one, other)]
            assert inside[0] == inside[1]
    drop = a.target("z", "label").reading("linear").score.accuracy.estimate
    assert b.target("z", "label").reading("linear").score.accuracy.estimate < drop - 0.2


def test_groups_are_never_split(rng):
    # The group's own mark gives the target away to whoever has seen the group.
    groups = np.repeat(np.arange(120), 6)
    target = (groups // 2) % 2
    rows = np.eye(120)[groups] + 0.01 * rng.standard_normal((720, 120)) + 0.3
    seen = probe(Embedded({"z": rows}, {"t": target}), settings=QUICK).target("z", "t")
    data = Embedded({"z": rows}, {"t": target}, groups=groups)
    held = probe(data, settings=QUICK).target("z", "t")
    assert seen.reading("knn").score.chance_corrected.low > 0.9
    assert held.reading("knn").score.chance_corrected.estimate < 0.5
    (cut,) = probe(data, settings=QUICK).conditions.data
    sizes = [cut.rows.train, cut.rows.validation, cut.rows.test]
    assert sum(sizes) == 720
    assert all(size % 6 == 0 and size > 15 * 6 for size in sizes)
    # The interval counts groups, not rows.
    lengths = [r.reading("knn").score.accuracy for r in (seen, held)]
    assert lengths[1].high - lengths[1].low > 3 * (lengths[0].high - lengths[0].low)
    with pytest.raises(InputError, match="group in one split"):
        probe(replace(data, split=splits(rng, 720)), settings=QUICK)


def test_shots_are_of_different_groups(rng):
    groups = np.repeat(np.arange(30), 6)
    data = Embedded({"z": rng.standard_normal((180, 5))}, {"t": groups % 2}, groups=groups)
    found = probe(data, settings=QUICK).target("z", "t")
    assert [r.details.shots for r in found.readings[2:]] == [1, 5]
    assert "independent training units" in found.notes[-1]
    with pytest.raises(InputError, match="10 shots"):
        probe(data, settings=replace(QUICK, shots=(1, 10)))


def test_same_seed_same_record_and_it_comes_back_from_json(rng):
    data = coarse_to_fine(rng, True, n=300)
    data = replace(data, split=None)
    a, b, c = (probe(data, settings=QUICK, seed=seed) for seed in (0, 0, 1))
    assert a.to_json() == b.to_json() != c.to_json()
    assert ProbeResult.from_json(a.to_json()).to_json() == a.to_json()
    record = json.loads(a.to_json())
    assert record["schema_version"] == 1
    assert record["targets"][0]["sizes"] == {
        "train": 192, "validation": 48, "test": 60, "missing": 0,
    }  # fmt: skip
    before_kinds = {key: value for key, value in record.items() if key != "kind"}
    assert ProbeResult.from_dict(before_kinds) == a
    wrong = json.loads(a.to_json())
    wrong["targets"][1]["readings"][0]["chosen"]["l2"] = "weak"
    with pytest.raises(InputError, match=r"probe in p\.json.*targets\.1\.readings\.0\.chosen\.l2"):
        ProbeResult.from_dict(wrong, "p.json")
    for broken in (record | {"schema_version": 2}, {"schema_version": 1}, {}):
        with pytest.raises(InputError):
            ProbeResult.from_dict(broken)


def test_downstream_slices_and_missing_labels(rng):
    data = coarse_to_fine(rng, True, n=400)
    site = rng.integers(0, 2, 400).astype(object)
    site[:50] = None
    data = replace(data, targets={**data.targets, "site": site}, slices=("site",))
    other = Embedded({"z": np.eye(3, 14)[np.arange(90) % 3]}, {"y": np.arange(90) % 3}, name="o")
    found = probe(data, downstream=[other], settings=QUICK)
    assert [(t.data, t.target, t.role) for t in found.targets] == [
        ("", "label", "label"),
        ("", "fine", "fine"),
        ("", "site", "slice"),
        ("o", "y", "target"),
    ]
    assert found.target("z", "site").sizes.missing == 50
    assert found.target("z", "y", "o").reading("linear").score.accuracy.estimate == 1


def test_a_label_that_training_never_saw_counts_as_wrong_and_is_said(rng):
    data = coarse_to_fine(rng, True, n=400)
    fine = np.array(data.targets["fine"])
    split = np.array(data.split)
    fine[np.flatnonzero(split == "test")[:3]] = 9
    fine[np.flatnonzero(split == "validation")[:3]] = 8
    data = replace(data, targets={"label": data.targets["label"], "fine": fine})
    found = probe(data, settings=QUICK).target("z", "fine")
    assert any("no training row" in note for note in found.notes)
    assert found.reading("linear").score.balanced_accuracy.estimate == pytest.approx(0.75, abs=0.05)


def test_few_shots_inside_classes_by_hand(rng):
    """Redrawn with loops: means of the shots, nearest by distance, averaged over classes."""
    data = coarse_to_fine(rng, True, n=300)
    found = probe(data, settings=replace(QUICK, shots=(5,), draws=3)).target("z", "fine")
    reading = found.reading("within-class few-shot", 5)
    rows = np.asarray(data.layers["z"], dtype=float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    label, fine, split = (
        np.asarray(v) for v in (data.targets["label"], data.targets["fine"], data.split)
    )
    every = []
    for c in np.unique(label):
        own = []
        names = np.unique(fine[label == c])
        for _ in range(200):
            means = []
            for k in names:
                rows_of = np.flatnonzero((label == c) & (fine == k) & (split == "train"))
                means.append(rows[rng.choice(rows_of, 5, replace=False)].mean(axis=0))
            right = []
            for k in names:
                of = rows[(label == c) & (fine == k) & (split == "test")]
                away = [[np.linalg.norm(z - mean) for mean in means] for z in of]
                right.append(np.mean(names[np.argmin(away, axis=1)] == k))
            own.append(np.mean(right))
        every.append(np.mean(own))
    assert reading.score.balanced_accuracy.estimate == pytest.approx(np.mean(every), abs=0.03)
    details = reading.details.classes
    assert np.mean([one.balanced_accuracy for one in details]) == pytest.approx(
        reading.score.balanced_accuracy.estimate
    )


def test_only_the_probes_that_are_asked_for(rng):
    data = coarse_to_fine(rng, True, n=300)
    asked = ("knn", "within-class few-shot")
    found = probe(data, settings=replace(QUICK, probes=asked)).target("z", "fine")
    assert {reading.probe for reading in found.readings} == set(asked)
    with pytest.raises(InputError, match="probes among"):
        replace(QUICK, probes=("lasso",))


def test_real_digits(rng):
    """Even and odd as classes, the digit as finer label, pixels as the layer."""
    digits = load_digits()
    data = Embedded(
        {"pixels": digits.data},
        {"even": digits.target % 2, "digit": digits.target},
        label="even",
        fine=("digit",),
    )
    found = probe(data, settings=replace(QUICK, refit=False)).target("pixels", "digit")
    assert found.reading("linear").score.balanced_accuracy.low > 0.92
    assert found.reading("knn").score.balanced_accuracy.low > 0.95
    one, ten = (found.reading("few-shot", shots).score.accuracy.estimate for shots in (1, 10))
    assert 0.4 < one < 0.75 < ten < 0.95
    for name in INSIDE:
        assert found.reading(name).score.chance_corrected.low > 0.9
    assert found.reading(INSIDE[0]).details.skipped_classes == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": ["fold 1"] * 300}, "train, validation .* or test in the splits; found 'fold 1'"),
        ({"split": ["train"] * 300}, "test rows; found splits train"),
        ({"targets": {"t": np.ones(300)}}, "two values or more of target 't'"),
        ({"targets": {}}, "a target"),
        ({"targets": {"t": np.arange(299)}}, "each of the 300 rows"),
        ({"layers": {"z": np.full((300, 2), np.nan)}}, "300 of 300 rows with a NaN"),
        ({"layers": {"z": np.ones((300, 2)), "b": np.ones((299, 2))}}, "as many rows"),
        ({"fine": ("label",)}, "same up to names"),
        ({"groups": [None] * 300}, "a group in every row"),
    ],
)
def test_bad_input(rng, change, message):
    with pytest.raises(InputError, match=message):
        probe(replace(coarse_to_fine(rng, True, n=300), **change), settings=QUICK)


def test_a_seed_below_0(rng):
    with pytest.raises(InputError, match="seed >= 0; found -1"):
        probe(coarse_to_fine(rng, True, n=300), settings=QUICK, seed=-1)


def test_a_finer_label_that_is_the_label_renamed(rng):
    data = coarse_to_fine(rng, True, n=300)
    names = np.array(["even", "odd"])[data.targets["label"]]
    with pytest.raises(InputError, match="same up to names"):
        probe(replace(data, targets={**data.targets, "fine": names}), settings=QUICK)


@pytest.mark.parametrize(
    "wrong",
    [{"l2": (0.0,)}, {"neighbours": (0,)}, {"shots": (0,)}, {"draws": 1}, {"confidence": 1.0}],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(InputError):
        ProbeOptions(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"folds": "3"},
        {"folds": 3.5},
        {"draws": "many"},
        {"balanced": "yes"},
        {"neighbours": 5},
        {"shots": ("1",)},
        {"l2": np.array([0.1, 1.0])},
        {"temperatures": ()},
        {"tolerance": float("nan")},
        {"margin": "0.2"},
        {"most_rows": "1000"},
        {"probes": 5},
        {"index": 5},
        {"within": {"folds": 3}},
    ],
)
def test_settings_of_another_type(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        ProbeOptions(**wrong)


def test_numbers_of_numpy_and_lists_are_settings():
    options = ProbeOptions(draws=np.int64(5), shots=[1, np.int64(5)], folds=np.int64(3))
    assert (options.draws, options.folds) == (5, 3)


def test_options_inside_classes_are_given_flat_or_as_a_part():
    flat = ProbeOptions(folds=3, strengths=(1.0,), neighbours=(5,))
    assert flat.within == WithinClassOptions(folds=3, strengths=(1.0,), neighbours=(5,))
    assert (flat.folds, flat.strengths, flat.margin, flat.index) == (3, (1.0,), 0.2, None)
    assert replace(flat, within=WithinClassOptions(folds=4)).folds == 4
    part = ProbeOptions(neighbours=(5,), within=WithinClassOptions(folds=4))
    assert part.within == WithinClassOptions(folds=4)
    assert replace(flat, draws=3).within == flat.within
    assert ProbeOptions.from_dict(flat.to_dict()) == flat
    with pytest.raises(InputError, match="folds"):
        ProbeOptions(folds=2)
