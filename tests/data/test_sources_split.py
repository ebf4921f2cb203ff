"""Splits, subsets, labels and fingerprints."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uncollapse.data import (
    LimitConfig,
    SplitConfig,
    data_config,
    limited_rows,
    load_data,
    make_split,
)
from uncollapse.errors import InputError
from uncollapse.tables import part_names

PARTS = ("train", "validation", "test")


def split_of(config, codes, fine=(), groups=None, given_=None, seed=0):
    names = [str(code) for code in range(codes.max() + 1)]
    return make_split(config, given_, codes, names, list(fine), groups, seed)[0]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(5, 200), min_size=2, max_size=6),
    st.sampled_from([(0.1, 0.2), (0.15, 0.15), (0, 0.3), (0.25, 0)]),
    st.integers(0, 2**31),
)
def test_each_class_and_each_finer_label_keeps_its_share(sizes, fractions, seed):
    generator = np.random.default_rng(seed)
    codes = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    finer = codes * 3 + generator.integers(0, 3, len(codes))
    validation, test = fractions
    split = split_of(SplitConfig(validation=validation, test=test), codes, [finer], seed=seed)
    for part, share in (("validation", validation), ("test", test)):
        for values, slack in ((codes, 0.5), (finer, 2)):
            for value in np.unique(values):
                size = np.count_nonzero(values == value)
                count = np.count_nonzero((values == value) & (split == part))
                # Each class has a row in each part, and a finer label is off by the rounding of
                # its class and of its own place in it, for validation twice.
                assert abs(count - share * size) <= max(slack, 1 - share * size) + 1e-9
    np.testing.assert_array_equal(
        split, split_of(SplitConfig(validation=validation, test=test), codes, [finer], seed=seed)
    )


def test_another_seed_gives_another_split():
    codes = np.repeat([0, 1], 100)
    assert (split_of(SplitConfig(), codes) != split_of(SplitConfig(), codes, seed=1)).any()


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_shares_are_kept(seed):
    generator = np.random.default_rng(seed)
    groups = np.repeat([f"g{i}" for i in range(80)], generator.integers(2, 30, 80))
    # A group has mostly one class, as a patient has.
    codes = np.where(
        generator.random(len(groups)) < 0.8,
        np.array([int(g[1:]) % 4 for g in groups]),
        generator.integers(0, 4, len(groups)),
    )
    split = split_of(SplitConfig(validation=0.1, test=0.2), codes, groups=groups, seed=seed)
    parts_of = {group: set(split[groups == group]) for group in groups}
    assert all(len(parts) == 1 for parts in parts_of.values())
    for code in range(4):
        for part, share in zip(PARTS, (0.7, 0.1, 0.2), strict=True):
            assert np.mean(split[codes == code] == part) == pytest.approx(share, abs=0.06)


def test_a_given_test_part_is_kept_and_validation_comes_from_training():
    codes = np.tile([0, 1], 50)
    given_ = np.where(np.arange(100) < 40, "test", "train")
    split = split_of(SplitConfig(), codes, given_=given_)
    assert (split[:40] == "test").all()
    assert np.count_nonzero(split[40:] == "validation") == 6
    assert np.count_nonzero(split[40:] == "test") == 0


def test_words_for_parts():
    words = ["train", "val", "Validation", "test"]
    assert part_names(words, "x").tolist() == ["train", "validation", "validation", "test"]
    renamed = part_names([*words, "holdout"], "x", {"val": "test", "holdout": "validation"})
    assert renamed.tolist() == ["train", "test", "test", "test", "validation"]
    with pytest.raises(InputError, match=r"in x; found 'holdout', None; set split\.rename"):
        part_names(["train", "holdout", None], "x")


def test_rows_without_label_are_for_training():
    codes = np.repeat([-1, 0, 1], 40)
    split = split_of(SplitConfig(), codes)
    assert (split[codes < 0] == "train").all()
    assert np.count_nonzero(split == "test") == 16


def test_what_no_split_can_do():
    with pytest.raises(InputError, match=r"found 2 in class '1'"):
        split_of(SplitConfig(), np.array([0] * 30 + [1] * 2))
    assert (split_of(SplitConfig(validation=0), np.array([0] * 30 + [1] * 2)) == "test").any()
    groups = np.array(["a", "b", "c", "d"] * 10)
    codes = np.where(groups == "a", 1, 0)
    with pytest.raises(InputError, match=r"class '1' in 1"):
        split_of(SplitConfig(), codes, groups=groups)
    given_ = np.tile(["train", "test"], 20)
    with pytest.raises(InputError, match=r"lie in one part.*'x'"):
        split_of(SplitConfig(), np.repeat([0, 1], 20), groups=np.full(40, "x"), given_=given_)
    with pytest.raises(InputError, match="two classes or more among the training rows"):
        split_of(
            SplitConfig(validation=0),
            np.repeat([0, 1], 20),
            given_=np.repeat(["train", "test"], 20),
        )


def test_subsets_are_stratified_and_lie_in_one_another():
    codes = np.repeat([0, 1, 2], [700, 250, 50])
    split = split_of(SplitConfig(), codes)
    small, large = (set(limited_rows(n, split, codes, [], 0).tolist()) for n in (100, 400))
    assert len(small) == 100
    assert small < large
    rows = np.array(sorted(large))
    for part in PARTS:
        assert np.mean(split[rows] == part) == pytest.approx(np.mean(split == part), abs=0.02)
    assert np.bincount(codes[rows]).tolist() == pytest.approx([280, 100, 20], abs=3)
    # Nine rows: one for each class in each part.
    few = limited_rows(9, split, codes, [], 0)
    assert len({(split[row], codes[row]) for row in few}) == 9
    rows = limited_rows(LimitConfig(train=60), split, codes, [], 0)
    assert np.count_nonzero(split[rows] == "train") == 60
    assert np.count_nonzero(split[rows] == "test") == np.count_nonzero(split == "test")
    with pytest.raises(InputError, match="at most 1000 rows"):
        limited_rows(1001, split, codes, [], 0)


def test_a_subset_never_trains_on_test_rows_of_the_whole():
    whole = load_data(data_config({"source": "digits"}))
    part = dict(zip(whole.ids.tolist(), whole.split.tolist(), strict=True))
    pilot = load_data(data_config({"source": "digits", "limit": 300}))
    assert [part[name] for name in pilot.ids] == pilot.split.tolist()


def test_the_fingerprint_tells_data_apart():
    def fingerprint(**more):
        description = load_data(data_config({"source": "digits", "limit": 300} | more)).description
        json.dumps(asdict(description))
        return description.fingerprint

    same = fingerprint()
    assert same == fingerprint()
    others = [
        fingerprint(**more)
        for more in (
            {"seed": 1},
            {"limit": 301},
            {"map": "parity"},
            {"image": {"size": 9}},
            {"split": {"test": 0.3}},
        )
    ]
    assert len({same, *others}) == 6


def test_the_fingerprint_sees_one_changed_value(tmp_path):
    def fingerprint(inputs):
        np.savez(tmp_path / "a.npz", inputs=inputs, label=np.arange(20) % 2)
        block = {"source": "arrays", "path": str(tmp_path / "a.npz"), "kind": "vector"}
        return load_data(data_config(block)).description.fingerprint

    inputs = np.zeros((20, 3), np.float32)
    before = fingerprint(inputs)
    assert before == fingerprint(inputs)
    inputs[19, 2] = 1e-6
    assert before != fingerprint(inputs)


def test_test_rows_that_training_has_too_are_named(tmp_path):
    rng = np.random.default_rng(3)
    rows, label = rng.standard_normal((60, 4)).astype("f4"), np.arange(60) % 2
    part = np.array(["train"] * 40 + ["test"] * 20)
    rows[40:47] = rows[:7]
    np.savez(tmp_path / "d.npz", x=rows, label=label, part=part)
    block = {"source": "arrays", "path": str(tmp_path / "d.npz"), "inputs": "x", "kind": "vector"}
    block |= {"split": {"column": "part", "validation": 0}}
    notes = load_data(data_config(block)).description.notes
    assert "7 test row(s) are exact copies of training rows" in notes
