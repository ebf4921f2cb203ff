"""What one path says of a file, every path says."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from uncollapse.errors import InputError
from uncollapse.metrics import measure, measure_files
from uncollapse.monitor import CollapseMetric
from uncollapse.probes import Embedded, ProbeColumns, ProbeOptions, embedded_files, probe
from uncollapse.records import Setting
from uncollapse.samples import stored_as
from uncollapse.theory import predict


@pytest.fixture
def sample(rng):
    labels = np.repeat([0, 1, 2], 30)
    rows = np.eye(3, 8)[labels] + 0.3 * rng.standard_normal((90, 8))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def test_shards_of_several_types_are_judged_alike_in_memory_and_in_a_stream(tmp_path, sample):
    rows, labels = sample
    for k, kind in enumerate(("f2", "f4")):
        at = slice(45 * k, 45 * k + 45)
        np.savez(tmp_path / f"s{k}.npz", z=rows[at].astype(kind), label=labels[at])
    files = [tmp_path / "s0.npz", tmp_path / "s1.npz"]
    once, stream = (
        measure_files(files, stream=stream, interval="exact", permutations=0).conditions
        for stream in (False, True)
    )
    assert once.dtype == stream.dtype == "float16, float32"
    assert once.normalised is stream.normalised is True


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16])
def test_short_floats_of_safetensors_are_read(tmp_path, sample, kind):
    rows, labels = sample
    tensors = {"z": torch.tensor(rows).to(kind), "label": torch.tensor(labels)}
    save_file(tensors, tmp_path / "d.safetensors")
    found = measure_files([tmp_path / "d.safetensors"], permutations=0)
    once = measure(tensors["z"].float().numpy(), labels, permutations=0)
    assert found.share.estimate == pytest.approx(once.share.estimate, rel=1e-6)
    assert found.conditions.dtype == str(kind).removeprefix("torch.")


@pytest.mark.parametrize("stream", [False, True])
def test_a_setting_is_predicted_for_the_rows_that_are_measured(tmp_path, sample, stream):
    rows, labels = sample
    rows[:4] = np.nan
    np.savez(tmp_path / "d.npz", z=rows, label=np.where(np.arange(90) > 85, -1, labels))
    seen = []

    def predicted(counts):
        seen.append(counts)
        return predict(Setting(alpha=0.5, temperature=0.2, class_counts=tuple(counts.values())))

    measure_files(
        [tmp_path / "d.npz"], stream=stream, drop_invalid=True, prediction=predicted, probe=None
    )
    assert seen == [{0: 26, 1: 30, 2: 26}]


def test_views_of_an_archive_are_probed_as_rows_of_their_instances(tmp_path, sample, rng):
    rows, labels = sample
    views = rows[:, None] + 0.05 * rng.standard_normal((90, 2, 8))
    np.savez(tmp_path / "d.npz", z=views, label=labels)
    settings = ProbeOptions(shots=(1,), draws=3)
    found = probe(
        embedded_files([tmp_path / "d.npz"], ProbeColumns(label="label")), settings=settings
    )
    flat = Embedded(
        {"z": views.reshape(180, 8)},
        {"label": np.repeat(labels, 2)},
        instances=np.repeat(np.arange(90), 2),
        label="label",
    )
    assert found.conditions.data[0].unit == "instance"
    assert found.targets[0].readings == probe(flat, settings=settings).targets[0].readings


def test_classes_that_do_not_differ_are_said_on_every_path(tmp_path, rng):
    rows, labels = rng.standard_normal((300, 8)), np.arange(300) % 3
    np.save(tmp_path / "z.npy", rows)
    np.save(tmp_path / "y.npy", labels)
    sums = CollapseMetric(3, 8, intervals=False)
    sums.update(torch.tensor(rows), torch.tensor(labels))
    for found in (
        measure(rows, labels, permutations=0),
        *(
            measure_files([tmp_path / "z.npy"], labels_from=[tmp_path / "y.npy"], stream=stream)
            for stream in (False, True)
        ),
        sums.measurement(),
    ):
        between = found.between_class_variance
        said = "UC502" in {reason.code for reason in found.reasons}
        assert said == ((between.estimate if between.low is None else between.low) <= 0)
        if found.conditions.joined_by:
            assert "labels joined to embeddings by position" in " ".join(str(found).split())
    assert (
        measure_files([tmp_path / "z.npy"], labels_from=[tmp_path / "y.npy"]).conditions.joined_by
        == "position"
    )


def test_codes_of_a_quantised_index_are_said_to_be(sample, tmp_path):
    rows, labels = sample
    span = np.ptp(rows, axis=0)
    codes = ((rows - rows.min(0)) / span * 255).astype("u1")
    kinds = {
        "uint8": codes,
        "int8": (codes.astype(int) - 128).astype("i1"),
        "signs": np.where(rows > 0, 1.0, -1.0),
        "": rows,
    }
    for name, values in kinds.items():
        assert stored_as(values) == name
        np.savez(tmp_path / "d.npz", z=values, label=labels)
        for stream in (False, True):
            found = measure_files([tmp_path / "d.npz"], stream=stream, permutations=0)
            assert [one.variant for one in found.reasons if one.code == "UC508"] == [name] * bool(
                name
            )
    assert stored_as(codes.astype(float)) == "uint8"
    assert stored_as(np.eye(4)) == stored_as(np.array([[0.0, 16.0]])) == ""


def test_what_intervals_would_take_is_said_before_it_is_taken():
    with pytest.raises(InputError, match=r"45 GiB for 10000 classes of 768 dimensions"):
        CollapseMetric(10_000, 768)
    assert CollapseMetric(10_000, 768, intervals=False).num_classes == 10_000
