"""Batches are a pure function of seed and epoch, hold no row twice, and reach what they say."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from uncollapse.data import BatchConfig, PermutationStream, make_sampler
from uncollapse.errors import InputError
from uncollapse.losses import supcl_loss
from uncollapse.records import BalancedBatch, FullBatch, RandomBatch

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [100, 7, 12, 31]))
BALANCED = BatchConfig(sampler="balanced", per_class=5, classes=3)
AWARE = BatchConfig(sampler="class-aware", per_class=5, classes=3)
SHUFFLED = BatchConfig(size=32)
ALL = [BALANCED, AWARE, SHUFFLED]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.data(), st.integers(0, 99))
def test_a_stream_repeats_nothing_in_a_block_and_can_be_entered_anywhere(items, data, key):
    block = data.draw(st.integers(1, items))
    stop = data.draw(st.integers(1, 60))
    start = data.draw(st.integers(0, stop))
    stream = PermutationStream(items, block, (key,))
    blocks = stream.blocks(0, stop)
    assert all(len(set(row)) == block for row in blocks.tolist())
    counts = np.bincount(blocks.ravel(), minlength=items)
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(counts, stream.counts(stop))
    np.testing.assert_array_equal(stream.blocks(start, stop), blocks[start:])


def test_a_block_across_two_permutations_is_still_uniform():
    pairs = [tuple(sorted(PermutationStream(4, 3, (key,)).blocks(1, 2)[0])) for key in range(2000)]
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(counts) == 4
    assert (np.abs(counts - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()


@pytest.mark.parametrize("config", ALL)
def test_batches_are_a_function_of_seed_and_epoch(config):
    sampler = make_sampler(config, LABELS, seed=3)
    epochs = [np.array(sampler.batches(epoch)) for epoch in range(9)]
    alone = np.array(make_sampler(config, LABELS, seed=3).batches(7))
    np.testing.assert_array_equal(alone, epochs[7])
    assert alone.shape == (sampler.steps, sampler.size)
    assert (alone != epochs[6]).any()
    assert (alone != np.array(make_sampler(config, LABELS, seed=4).batches(7))).any()
    assert all(len(set(rows.tolist())) == sampler.size for batches in epochs for rows in batches)


@pytest.mark.parametrize("config", [BALANCED, AWARE])
def test_balanced_batches_hold_n_b_rows_of_each_of_k_classes(config):
    sampler = make_sampler(config, LABELS, seed=0)
    assert sampler.batch() == BalancedBatch(per_class=5, classes=3)
    for epoch in range(20):
        for rows in sampler.batches(epoch):
            _, counts = np.unique(LABELS[rows], return_counts=True)
            assert counts.tolist() == [5, 5, 5]


def test_balanced_is_one_pass_and_goes_on_where_a_large_class_stopped():
    sampler = make_sampler(BALANCED, LABELS, seed=0)
    assert sampler.steps == 10  # 150 rows of 15
    first = sampler.coverage(0)
    assert first.classes.tolist() == [0, 1, 2, 3]
    assert first.samples.tolist() == [100, 7, 12, 31]
    assert first.reached[1:].tolist() == [7, 12, 31]
    assert 30 <= first.reached[0] <= 40
    assert first.unreached == 100 - first.reached[0]
    assert first.unreached_classes == ()
    # 100 rows at 5 a batch in 3 of 4 batches: two epochs hold no row of it twice, three reach all.
    drawn = np.concatenate([rows for e in range(2) for rows in sampler.batches(e)])
    large = drawn[LABELS[drawn] == 0]
    assert len(np.unique(large)) == len(large)
    drawn = np.concatenate([rows for e in range(3) for rows in sampler.batches(e)])
    assert set(np.flatnonzero(LABELS == 0)) <= set(drawn.tolist())


def test_class_aware_reaches_every_row_in_every_epoch():
    sampler = make_sampler(AWARE, LABELS, seed=0)
    for epoch in range(5):
        coverage = sampler.coverage(epoch)
        assert coverage.unreached == 0
        places = sampler.steps * sampler.size
        assert coverage.repeated.sum() == places - len(LABELS)
    assert sampler.coverage(4).text == ("epoch 4 reaches 150 of 150 rows; 255 places repeat a row")


def test_equal_classes_are_reached_whole_by_balanced_batches():
    labels = np.repeat(np.arange(4), 3000)
    sampler = make_sampler(BatchConfig(sampler="balanced", per_class=64), labels, seed=0)
    assert sampler.coverage(5).unreached == 0
    assert sampler.batch() == BalancedBatch(64, None)


def test_unlabelled_rows_are_used_or_said_to_be_left_out():
    labels = np.where(np.arange(150) % 3 == 0, -1, LABELS)
    shuffled = make_sampler(BatchConfig(size=25), labels, seed=0)
    assert shuffled.coverage(0).text == "epoch 0 reaches 150 of 150 rows"
    for kind in ("balanced", "class-aware"):
        sampler = make_sampler(BatchConfig(sampler=kind, per_class=2), labels, seed=0)
        assert all((labels[rows] >= 0).all() for rows in sampler.batches(0))
        assert sampler.coverage(0).unreached_classes == (-1,)
        assert "50 unlabelled are left out" in sampler.coverage(0).text


def test_coverage_says_which_classes_are_left_out():
    labels = np.arange(10).repeat(4)
    config = BatchConfig(sampler="balanced", per_class=4, classes=4)
    coverage = make_sampler(config, labels, seed=0).coverage(0)  # 3 batches of 4 of 10 classes
    assert coverage.unreached == 0
    dropped = make_sampler(BatchConfig(size=39), labels, seed=0).coverage(0)
    assert dropped.unreached == 1
    assert dropped.text == "epoch 0 reaches 39 of 40 rows; 1 not reached"
    lonely = make_sampler(BatchConfig(size=8), np.arange(9), seed=0).coverage(0)
    (missing,) = lonely.unreached_classes
    assert lonely.text.endswith(f"among them all of class {missing}")


def test_the_composition_is_what_theory_takes():
    equal = np.repeat([0, 1], 6)
    assert make_sampler(SHUFFLED, LABELS, seed=0).batch() == RandomBatch(32)
    assert make_sampler(BatchConfig(size="full"), LABELS, seed=0).batch() == FullBatch()
    whole = BatchConfig(sampler="balanced", per_class=6)
    assert make_sampler(whole, equal, seed=0).batch() == FullBatch()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BatchConfig(size=151), "at most the 150 training rows; found size = 151"),
        (BatchConfig(), "found size = 256"),
        (BatchConfig(sampler="balanced", per_class=8), "found b has 7"),
        (BatchConfig(sampler="class-aware", per_class=13), "b has 7, c has 12; give per_class of"),
        (BatchConfig(sampler="balanced", per_class=2, classes=5), "at most the 4 classes"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        make_sampler(config, LABELS, seed=0, names="abcd")


@pytest.mark.parametrize(
    "block",
    [
        {"sampler": "balanced"},
        {"sampler": "balanced", "size": 4, "per_class": 2},
        {"size": 4, "classes": 2},
        {"size": 0},
        {"size": True},
        {"sampler": "class-aware", "per_class": 0},
        {"sampler": "other"},
        {"seize": 4},
    ],
)
def test_impossible_configurations_are_refused(block):
    with pytest.raises(ValidationError):
        BatchConfig.model_validate(block)


def both(labels, sampler="shuffled"):
    """The classes that a sampler reads, and whether the loss takes them."""
    size = {"size": 2} if sampler == "shuffled" else {"per_class": 2}
    made = make_sampler(BatchConfig(sampler=sampler, **size), labels, seed=0)
    supcl_loss(torch.randn(len(labels), 2, 4), labels, alpha=0.5, temperature=0.1)
    return made.coverage(0).classes.tolist()


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0.2, 0.2, 0.7, 0.7]),
        np.array([0, 0, np.nan, np.nan]),
        np.array([0, 0, np.inf, 1]),
        np.array(["a", "a", "b", "b"]),
        np.array([0, 0, -2, -2]),
        torch.tensor([0, 0, 4096, 4096], dtype=torch.half),
        np.array([2**63 + 5] * 2 + [1] * 2, np.uint64),
        np.array([[0, 0], [1, 1]]),
        np.ma.array([0, 0, 1, 1], mask=[0, 0, 1, 1]),
    ],
)
@pytest.mark.parametrize("sampler", ["shuffled", "balanced"])
def test_labels_that_the_losses_refuse_are_refused(labels, sampler):
    size = {"size": 2} if sampler == "shuffled" else {"per_class": 2}
    with pytest.raises(InputError, match="of whole numbers, 0 or more, or -1"):
        make_sampler(BatchConfig(sampler=sampler, **size), labels, seed=0)
    with pytest.raises(InputError):
        supcl_loss(torch.randn(4, 2, 4), labels, alpha=0.5, temperature=0.1)


@pytest.mark.parametrize(
    "labels",
    [
        [0, 0, 1, 1, -1],
        np.array([[0], [0], [1], [1], [-1]]),
        np.array([0, 0, 1, 1, -100]),
        np.array([0.0, 0, 1, 1, -1]),
        torch.tensor([0.0, 0.0, 1.0, 1.0, -100.0], requires_grad=True),
    ],
)
def test_labels_that_the_losses_take_are_taken_for_the_same_classes(labels):
    assert both(labels) == [-1, 0, 1]


def test_a_million_rows_take_seconds():
    labels = np.random.default_rng(0).integers(0, 1000, 1_200_000)
    sampler = make_sampler(
        BatchConfig(sampler="balanced", per_class=8, classes=128), labels, seed=0
    )
    begin = time.process_time()
    sampler.batches(1000)
    assert time.process_time() - begin < 5
