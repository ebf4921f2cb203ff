"""Unusable rows: an error that names them, or counted and dropped."""

import json

import numpy as np
import pytest
from embeddings import cloud

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, Margins, WithinClassOptions, measure


def case(rng, fault):
    """A good sample with one fault: (rows, labels, instances, groups), rows that are faulty."""
    rows, labels, instances = cloud(rng, (20, 20, 20), views=2)
    labels, instances = labels.astype(object), instances.astype(object)
    groups = None
    if fault == "not_finite":
        rows[[3, 50], 1] = np.nan, np.inf
    if fault == "zero":
        rows[7:9] = 0
    if fault == "no_label":
        labels[[0, 1]] = None, np.nan
    if fault == "no_instance":
        instances[4:6] = None, ""
    if fault == "no_group":
        groups = (instances // 2).astype(object)
        groups[:2] = None
    if fault == "instance_in_two_classes":
        labels[5] = 1
    if fault == "instance_in_two_groups":
        groups = instances.copy()
        groups[5] = 59
    if fault == "alone_in_class":
        labels[-2:] = 7
    return rows, labels, instances, groups


@pytest.mark.parametrize(
    "fault",
    [
        "not_finite",
        "zero",
        "no_label",
        "no_instance",
        "no_group",
        "instance_in_two_classes",
        "instance_in_two_groups",
        "alone_in_class",
    ],
)
def test_faulty_rows_are_named_or_dropped(rng, fault):
    rows, labels, instances, groups = case(rng, fault)
    given = {"instances": instances, "groups": groups, "permutations": 0}
    with pytest.raises(InputError, match=r"2 of 120 rows"):
        measure(rows, labels, **given)
    found = measure(rows, labels, drop_invalid=True, **given)
    assert found.conditions["dropped"] == {fault: 2}
    assert found.conditions["samples"] == 118


def test_an_instance_is_judged_by_its_names_whether_its_embeddings_can_be_used_or_not(rng):
    rows, labels, instances = cloud(rng, (20, 20, 20), views=2)
    labels[5], rows[5] = 1, np.nan
    found = measure(rows, labels, instances=instances, drop_invalid=True, permutations=0)
    assert found.conditions["dropped"] == {"not_finite": 1, "instance_in_two_classes": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((4, 2)), [0, 0, 1]), "4 rows"),
        ((np.eye(4), [1, 1, 1, 1]), "two classes or more"),
        ((np.ones(4), [0, 1, 0, 1]), "shape"),
        ((np.array([[1.0], [1.0, 2.0]], dtype=object), [0, 1]), "one length"),
        (([[1.0], [1.0, 2.0]], [0, 1]), "one length"),
        ((np.array([["a", "b"]] * 4), [0, 0, 1, 1]), "real number type"),
        ((np.zeros((0, 3)), []), "shape"),
        ((np.eye(4), [[0, 1], [0, 1], [1, 0], [1, 0]]), "one entry"),
        ((np.eye(4), None), "labels"),
        ((np.eye(2), [{}, {}]), "one name or number"),
    ],
)
def test_what_cannot_be_measured(arguments, message):
    with pytest.raises(InputError, match=message):
        measure(*arguments)


@pytest.mark.parametrize(
    "labels",
    [
        np.ma.masked_array([0, 0, 1, 1], [0, 1, 0, 0]),
        np.array(["2020-01-01", "NaT", "2020-01-02", "2020-01-02"], dtype="M8[D]"),
    ],
)
def test_masked_and_not_a_time_are_missing(labels):
    with pytest.raises(InputError, match="1 of 4 rows with no label"):
        measure(np.eye(4), labels)


def test_an_infinite_label_goes_to_json(rng):
    rows, labels, _ = cloud(rng, (9, 9))
    found = measure(rows, np.where(labels, np.inf, 0.5), permutations=0)
    assert [one["label"] for one in json.loads(found.to_json())["classes"]] == [0.5, "inf"]


def test_nothing_left_after_dropping():
    with pytest.raises(InputError, match="two classes or more"):
        measure(np.full((6, 3), np.nan), [0, 0, 0, 1, 1, 1], drop_invalid=True)


def test_stream_names_and_drops_the_same(rng):
    rows, labels, _ = cloud(rng, (20, 20))
    rows[3] = np.nan
    labels = labels.astype(float)
    labels[30] = np.nan
    strict = Accumulator("blocks")
    with pytest.raises(InputError, match=r"1 of 25 rows .*first: row 3"):
        strict.update(rows[:25], labels[:25])
    found = Accumulator("blocks", drop_invalid=True)
    found.update(rows, labels)
    found.update(rows[:1], ["alone"])
    record = found.measurement()
    assert record.conditions["dropped"] == {"not_finite": 1, "no_label": 1, "alone_in_class": 1}
    assert record.conditions["samples"] == 38
    found.drop_invalid = False
    with pytest.raises(InputError, match="alone"):
        found.measurement()


def test_it_is_said_that_rows_were_normalised(rng):
    rows, labels, _ = cloud(rng, (10, 10))
    assert measure(rows, labels).conditions["normalised"] is True
    found = measure(rows * 3, labels)
    assert found.conditions["normalised"] is False
    assert "normalised to unit vectors" in str(found)


def streamed():
    stream = Accumulator()
    stream.update(np.eye(4), [0, 0, 1, 1])
    return stream


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Margins(collapsed=0.1, healthy=0.05),
        lambda: Margins(collapsed_of_predicted=0),
        lambda: WithinClassOptions(folds=2),
        lambda: Accumulator("half"),
        lambda: Accumulator("blocks", blocks=2).update(np.eye(4), [0, 0, 1, 1]),
        lambda: measure(np.eye(4), [0, 0, 1, 1], confidence=1),
        lambda: measure(np.eye(4), [0, 0, 1, 1], permutations=-1),
        lambda: measure(np.eye(4), [0, 0, 1, 1], permutations=10**11),
        lambda: WithinClassOptions(permutations=10**11),
        lambda: measure(np.eye(4), [0, 0, 1, 1], seed=-1),
        lambda: streamed().measurement(confidence=1.5),
        lambda: streamed().measurement(confidence=0),
        lambda: measure(np.eye(4), [0, 0, 1, 1], prediction={"phase": "spread"}),
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(InputError):
        wrong()


@pytest.mark.parametrize(
    "given",
    [{"seed": "a"}, {"seed": 1.5}, {"confidence": "x"}, {"confidence": 1}, {"permutations": None}],
)
def test_options_of_another_type_are_named(given):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(InputError, match=f"expected {next(iter(given))}"):
        measure(rows, np.arange(20) % 2, **given)


def test_a_column_in_which_nothing_is_known_costs_no_answer():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    unknown = np.full(40, -1)
    found = measure(rows, np.arange(40) % 2, fine_labels=unknown, permutations=0)
    assert found.share.estimate is not None
