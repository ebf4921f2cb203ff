"""A reference from files: how rows are joined, and what a stream holds of them."""

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from command_line import call
from uncollapse.errors import InputError
from uncollapse.metrics import (
    Accumulator,
    Columns,
    Reference,
    load_state,
    measure,
    measure_files,
    save_state,
)
from uncollapse.metrics._held import HeldRows
from uncollapse.records import Measurement
from uncollapse.tables import ReferenceFiles


@pytest.fixture
def arrays(rng):
    base = rng.standard_normal((90, 8)) + 1
    return base[:, :3] + 0.3 * rng.standard_normal((90, 3)), base, np.arange(90) % 3


@pytest.fixture
def expected(arrays):
    rows, base, labels = arrays
    return measure(rows, labels, reference=base, permutations=0).reference


def measured(path, reference, **options):
    options = {"permutations": 0, "columns": Columns(embedding="z")} | options
    return measure_files([path], reference=reference, **options).reference


IDS = np.array([f"row-{k}" for k in range(90)])


@pytest.mark.parametrize("stream", [False, True])
def test_rows_are_joined_by_id_position_or_file(tmp_path, rng, arrays, expected, stream):
    rows, base, labels = arrays
    order = rng.permutation(90)
    both = tmp_path / "both.npz"
    np.savez(both, z=rows, h=base, label=labels, id=IDS)
    np.save(tmp_path / "plain.npy", base)
    np.save(tmp_path / "permuted.npy", base[order])
    vectors = pa.array(base[order].tolist())
    pq.write_table(pa.table({"v": vectors, "id": IDS[order]}), tmp_path / "ids.parquet")
    for reference, joined in (
        (ReferenceFiles(reference_embedding="h"), "same file"),
        (tmp_path / "plain.npy", "position"),
        (tmp_path / "ids.parquet", "id"),
        (ReferenceFiles(tmp_path / "ids.parquet", "v", "id"), "id"),
    ):
        found = measured(both, reference, stream=stream)
        assert (found.joined_by, found.rows) == (joined, 90)
        assert found.retention.estimate == pytest.approx(expected.retention.estimate, rel=1e-9)
        assert found.retention.low == pytest.approx(expected.retention.low, rel=1e-9)
    # Without ids, rows in another order are unrelated, and the output asks.
    found = measure_files(
        [both], reference=tmp_path / "permuted.npy", columns=Columns(embedding="z"), stream=stream
    )
    assert abs(found.reference.retention.estimate) < 0.1
    assert found.reference.retention.null > found.reference.retention.estimate
    assert "check that the rows of both are in the same order" in " ".join(str(found).split())


def test_rows_of_one_side_only_are_left_out_and_counted(tmp_path, arrays):
    rows, base, labels = arrays
    np.savez(tmp_path / "z.npz", z=rows[:80], label=labels[:80], id=IDS[:80])
    np.savez(tmp_path / "base.npz", x=base[10:], id=IDS[10:])
    found = measured(tmp_path / "z.npz", tmp_path / "base.npz")
    assert (found.rows, found.key) == (70, "id")
    assert found.dropped == {"only_in_embeddings": 10, "only_in_reference": 10}
    expected = measure(rows[10:80], labels[10:80], reference=base[10:80], permutations=0).reference
    assert found.retention.estimate == pytest.approx(expected.retention.estimate, rel=1e-12)


def test_views_share_the_reference_of_their_instance(tmp_path, rng, arrays):
    rows, base, labels = arrays
    views = np.repeat(rows, 2, axis=0) + 0.1 * rng.standard_normal((180, 3))
    np.savez(tmp_path / "z.npz", z=views, label=np.repeat(labels, 2), id=np.repeat(IDS, 2))
    np.savez(tmp_path / "base.npz", x=base, id=IDS)
    columns = Columns(embedding="z", instance="id")
    found = [
        measured(tmp_path / "z.npz", tmp_path / "base.npz", columns=columns, stream=stream)
        for stream in (False, True)
    ]
    expected = measure(
        views.reshape(90, 2, 3), labels, reference=base, permutations=0
    ).reference.retention.estimate
    assert [one.retention.estimate for one in found] == pytest.approx([expected] * 2, rel=1e-9)


@pytest.mark.parametrize(
    ("mine", "theirs", "key", "message"),
    [
        (IDS, np.r_[IDS[:89], IDS[:1]], None, "1 of .*base.npz with an id that came before"),
        (np.r_[IDS[:89], IDS[:1]], IDS, None, "1 rows of the embeddings and 0 of"),
        (IDS, np.arange(90), None, "none of 90 in the 90 of"),
        (IDS, IDS, "site", "the id column 'site' in both files; found none in .*base.npz"),
        (None, IDS[:89], None, "as many rows in .*base.npz as there are"),
    ],
)
def test_ids_that_do_not_fit_are_refused(tmp_path, arrays, mine, theirs, key, message):
    rows, base, labels = arrays
    ids = {} if mine is None else {"id": mine}
    np.savez(tmp_path / "z.npz", z=rows, label=labels, **ids)
    np.savez(tmp_path / "base.npz", x=base[: len(theirs)], id=theirs)
    with pytest.raises(InputError, match=message):
        measured(tmp_path / "z.npz", ReferenceFiles(tmp_path / "base.npz", key=key))


def test_rows_in_another_order_are_refused_where_labels_tell(tmp_path, rng, arrays):
    rows, base, labels = arrays
    np.savez(tmp_path / "z.npz", z=rows, label=labels)
    order = rng.permutation(90)
    np.savez(tmp_path / "base.npz", x=base[order], label=labels[order])
    with pytest.raises(InputError, match="rows with another label in column 'label'"):
        measured(tmp_path / "z.npz", tmp_path / "base.npz")
    np.savez(tmp_path / "base.npz", x=base, label=labels)
    assert measured(tmp_path / "z.npz", tmp_path / "base.npz").joined_by == "position"
    np.save(tmp_path / "flat.npy", base[:, 0])
    with pytest.raises(InputError, match=r"one embedding column .--reference-embedding"):
        measured(tmp_path / "z.npz", tmp_path / "flat.npy")


def test_a_stream_holds_a_random_part_of_what_is_too_large(rng):
    base = rng.standard_normal((4000, 6))
    rows, labels = base[:, :3], np.arange(4000) % 2
    whole = measure(rows, labels, reference=base, permutations=0).reference
    halves = [Accumulator(), Accumulator()]
    for half, at in zip(halves, (slice(0, 1500), slice(1500, None)), strict=True):
        half.held = HeldRows(Reference(None), most_bytes=100_000)
        half.update(rows[at], labels[at], reference=base[at])
    halves[0].merge(halves[1])
    found = halves[0].measurement(permutations=0).reference
    assert 500 < found.rows < 100_000 / 72 + 1
    assert found.drawn_from == 4000
    assert found.retention.low < whole.retention.estimate < found.retention.high
    with pytest.raises(InputError, match="in all parts of a stream"):
        halves[0].update(rows, labels)


def test_groups_in_a_stream_are_those_in_memory(rng, arrays):
    rows, base, labels = arrays
    groups = np.arange(90) // 9
    expected = measure(rows, labels, groups=groups, reference=base, permutations=0).reference
    stream = Accumulator()
    for at in (slice(0, 40), slice(40, None)):
        stream.update(rows[at], labels[at], groups=groups[at], reference=base[at])
    found = stream.measurement(permutations=0).reference
    assert found.retention.estimate == pytest.approx(expected.retention.estimate, rel=1e-9)
    assert found.retention.low == pytest.approx(expected.retention.low, rel=1e-9)


def test_the_json_has_the_documented_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    few = digits.data[:, ::4] + 20 * np.eye(2, 16)[digits.target % 2]
    np.savez("z.npz", z=few, pixels=digits.data, label=digits.target % 2, digit=digits.target)
    command = "measure z.npz --embedding z --reference-embedding pixels --fine digit"
    answer = call(*command.split(), "--permutations", "1", "--json")
    assert answer.returncode == 0, answer.stderr
    record = Measurement.from_json(answer.stdout)
    assert json.loads(record.to_json()) == json.loads(answer.stdout)
    found = json.loads(answer.stdout)["reference"]
    assert (found["name"], found["rows"], found["joined_by"]) == ("pixels", 1797, "same file")
    assert set(found["retention"]) == {"estimate", "low", "high", "null"}
    assert [one["label"] for one in found["classes"]] == [0, 1]
    assert set(found["classes"][0]["retention"]) == {"estimate", "low", "high", "null"}
    probe = found["probe"]
    assert probe["shots"] == 10
    assert probe["difference"]["estimate"] == pytest.approx(probe["embedding"] - probe["reference"])
    assert probe["difference"]["low"] < probe["difference"]["high"] < 0
    refused = call("measure", "z.npz", "--embedding", "z", "--key", "digit")
    assert refused.returncode == 2
    assert "(--reference)" in refused.stderr


def _states(tmp_path, arrays, cuts, most_bytes=1 << 25, name="base", **columns):
    """Saved streams of consecutive rows, and one stream over all of them."""
    rows, base, labels = arrays
    whole, paths = Accumulator(), []
    for first, last in pairwise(cuts):
        part = slice(first, last)
        own = {key: values[part] for key, values in columns.items()}
        one = Accumulator()
        for each in (whole, one):
            each.held = each.held or HeldRows(Reference(None, name), most_bytes=most_bytes)
            beside = Reference(base[part], name)
            each.update(rows[part], labels[part], reference=beside, **own)
        paths.append(tmp_path / f"state-{first}.npz")
        save_state(one, paths[-1])
    return paths, whole


@pytest.mark.parametrize("columns", ["", "instances", "groups"])
@pytest.mark.parametrize("most_bytes", [1 << 25, 50_000])
def test_states_with_a_reference_merge_to_what_one_stream_finds(
    tmp_path, rng, columns, most_bytes, monkeypatch
):
    base = rng.standard_normal((4000, 6))
    base[2000:2600] = base[:600]  # some of each state are copies of rows of another
    arrays = base[:, :3] + 0.3 * base[:, 3:], base, np.arange(4000) % 2
    arrays[2][2000:2600] = arrays[2][:600]
    given = {columns: np.arange(4000) // 4} if columns else {}
    if columns == "instances":
        arrays = *arrays[:2], np.arange(4000) // 4 % 2
    monkeypatch.setattr("uncollapse.metrics._held._MOST_BYTES", most_bytes)
    paths, whole = _states(tmp_path, arrays, (0, 1500, 2000, 4000), most_bytes, **given)
    expected = whole.measurement(permutations=9)
    found = measure_files(paths, permutations=9)
    merged = load_state(paths[0])
    for path in paths[1:]:
        merged.merge(load_state(path))
    assert merged.measurement(permutations=9).reference == expected.reference
    assert found.reference.retention.estimate == expected.reference.retention.estimate
    assert found.reference.retention.low == expected.reference.retention.low is not None
    assert (found.reference.drawn_from is None) == (most_bytes > 50_000)
    if most_bytes > 50_000:
        once = measure(arrays[0], arrays[2], **given, reference=Reference(base, "base"))
        assert found.reference.retention.estimate == pytest.approx(
            once.reference.retention.estimate, rel=1e-9
        )
        assert found.reference.retention.low == pytest.approx(
            once.reference.retention.low, abs=1e-9
        )


def test_states_that_do_not_belong_together_are_refused(tmp_path, rng, arrays):
    rows, base, labels = arrays
    (one, two), _ = _states(tmp_path, arrays, (0, 50, 90))
    plain = Accumulator()
    plain.update(rows, labels)
    save_state(plain, tmp_path / "plain.npz")
    with pytest.raises(InputError, match="with a reference, or two without; found one with and"):
        measure_files([one, tmp_path / "plain.npz"])
    with pytest.raises(InputError, match="which has its reference in it or has none"):
        measure_files([one, two], reference=tmp_path / "base.npz")
    for name, reference in (("other", base), ("base", base[:, :2])):
        state = Accumulator()
        state.update(rows, labels, reference=Reference(reference, name))
        save_state(state, tmp_path / "third.npz")
        message = (
            f"which was 'base' of {base.shape[1]} dimensions, joined by position; found '{name}'"
        )
        with pytest.raises(InputError, match=message):
            measure_files([one, tmp_path / "third.npz"])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("held_y", lambda y: y[:, :1], r"held_y is \(50, 1\), not \(50, 8\)"),
        ("held_x", lambda x: 2 + x, "no means of unit vectors"),
        ("held_x", lambda x: np.full_like(x, np.nan), "no finite numbers"),
        ("held_labels", lambda codes: codes + 5, "held_labels beyond the"),
        ("held_keys", lambda keys: keys.astype(float), "no hashes"),
        ("held_contents", None, "held_contents is missing"),
        ("held_x", lambda x: np.zeros((10**6, 3)), r"held_x is \(1000000, 3\), not"),
    ],
)
def test_a_damaged_state_with_a_reference_is_refused(tmp_path, arrays, name, change, message):
    (path, _), _ = _states(tmp_path, arrays, (0, 50, 90))
    with np.load(path) as stored:
        damaged = dict(stored)
    values = damaged.pop(name)
    if change is not None:
        damaged[name] = change(values)
    np.savez(path, **damaged)
    with pytest.raises(InputError, match=message):
        load_state(path)


def test_saved_shards_of_a_joined_reference_count_its_lone_rows_once(tmp_path, rng, arrays):
    rows, base, labels = arrays
    np.savez(tmp_path / "base.npz", x=base, id=IDS)
    states = []
    for k, part in enumerate((slice(0, 40), slice(40, 80))):
        shard = tmp_path / f"z{k}.npz"
        np.savez(shard, z=rows[part], label=labels[part], id=IDS[part])
        states.append(tmp_path / f"state{k}.npz")
        command = ["measure", str(shard), "--reference", str(tmp_path / "base.npz")]
        assert call(*command, "--save-state", str(states[-1])).returncode == 0
    answer = call("measure", *map(str, states), "--json")
    found = json.loads(answer.stdout)["reference"]
    np.savez(tmp_path / "z.npz", z=rows[:80], label=labels[:80], id=IDS[:80])
    expected = measured(tmp_path / "z.npz", tmp_path / "base.npz")
    assert found["dropped"] == dict(expected.dropped) == {"only_in_reference": 10}
    assert (found["rows"], found["joined_by"], found["key"]) == (80, "id", "id")
    assert found["retention"]["low"] == pytest.approx(expected.retention.low, rel=1e-9)


@pytest.mark.parametrize("stream", [False, True])
def test_only_rows_of_a_reference_that_are_zero_or_not_finite_are_faults(rng, stream):
    """Rows are looked at by their sums first: 0, or too large for float32, is no fault yet."""
    labels, z = np.repeat([0, 1], 50), rng.standard_normal((100, 4))
    base = rng.standard_normal((100, 4)).astype(np.float32)
    base[0], base[1] = [1, -1, 2, -2], [3e38, 3e38, 0, 0]
    base[2], base[3], base[4] = 0, [np.inf, -np.inf, 0, 0], [1, np.nan, 0, 0]
    if stream:
        state = Accumulator(drop_invalid=True)
        state.update(z, labels, reference=base)
        found = state.measurement().reference
    else:
        found = measure(z, labels, reference=base, drop_invalid=True).reference
    assert (found.rows, found.dropped) == (
        97,
        {"reference_zero": 1, "reference_not_finite": 2},
    )
