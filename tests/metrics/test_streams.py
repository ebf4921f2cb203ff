"""Batches, shards and processes give the numbers of one call."""

import socket

import numpy as np
import pytest
import torch
from embeddings import cloud

from processes import run_in_processes
from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, load_state, measure, save_state
from uncollapse.monitor import CollapseMetric


def numbers(record, path=""):
    """Every number of a nested record by its path; None where there is none."""
    if isinstance(record, dict):
        for key, value in record.items():
            yield from numbers(value, f"{path}/{key}")
    elif isinstance(record, (list, tuple)):
        for k, value in enumerate(record):
            yield from numbers(value, f"{path}/{k}")
    elif isinstance(record, (int, float)) or record is None:
        yield path, record


ROWS_NEEDED = ("uniformity", "null", "conditions", "influences")


def assert_same(a, b, beside=()):
    mine, theirs = dict(numbers(a.to_dict())), dict(numbers(b.to_dict()))
    compared = 0
    for path, value in mine.items():
        if any(word in path for word in (*ROWS_NEEDED, *beside)):
            continue
        expected = None if value is None else pytest.approx(value, rel=1e-9, abs=1e-14)
        assert theirs[path] == expected, path
        compared += 1
    assert compared > 60
    assert [r.code for r in a.reasons] == [r.code for r in b.reasons]


def parts(rng, rows, labels, views, count):
    """Batches of whole instances in random order."""
    instances = rng.permutation(len(labels) // views)
    for chosen in np.array_split(instances, count):
        at = (chosen[:, None] * views + np.arange(views)).ravel()
        yield rows[at], labels[at], at // views


@pytest.mark.parametrize("V", [0.3, 1e-4])
@pytest.mark.parametrize("views", [1, 3])
def test_merged_saved_accumulators_equal_one_call(rng, tmp_path, V, views):
    rows, labels, instances = cloud(rng, (80, 50, 9), V=V, views=views, view_noise=0.3 * V)
    given = {"instances": instances} if views > 1 else {}
    whole = measure(rows, labels, **given, permutations=0)
    shards = [Accumulator() for _ in range(3)]
    for k, (z, y, u) in enumerate(parts(rng, rows, labels, views, 14)):
        shards[k % 3].update(z, y, u if views > 1 else None)
    for k, shard in enumerate(shards):
        save_state(shard, tmp_path / f"{k}.npz")
    merged = load_state(tmp_path / "2.npz")
    merged.merge(load_state(tmp_path / "0.npz"))
    merged.merge(load_state(tmp_path / "1.npz"))
    assert_same(whole, merged.measurement())


def test_groups_spread_over_shards_and_classes(rng):
    rows, labels, instances = cloud(rng, (60, 60), views=2)
    groups = instances % 17
    whole = measure(rows, labels, instances=instances, groups=groups, permutations=0)
    first, second = Accumulator(), Accumulator()
    for k, (z, y, u) in enumerate(parts(rng, rows, labels, 2, 9)):
        (first, second)[k % 2].update(z, y, u, groups[2 * u])
    first.merge(second)
    # The accumulator keeps no covariance of instances when units are groups.
    covariances = ("directional_cdnv", "nc1", "rankme", "class_spectrum", "first_direction")
    assert_same(whole, first.measurement(), covariances)


def test_blocks_give_the_same_estimates_and_near_intervals(rng):
    rows, labels, _ = cloud(rng, (3000, 3000, 3000))
    whole = measure(rows, labels, permutations=0).within_class_variance
    stream = Accumulator("blocks")
    for at in np.array_split(rng.permutation(len(rows)), 20):
        stream.update(rows[at].astype(np.float64), labels[at])
    found = stream.measurement().within_class_variance
    assert found.estimate == pytest.approx(whole.estimate, rel=1e-9)
    assert found.plug_in == pytest.approx(whole.plug_in, rel=1e-9)
    assert found.half_width == pytest.approx(whole.half_width, rel=0.5)


def test_blocks_do_not_follow_a_period_in_the_file(rng):
    # 16 classes in turn, 16 blocks: block = row mod 16 would leave each class one block.
    rows, labels, _ = cloud(rng, (200,) * 16, d=20)
    order = np.argsort(np.tile(np.arange(200), 16), kind="stable")
    stream = Accumulator("blocks")
    stream.update(rows[order], labels[order])
    assert all(c.within_class_variance.low is not None for c in stream.measurement().classes)


@pytest.mark.parametrize("views", [1, 2])
def test_metric_equals_one_call(rng, views):
    rows, labels, instances = cloud(rng, (70, 40, 5), V=1e-3, views=views, view_noise=1e-3)
    whole = measure(rows, labels, instances=instances if views > 1 else None, permutations=0)
    metric = CollapseMetric(num_classes=4, dimension=16)
    other = CollapseMetric(num_classes=4, dimension=16)
    for k, (z, y, _) in enumerate(parts(rng, rows, labels, views, 11)):
        batch = torch.tensor(z.reshape(-1, views, 16) if views > 1 else z)
        (metric, other)[k % 2](batch, torch.tensor(y[::views]))
    metric.merge_state(other)
    assert_same(whole, metric.measurement())
    assert str(70 * views) in str(metric.measurement())  # the rows of the first class
    for name in ("dtype", "normalised", "dropped"):
        assert metric.measurement().conditions[name] == whole.conditions[name]
    assert float(metric.compute()["within_class_variance"]) == pytest.approx(
        whole.within_class_variance.estimate, rel=1e-9
    )
    metric.reset()
    metric.update(torch.tensor(rows[:1]), torch.tensor(labels[:1]))
    assert torch.isnan(metric.compute()["total_variance"])


def test_metric_knows_the_types_of_its_rows_and_forgets_them_with_the_rows(rng):
    rows, labels, _ = cloud(rng, (10, 10))
    rows, labels = torch.tensor(rows), torch.tensor(labels)
    metric, other = CollapseMetric(2, 16), CollapseMetric(2, 16)
    metric(rows.float(), labels)  # forward resets inside, and must lose nothing
    metric(rows.bfloat16(), labels)
    other.update(rows, labels)
    metric.merge_state(other)
    assert metric.measurement().conditions["dtype"] == "float64, float32, bfloat16"
    metric.reset()
    metric.update(rows.half(), labels)
    assert metric.measurement().conditions["dtype"] == "float16"


def test_metric_counts_what_it_drops(rng):
    rows, labels, _ = cloud(rng, (30, 30))
    rows[3], rows[40] = 0, np.nan
    whole = measure(2 * rows, labels, permutations=0, drop_invalid=True)
    metric = CollapseMetric(2, 16, drop_invalid=True)
    for part in (slice(0, 20), slice(20, 60)):
        metric(torch.tensor(2 * rows[part]), torch.tensor(labels[part]))
    found = metric.measurement()
    assert (
        found.conditions["dropped"] == whole.conditions["dropped"] == {"not_finite": 1, "zero": 1}
    )
    assert found.conditions["normalised"] is False


def test_metric_without_intervals_keeps_only_sums(rng):
    rows, labels, _ = cloud(rng, (30, 30))
    metric = CollapseMetric(2, 16, intervals=False)
    metric.update(torch.tensor(rows), torch.tensor(labels))
    found = metric.measurement()
    whole = measure(rows, labels, permutations=0)
    assert found.within_class_variance.estimate == pytest.approx(
        whole.within_class_variance.estimate, rel=1e-9
    )
    assert found.within_class_variance.low is None
    assert found.verdict == "cannot-tell"


def one_process(rank, world, port, rows, labels, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world
    )
    metric = CollapseMetric(num_classes=3, dimension=16)
    for at in np.array_split(np.arange(rank, len(rows), world), 4):
        metric.update(torch.tensor(rows[at]), torch.tensor(labels[at]))
    (folder / f"{rank}.json").write_text(metric.measurement().to_json())
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one_call(rng, tmp_path):
    from uncollapse.metrics import Measurement

    rows, labels, _ = cloud(rng, (50, 31, 8), V=1e-2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_in_processes(one_process, (2, port, rows, labels, tmp_path), 2)
    whole = measure(rows, labels, permutations=0)
    for rank in range(2):
        assert_same(whole, Measurement.read(tmp_path / f"{rank}.json"))


def test_an_instance_that_comes_back_is_refused(rng):
    rows, labels, instances = cloud(rng, (6, 6), views=2)
    stream = Accumulator()
    stream.update(rows[:5], labels[:5], instances[:5])
    with pytest.raises(InputError, match="came before"):
        stream.update(rows[5:], labels[5:], instances[5:])
    one, two = Accumulator(), Accumulator()
    one.update(rows, labels, instances)
    two.update(rows, labels, instances)
    with pytest.raises(InputError, match="in both"):
        one.merge(two)


def test_what_cannot_be_merged_or_loaded(rng, tmp_path):
    rows, labels, _ = cloud(rng, (6, 6))
    exact, blocks = Accumulator(), Accumulator("blocks")
    exact.update(rows, labels)
    blocks.update(rows, labels)
    with pytest.raises(InputError, match="one kind"):
        exact.merge(blocks)
    with pytest.raises(InputError, match="dimensions"):
        exact.update(rows[:, :5], labels)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match="cut short"):
        load_state(tmp_path / "cut.npz")
    (tmp_path / "text.npz").write_text("label,e0\n")
    with pytest.raises(InputError, match="cut short") as error:
        load_state(tmp_path / "text.npz")
    assert "pickle" not in str(error.value)
    save_state(exact, tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as archive:
        arrays = dict(archive)
    for lost in ("scatter", "totals"):
        np.savez(tmp_path / "part.npz", **{k: v for k, v in arrays.items() if k != lost})
        with pytest.raises(InputError, match=lost):
            load_state(tmp_path / "part.npz")
    with pytest.raises(InputError, match="permission to write"):
        save_state(exact, tmp_path / "whole.npz" / "state.npz")


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.ones((2, 3)), [0, 1], "dimension 16"),
        (np.ones((2, 16)), [0, 9], "integer labels from 0 to 2"),
        (np.full((2, 16), np.nan), [0, 1], "2 of 2 rows"),
    ],
)
def test_metric_refuses(rows, labels, message):
    metric = CollapseMetric(3, 16)
    with pytest.raises(InputError, match=message):
        metric.update(torch.tensor(rows), torch.tensor(labels))


def test_stacked_views_stream_like_rows_of_instances(rng):
    rows, labels, instances = cloud(rng, (30, 20), views=2)
    whole = measure(rows, labels, instances=instances, permutations=0)
    stream = Accumulator()
    for at in np.array_split(np.arange(50), 3):
        stream.update(rows.reshape(50, 2, -1)[at], labels[::2][at])
    assert_same(whole, stream.measurement())


@pytest.mark.parametrize("fault", ["instance_in_two_classes", "instance_in_two_groups"])
def test_a_stream_refuses_and_drops_split_instances_as_one_call_does(rng, fault):
    rows, labels, instances = cloud(rng, (20, 20), views=2)
    groups = instances // 2
    (labels if fault.endswith("classes") else groups)[5] = 1 if fault.endswith("classes") else 19
    with pytest.raises(InputError, match="2 of 80 rows"):
        Accumulator().update(rows, labels, instances, groups)
    given = {"instances": instances, "groups": groups}
    whole = measure(rows, labels, **given, drop_invalid=True, permutations=0)
    stream = Accumulator(drop_invalid=True)
    stream.update(rows, labels, **given)
    found = stream.measurement()
    assert found.conditions["dropped"] == whole.conditions["dropped"] == {fault: 2}
    assert found.share == whole.share


def test_metric_refuses_an_instance_in_two_classes(rng):
    rows, labels, instances = cloud(rng, (4, 4), views=2)
    labels[1] = 1
    given = torch.tensor(rows), torch.tensor(labels), torch.tensor(instances)
    with pytest.raises(InputError, match="2 of 16 rows"):
        CollapseMetric(2, 16).update(*given)
    metric = CollapseMetric(2, 16, drop_invalid=True)
    metric.update(*given)
    assert metric.measurement().conditions["dropped"] == {"instance_in_two_classes": 2}


def test_a_state_is_overwritten_whole_or_not_at_all(rng, tmp_path, monkeypatch):
    rows, labels, _ = cloud(rng, (6, 6))
    stream = Accumulator()
    stream.update(rows, labels)
    save_state(stream, tmp_path / "s.npz")
    stream.update(rows, labels)

    def full(file, **_):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", full)
        with pytest.raises(InputError, match="No space left"):
            save_state(stream, tmp_path / "s.npz")
    assert load_state(tmp_path / "s.npz").rows == 12
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("totals", np.full((2, 12), np.nan)),
        ("units", np.array(["a", "b"])),
        ("place", lambda places: places + 0.5),
        ("place", lambda places: places - 1),
        ("place", np.zeros_like),
        ("scattered", np.zeros_like),
    ],
)
def test_arrays_of_a_state_that_do_not_fit_are_named(rng, tmp_path, name, values):
    interval = "blocks" if name == "place" else "exact"
    state, path = Accumulator(interval=interval), tmp_path / "state.npz"
    rows = 80 if name == "scattered" else 20  # so many that second moments are smaller
    state.update(rng.standard_normal((rows, 6)), np.arange(rows) % 2)
    save_state(state, path)
    with np.load(path) as saved:
        arrays = {key: saved[key] for key in saved.files}
    np.savez(path, **arrays | {name: values(arrays[name]) if callable(values) else values})
    with pytest.raises(InputError, match=rf"{path.name}.*\({name} "):
        load_state(path)
