"""Every format gives the numbers of the arrays; what is wrong with a file is named."""

import json
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from embeddings import cloud
from safetensors.torch import save_file

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, Columns, accumulate_files, measure, measure_files
from uncollapse.monitor import CollapseMetric

NAMES = np.array(["bolt", "nut", "washer"])


@pytest.fixture
def sample(rng):
    rows, labels, instances = cloud(rng, (30, 20, 25), d=6, views=2)
    return rows.astype(np.float32), labels, instances


def table(rows, labels, instances):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    return pa.table({"embedding": vectors, "label": NAMES[labels], "part": instances})


def wide_table(rows, labels, instances):
    columns = {f"e{k}": rows[:, k] for k in range(rows.shape[1])}
    return pa.table({"part": instances, **columns, "label": NAMES[labels]})


def hugging_face(folder, rows, labels, instances):
    datasets = pytest.importorskip("datasets")  # a development dependency of another room
    features = datasets.Features(
        {
            "embedding": datasets.Sequence(datasets.Value("float32")),
            "label": datasets.ClassLabel(names=NAMES.tolist()),
            "part": datasets.Value("int64"),
        }
    )
    columns = {"embedding": rows.tolist(), "label": labels.tolist(), "part": instances.tolist()}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder, num_shards=2)


def write(kind, folder, rows, labels, instances):
    """The sample in one format: the paths to measure and the files with labels."""
    half = 70
    if kind == "npy":
        np.save(folder / "z.npy", rows)
        np.savez(folder / "y.npz", label=labels, part=instances)
        return [folder / "z.npy"], [folder / "y.npz"]
    if kind == "npy by columns, three shards":
        for k, at in enumerate((slice(0, 11), slice(11, 80), slice(80, None))):
            np.save(folder / f"z{k}.npy", np.asfortranarray(rows[at]))
        np.savez(folder / "y0.npz", label=labels[:half], part=instances[:half])
        np.savez(folder / "y1.npz", label=labels[half:], part=instances[half:])
        return [folder / f"z{k}.npy" for k in range(3)], [folder / "y0.npz", folder / "y1.npz"]
    if kind == "npz":
        np.savez(folder / "d.npz", z=rows, label=labels, part=instances)
        return [folder / "d.npz"], []
    if kind == "safetensors":
        tensors = {"z": rows, "label": labels, "part": instances}
        save_file({k: torch.tensor(v) for k, v in tensors.items()}, folder / "d.safetensors")
        return [folder / "d.safetensors"], []
    if kind == "parquet":
        pq.write_table(table(rows, labels, instances), folder / "d.parquet", row_group_size=32)
        return [folder / "d.parquet"], []
    if kind == "parquet, one column per dimension":
        pq.write_table(wide_table(rows, labels, instances), folder / "d.parquet")
        return [folder / "d.parquet"], []
    if kind == "folder of parquet shards":
        whole = table(rows, labels, instances)
        whole = whole.set_column(0, "embedding", whole["embedding"].cast(pa.list_(pa.float32())))
        pq.write_table(whole.slice(0, half), folder / "0.parquet")
        pq.write_table(whole.slice(half), folder / "1.parquet")
        return [folder], []
    if kind == "csv":
        pyarrow.csv.write_csv(wide_table(rows, labels, instances), folder / "d.csv")
        return [folder / "d.csv"], []
    hugging_face(folder / "set", rows, labels, instances)
    return [folder / "set"], []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        "npy",
        "npy by columns, three shards",
        "npz",
        "safetensors",
        "parquet",
        "parquet, one column per dimension",
        "folder of parquet shards",
        "csv",
        "hugging face",
    ],
)
def test_every_format_gives_the_numbers_of_the_arrays(tmp_path, sample, kind, stream):
    rows, labels, instances = sample
    paths, labels_from = write(kind, tmp_path, rows, labels, instances)
    seen = []
    found = measure_files(
        paths,
        labels_from=labels_from,
        columns=Columns(instance="part"),
        stream=stream,
        interval="exact",
        permutations=0,
        progress=lambda done, total: seen.append(done),
    )
    expected = measure(rows, labels, instances=instances, permutations=0)
    # CSV holds decimal digits, and rows come back as float64.
    for name in ("within_class_variance", "instance_variance", "between_class_variance"):
        assert getattr(found, name).to_dict() == pytest.approx(
            getattr(expected, name).to_dict(), rel=1e-6 if kind == "csv" else 1e-9
        )
    assert len(found.classes) == 3
    assert seen[-1] == len(rows)
    if kind in {"parquet", "hugging face"}:
        assert [c.label for c in found.classes] == NAMES.tolist()


def test_bfloat16_safetensors(tmp_path, sample):
    rows, labels, _ = sample
    tensors = {"z": torch.tensor(rows).bfloat16(), "label": torch.tensor(labels)}
    save_file(tensors, tmp_path / "d.safetensors")
    found = measure_files([tmp_path / "d.safetensors"], permutations=0)
    expected = measure(tensors["z"], labels, permutations=0)
    assert found.within_class_variance == expected.within_class_variance


def test_stream_keeps_an_instance_together_across_parts(tmp_path, sample, monkeypatch):
    rows, labels, instances = sample
    np.savez(tmp_path / "d.npz", z=rows, label=labels, part=instances)
    monkeypatch.setattr("uncollapse.metrics.streamed_files._STREAM_ROWS", 7)
    given = {"columns": Columns(instance="part")}
    found = accumulate_files([tmp_path / "d.npz"], **given).measurement()
    expected = measure(rows, labels, instances=instances, permutations=0)
    assert found.instance_variance.to_dict() == pytest.approx(
        expected.instance_variance.to_dict(), rel=1e-9
    )
    order = np.argsort(instances % 2, kind="stable")
    np.savez(tmp_path / "d.npz", z=rows[order], label=labels[order], part=instances[order] // 2)
    with pytest.raises(InputError, match=r"together .*d\.npz"):
        accumulate_files([tmp_path / "d.npz"], **given)


def test_missing_values_of_tables(tmp_path):
    vectors = pa.array([[1.0, 0.0], None, [0.0, 1.0], [None, 1.0], [1.0, 1.0], [0.5, 1.0]] * 3)
    labels = pa.array(["a", "a", "b", "b", None, "b"] * 3)
    pq.write_table(pa.table({"embedding": vectors, "label": labels}), tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"column 'embedding' of .*d\.parquet.* 6 of 18 rows"):
        measure_files([tmp_path / "d.parquet"])
    found = measure_files([tmp_path / "d.parquet"], drop_invalid=True, permutations=0)
    assert found.conditions["dropped"] == {"not_finite": 6, "no_label": 3}


def test_ragged_lists(tmp_path):
    rows = [[1.0, 0.0], [0.0, 1.0], [1.0], [1.0, 1.0]] * 3
    pq.write_table(pa.table({"z": rows, "label": [0, 1, 0, 1] * 3}), tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"3 of 12 rows .*first: row 2, length 1"):
        measure_files([tmp_path / "d.parquet"])
    found = measure_files([tmp_path / "d.parquet"], drop_invalid=True, permutations=0)
    assert found.conditions["dropped"] == {"not_finite": 3}


def bad_file(folder, kind):
    """A file that cannot be measured, what else is given, and what the error must say."""
    good = {"z": np.eye(4), "label": np.array([0, 0, 1, 1])}
    path = folder / "d.npz"
    np.savez(path, **good)
    if kind == "missing":
        return [folder / "no.npz"], {}, "no.npz"
    if kind == "unknown ending":
        (folder / "d.txt").write_text("1 2 3")
        return [folder / "d.txt"], {}, r"\.npy, \.npz"
    if kind == "pickle in npy":
        np.save(folder / "d.npy", np.array([{"a": 1}] * 4, dtype=object), allow_pickle=True)
        return [folder / "d.npy"], {"labels_from": [path]}, r"d\.npy; found .*save it again as"
    if kind == "pickle named npy":
        (folder / "d.npy").write_bytes(pickle.dumps([1, 2]))
        return [folder / "d.npy"], {"labels_from": [path]}, r"d\.npy"
    if kind == "pickle in npz":
        np.savez(path, z=np.eye(4), label=np.array(["a", None, "b", "b"], dtype=object))
        return [path], {}, r"'label' in .*d\.npz; found .*save it again as numbers or text"
    if kind in {"text named npy", "text named npz"}:
        path = folder / f"d.{kind[-3:]}"
        path.write_text("label,e0,e1\n0,1,2\n")
        return [path], {"labels_from": [path]}, rf"d\.{kind[-3:]}; found [^;]*; check .* its name"
    if kind == "npy with a damaged header":
        np.save(folder / "d.npy", np.eye(4))
        content = (folder / "d.npy").read_bytes()
        # Longer than numpy parses unless it is told to trust the file.
        long = b"\x93NUMPY\x02\x00\x00\x50\x00\x00" + content[10:127].ljust(0x4FFF) + b"\n"
        (folder / "d.npy").write_bytes(long + content[128:])
        return [folder / "d.npy"], {"labels_from": [path]}, r"d\.npy; found .*header is damaged"
    if kind == "cut npy":
        np.save(folder / "d.npy", np.eye(400))
        content = (folder / "d.npy").read_bytes()
        (folder / "d.npy").write_bytes(content[: len(content) // 2])
        return [folder / "d.npy"], {"labels_from": [path]}, r"d\.npy"
    if kind == "cut npz":
        path.write_bytes(path.read_bytes()[:-40])
        return [path], {}, r"d\.npz"
    if kind in {"cut parquet", "cut safetensors"}:
        ending = kind.split()[1]
        if ending == "parquet":
            pq.write_table(
                pa.table({"z": np.eye(4).tolist(), "label": [0, 0, 1, 1]}), folder / "d.parquet"
            )
        else:
            save_file(
                {"z": torch.eye(4), "label": torch.tensor([0, 0, 1, 1])}, folder / "d.safetensors"
            )
        path = folder / f"d.{ending}"
        path.write_bytes(path.read_bytes()[:-20])
        return [path], {}, rf"d\.{ending}"
    if kind == "npy named npz":
        np.save(folder / "d.npy", np.eye(4))
        return [(folder / "d.npy").rename(path)], {}, r"d\.npz; found .*single array"
    if kind == "damaged npz":
        np.savez_compressed(path, z=np.random.default_rng(0).random((40, 4)), label=np.arange(40))
        content = bytearray(path.read_bytes())
        content[100:300] = bytes(byte ^ 0x5A for byte in content[100:300])
        path.write_bytes(content)
        return [path], {}, r"'z' in .*d\.npz"
    if kind == "npz that asks for all memory":
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 128), }"
        with zipfile.ZipFile(path, "w") as archive:
            begin = b"\x93NUMPY\x01\x00\x76\x00"
            archive.writestr("z.npy", begin + header.ljust(117) + b"\n")
            archive.writestr("y.npy", begin + header.replace(b", 128", b",").ljust(117) + b"\n")
        return [path], {}, r"'z' in .*d\.npz"
    if kind == "8-bit exponents":
        tensors = {
            "z": torch.ones(4, 4).to(torch.float8_e8m0fnu),
            "label": torch.tensor([0, 0, 1, 1]),
        }
        save_file(tensors, folder / "d.safetensors")
        return [folder / "d.safetensors"], {}, r"d\.safetensors; found type F8_E8M0"
    if kind == "two labels of one name":
        whole = pa.table(
            [pa.array(np.eye(4).tolist()), [0, 0, 1, 1], [0, 1, 0, 1]], ["z", "y", "y"]
        )
        pq.write_table(whole, folder / "d.parquet")
        return [folder / "d.parquet"], {}, r"one column 'y' in .*d\.parquet; found 2"
    if kind == "two dimensions of one name":
        (folder / "d.csv").write_text("e0,e0,label\n1,2,0\n2,1,0\n1,0,1\n0,1,1\n")
        return [folder / "d.csv"], {}, r"one column 'e0' in .*d\.csv; found 2"
    if kind == "broken splits":
        (folder / "dataset_dict.json").write_text("[1]")
        return [folder], {}, r"dataset_dict\.json"
    if kind == "dataset without parts":
        (folder / "state.json").write_text('{"_data_files": []}')
        return [folder], {}, str(folder)
    if kind == "not csv":
        (folder / "d.csv").write_text("a,b\n1,2\n1,2,3\n")
        return [folder / "d.csv"], {"columns": Columns("a,b", "b")}, r"d\.csv"
    if kind == "text among numbers":
        (folder / "d.csv").write_text("label,e0,e1\na,1,2\na,x,2\nb,1,0\nb,2,1\n")
        return [folder / "d.csv"], {"columns": Columns("e*")}, r"numbers in column 'e0' of .*d\.csv"
    if kind == "text among dimensions":
        (folder / "d.csv").write_text("label,e0,e1,e2\na,1,2,1\na,x,2,0\nb,1,0,1\nb,2,1,2\n")
        return [folder / "d.csv"], {}, r"numbers in column 'e0' of .*d\.csv"
    if kind == "no such column":
        return [path], {"columns": Columns(label="class")}, r"'class' in .*columns z, label"
    if kind == "two candidates":
        np.savez(path, first=np.eye(4), second=np.eye(4), label=good["label"])
        return [path], {}, "--embedding"
    if kind == "lengths within a file":
        np.savez(path, z=np.eye(4), label=np.array([0, 1]))
        return [path], {}, "z 4, label 2"
    if kind == "lengths of two files":
        np.save(folder / "z.npy", np.eye(5))
        return [folder / "z.npy"], {"labels_from": [path]}, "4 and 5"
    if kind == "npy without labels":
        np.save(folder / "z.npy", np.eye(5))
        return [folder / "z.npy"], {}, "--labels-from"
    if kind == "dataset of splits":
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
        return [folder], {}, "train, test"
    if kind == "empty folder":
        (folder / "empty").mkdir()
        return [folder / "empty"], {}, "none"
    if kind == "lists of text":
        pq.write_table(
            pa.table({"z": [["a"], ["b"]] * 2, "label": [0, 1] * 2}), folder / "d.parquet"
        )
        return [folder / "d.parquet"], {}, "numbers in column 'z'"
    np.savez(folder / "e.npz", z=np.ones((4, 3)), label=good["label"])
    return [path, folder / "e.npz"], {}, "one length in all files"


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "unknown ending",
        "pickle in npy",
        "pickle named npy",
        "pickle in npz",
        "text named npy",
        "text named npz",
        "npy with a damaged header",
        "cut npy",
        "cut npz",
        "cut parquet",
        "cut safetensors",
        "npy named npz",
        "damaged npz",
        "npz that asks for all memory",
        "8-bit exponents",
        "two labels of one name",
        "two dimensions of one name",
        "broken splits",
        "dataset without parts",
        "not csv",
        "text among numbers",
        "text among dimensions",
        "no such column",
        "two candidates",
        "lengths within a file",
        "lengths of two files",
        "npy without labels",
        "dataset of splits",
        "empty folder",
        "lists of text",
        "different dimensions",
    ],
)
def test_files_that_cannot_be_measured_are_named(tmp_path, kind):
    paths, given, message = bad_file(tmp_path, kind)
    with pytest.raises(InputError, match=message) as error:
        measure_files(paths, **given)
    assert "pickle" not in str(error.value)


def test_a_pickle_is_never_loaded(tmp_path):
    mark = tmp_path / "mark"

    class Dangerous:
        def __reduce__(self):
            return (mark.write_text, ("unpickled",))

    np.save(tmp_path / "d.npy", np.array([Dangerous()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "d.npz", z=np.array([Dangerous()], dtype=object), label=np.zeros(1))
    for name in ("d.npy", "d.npz"):
        with pytest.raises(InputError):
            measure_files([tmp_path / name], labels_from=[tmp_path / "d.npz"])
    assert not mark.exists()


def test_row_faults_name_the_shard(tmp_path, rng):
    rows, labels, _ = cloud(rng, (10, 10), d=4)
    np.savez(tmp_path / "a.npz", z=rows, label=labels)
    rows[12] = 0
    np.savez(tmp_path / "b.npz", z=rows, label=labels)
    for stream in (False, True):
        with pytest.raises(InputError, match=r"'z' of .*b\.npz; found 1 of 20 rows .*row 12"):
            measure_files([tmp_path / "a.npz", tmp_path / "b.npz"], stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_row_faults_are_counted_over_their_whole_file(tmp_path, rng, stream):
    rows, labels, _ = cloud(rng, (70_000, 70_000), d=2)
    rows[[70_005, 139_999]] = np.nan
    np.savez(tmp_path / "d.npz", z=rows, label=labels)
    with pytest.raises(InputError, match=r"2 of 140000 rows .*first: row 70005"):
        measure_files([tmp_path / "d.npz"], stream=stream)
    # A label is looked for in the file with the labels, whose rows are divided another way.
    names = np.array(["a", "b"])[labels]
    names[[90, 50_000]] = ""
    np.save(tmp_path / "0.npy", np.ones((50, 2)))
    np.save(tmp_path / "1.npy", np.ones((139_950, 2)))
    np.savez(tmp_path / "y.npz", label=names)
    with pytest.raises(InputError, match=r"y\.npz; found 2 of 140000 rows .*first: row 90"):
        measure_files(
            [tmp_path / "0.npy", tmp_path / "1.npy"],
            labels_from=[tmp_path / "y.npz"],
            stream=stream,
        )


def test_a_stream_of_stacked_views_equals_the_arrays(tmp_path, sample, monkeypatch):
    rows, labels, instances = sample
    np.savez(tmp_path / "d.npz", z=rows.reshape(-1, 2, 6), label=labels[::2])
    monkeypatch.setattr("uncollapse.metrics.streamed_files._STREAM_ROWS", 11)
    found = measure_files([tmp_path / "d.npz"], stream=True, interval="exact")
    expected = measure(rows, labels, instances=instances, permutations=0)
    assert found.instance_variance.to_dict() == pytest.approx(
        expected.instance_variance.to_dict(), rel=1e-9
    )


@pytest.mark.parametrize("stream", [False, True])
def test_labels_of_two_types_are_the_same_classes_in_memory_and_in_a_stream(tmp_path, rng, stream):
    rows, labels, _ = cloud(rng, (10, 10), d=4)
    np.savez(tmp_path / "a.npz", z=rows, label=labels)
    np.savez(tmp_path / "b.npz", z=rows, label=labels.astype(str))
    found = measure_files([tmp_path / "a.npz", tmp_path / "b.npz"], stream=stream, permutations=0)
    assert [one.label for one in found.classes] == [0, 1, "0", "1"]


@pytest.mark.parametrize("stream", [False, True])
def test_errors_about_classes_name_the_files(tmp_path, rng, stream):
    rows, _, _ = cloud(rng, (10, 10), d=4)
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", z=rows, label=np.zeros(20, dtype=int))
    with pytest.raises(InputError, match=r"two classes .*'label' of .*a\.npz and 1 more"):
        measure_files([tmp_path / "a.npz", tmp_path / "b.npz"], stream=stream)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(InputError, match=f"{tmp_path.name}; found .*Permission denied"):
        measure_files([tmp_path])


@pytest.mark.parametrize(
    "given", [{"nonsense": 1}, {"fine_labels": [0]}, {"groups": [0]}, {"sources": {}}]
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_option_that_there_is_not_is_a_type_error(tmp_path, stream, given):
    np.savez(tmp_path / "d.npz", z=np.eye(4), label=[0, 0, 1, 1])
    with pytest.raises(TypeError, match=next(iter(given))):
        measure_files([tmp_path / "d.npz"], stream=stream, **given)


@pytest.mark.parametrize(
    ("dtype", "off", "normalised"),
    [
        ("float16", 0.004, True),
        ("float16", 0.02, False),
        ("float32", 0.004, False),
        ("float32", 0.0005, True),
        ("float64", 0.004, False),
    ],
)
def test_whether_rows_have_unit_norm_is_judged_by_their_type_everywhere(
    tmp_path, rng, dtype, off, normalised
):
    rows, labels, _ = cloud(rng, (30, 30))
    rows = ((1 + off) * rows).astype(dtype)
    np.savez(tmp_path / "d.npz", z=rows, label=labels)
    found = [measure(rows, labels, permutations=0)]
    found += [measure_files([tmp_path / "d.npz"], stream=False, permutations=0)]
    for interval in ("exact", "blocks"):
        found += [measure_files([tmp_path / "d.npz"], stream=True, interval=interval)]
    metric = CollapseMetric(2, 16)
    metric.update(torch.tensor(rows), torch.tensor(labels))
    found += [metric.measurement()]
    assert [one.conditions["normalised"] for one in found] == [normalised] * 5


def test_bfloat16_rows_have_unit_norm_to_their_precision(rng):
    rows, labels, _ = cloud(rng, (30, 30))
    tensor = torch.tensor(1.004 * rows).bfloat16()
    streams = [Accumulator("exact"), Accumulator("blocks")]
    for stream in streams:
        stream.update(tensor, labels)
    found = [measure(tensor, labels, permutations=0), *(s.measurement() for s in streams)]
    assert [one.conditions["normalised"] for one in found] == [True] * 3


@pytest.mark.parametrize(("norm", "normalised"), [(1.004, True), (1.02, False)])
def test_bfloat16_rows_of_files_are_judged_as_those_in_memory(rng, tmp_path, norm, normalised):
    rows, labels, _ = cloud(rng, (30, 30))
    tensor, shards = torch.tensor(norm * rows).bfloat16(), []
    for start in (0, 25):
        part = slice(start, start + 25 if start == 0 else None)
        tensors = {"z": tensor[part].contiguous(), "label": torch.tensor(labels[part])}
        shards.append(tmp_path / f"{start}.safetensors")
        save_file(tensors, shards[-1])
    found = [measure(tensor, labels, permutations=0).conditions]
    found += [measure_files(shards, permutations=0).conditions]
    for interval in ("exact", "blocks"):
        found += [measure_files(shards, stream=True, interval=interval).conditions]
    assert {(one["normalised"], one["dtype"]) for one in found} == {(normalised, "bfloat16")}


def test_training_rows_stand_beside_the_judged_test_rows(rng, tmp_path):
    labels, split = np.arange(400) % 2, np.repeat(["train", "test"], 200)
    spread = np.where(split == "train", 0.001, 1.0)[:, None]
    rows = np.eye(2, 8)[labels] + spread * rng.standard_normal((400, 8))
    rows[0] = np.nan  # a training row, which is not judged
    np.savez(tmp_path / "rows.npz", z=rows, label=labels, split=split)
    columns = Columns(embedding="z")
    found = measure_files([tmp_path / "rows.npz"], columns=columns, permutations=0)
    parts = found.slices["split"].values
    assert parts["train"].share.high < 0.01 < 0.5 < parts["test"].share.low
    assert parts["test"].share == found.share
    assert not found.fails("collapsed")
    test = measure_files([tmp_path / "rows.npz"], columns=columns, permutations=0, split="test")
    assert test.slices is None
    assert test.share == found.share
