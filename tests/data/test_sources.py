"""Every source, on real data: digits as arrays, PNG files and tables; solar cells; Fashion-MNIST.

scikit-learn's digits are written in each format and must come back as the same pixels.
"""

import gzip
import hashlib
import io
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from uncollapse.data import built_in_maps, data_config, load_data
from uncollapse.data._sources.builtin import _read_idx
from uncollapse.errors import InputError

ROWS = 60
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def load(block, base=None):
    return load_data(data_config(block), base=base)


@pytest.fixture(scope="module")
def digits():
    """60 digits as uint8 (60, 8, 8), and their classes."""
    images, labels = load_digits(return_X_y=True)
    return np.rint(images[:ROWS].reshape(-1, 8, 8) * 255 / 16).astype(np.uint8), labels[:ROWS]


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def pixels_by_id(data):
    every = data.inputs.read(np.arange(len(data.ids)))
    return dict(zip(data.ids.tolist(), every.numpy(), strict=True))


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """images/PARITY/DIGIT/ROW.png"""
    root = tmp_path_factory.mktemp("images")
    for row, (image, digit) in enumerate(zip(*digits, strict=True)):
        directory = root / ("odd" if digit % 2 else "even") / str(digit)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{row}.png").write_bytes(png(image))
    return root


def test_digits():
    data = load({"source": "digits", "map": "parity", "fine": ["digit"]})
    images, labels = load_digits(return_X_y=True)
    assert data.inputs.shape == (1, 8, 8)
    assert len(data.ids) == 1797
    assert data.label_names == ("even", "odd")
    np.testing.assert_array_equal(data.labels, labels % 2)
    np.testing.assert_array_equal(data.columns["digit"], labels.astype(str))
    read = data.inputs.read(np.array([5, 3]))
    assert read.dtype == torch.uint8
    np.testing.assert_allclose(read[:, 0].reshape(2, 64), images[[5, 3]] * 255 / 16, atol=0.5)


@pytest.mark.parametrize("memory_mib", [1024, 0], ids=["in memory", "decoded when read"])
def test_image_folder(folder, digits, memory_mib):
    block = {"source": "image-folder", "path": str(folder), "fine": ["subclass"]}
    data = load(block | {"memory_mib": memory_mib})
    assert data.inputs.shape == (1, 8, 8)
    assert data.label_names == ("even", "odd")
    for name, pixels in pixels_by_id(data).items():
        row = int(Path(name).stem)
        np.testing.assert_array_equal(pixels[0], digits[0][row])
        at = data.ids.tolist().index(name)
        assert data.columns["subclass"][at] == str(digits[1][row])
        assert data.labels[at] == digits[1][row] % 2


def test_resizing_cropping_and_colour(tmp_path):
    wide = np.zeros((10, 20, 3), np.uint8)
    wide[:, :5], wide[:, 5:15], wide[:, 15:] = [255, 0, 0], [0, 255, 0], [0, 0, 255]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for row in range(4):
            Image.fromarray(wide).save(tmp_path / name / f"{row}.png")
    block = {"source": "image-folder", "path": str(tmp_path), "split": {"test": 0.25}}
    first = np.array([0])
    assert load(block).inputs.shape == (3, 10, 20)
    cropped = load(block | {"image": {"size": 10, "fit": "crop"}}).inputs.read(first)[0]
    assert (cropped == torch.tensor([0, 255, 0])[:, None, None]).all()
    stretched = load(block | {"image": {"size": [5, 8]}}).inputs.read(first)[0]
    assert stretched.shape == (3, 5, 8)
    assert stretched[0, 0, 0] == 255
    assert load(block | {"image": {"channels": "grey"}}).inputs.shape == (1, 10, 20)


def test_directories_for_parts(folder, digits, tmp_path):
    for part, rows in (("train", range(40)), ("val", range(40, ROWS))):
        for row in rows:
            directory = tmp_path / part / str(digits[1][row])
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{row}.png").write_bytes(png(digits[0][row]))
    data = load({"source": "image-folder", "path": str(tmp_path), "split": {"test": 0}})
    assert len(data.label_names) == 10
    for name, part in zip(data.ids.tolist(), data.split.tolist(), strict=True):
        assert part == {"train": "train", "val": "validation"}[name.split("/")[0]]
    block = {"source": "image-folder", "path": str(tmp_path), "memory_mib": 0}
    data = load(block | {"split": {"validation": 0, "rename": {"val": "test"}}})
    assert data.description.rows == {"train": 40, "validation": 0, "test": 20}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_image_folder_with_a_table(folder, digits, tmp_path, suffix):
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    rows = [int(Path(p).stem) for p in paths]
    table = pa.table(
        {
            "file": paths,
            "digit": [f"{digits[1][row]:02d}" for row in rows],
            "writer": [f"w{row % 12}" for row in rows],
        }
    )
    if suffix == "csv":
        pa.csv.write_csv(table, tmp_path / "list.csv")
    else:
        pq.write_table(table, tmp_path / "list.parquet")
    block = {
        "source": "image-folder", "path": str(folder), "table": f"list.{suffix}",
        "path_column": "file", "label": "digit", "slices": ["writer"],
        "map": {"low": [f"0{i}" for i in range(5)], "high": [f"0{i}" for i in range(5, 10)]},
    }  # fmt: skip
    data = load(block, base=tmp_path)
    assert data.label_names == ("low", "high")
    assert data.fine == ("digit",)
    rows = [int(Path(p).stem) for p in data.ids]
    np.testing.assert_array_equal(data.labels, digits[1][rows] >= 5)
    assert data.columns["writer"].tolist() == [f"w{row % 12}" for row in rows]
    np.testing.assert_array_equal(
        pixels_by_id(data)[paths[7]][0], digits[0][int(Path(paths[7]).stem)]
    )


def test_table_of_encoded_images(digits, tmp_path):
    content = {"image": [{"bytes": png(i), "path": None} for i in digits[0]], "label": digits[1]}
    pq.write_table(pa.table(content), tmp_path / "train-00000-of-00001.parquet")
    pq.write_table(pa.table(content), tmp_path / "test-00000-of-00001.parquet")
    data = load({"source": "table", "path": str(tmp_path), "image_column": "image"})
    assert data.description.rows["test"] == ROWS
    np.testing.assert_array_equal(data.inputs.read(data.rows("test"))[:, 0], digits[0])
    np.testing.assert_array_equal(data.labels[data.rows("test")], digits[1])


def test_a_part_without_labels(digits, tmp_path):
    images = [{"bytes": png(image), "path": None} for image in digits[0]]
    whole = pa.table({"image": images, "label": digits[1]})
    pq.write_table(whole, tmp_path / "train.parquet")
    pq.write_table(whole.select(["image"]), tmp_path / "test.parquet")
    block = {"source": "table", "path": str(tmp_path), "image_column": "image"}
    with pytest.raises(InputError, match=f"{ROWS} rows of {2 * ROWS} without one"):
        load(block)
    data = load(block | {"unlabelled": "allow"})
    assert set(data.labels[data.rows("test")].tolist()) == {-1}
    np.testing.assert_array_equal(data.inputs.read(data.rows("test"))[:, 0], digits[0])


@pytest.mark.parametrize("memory_mib", [1024, 0])
def test_saved_hugging_face_dataset(digits, tmp_path, monkeypatch, memory_mib):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "digit": datasets.ClassLabel(names=["zero", "one", "two", "three", "four", "five",
                                                "six", "seven", "eight", "nine"]),
        }
    )  # fmt: skip
    rows = {
        "image": [{"bytes": png(i), "path": None} for i in digits[0]],
        "digit": digits[1].tolist(),
    }
    whole = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": whole, "test": whole.select(range(30))}).save_to_disk(
        str(tmp_path / "set")
    )
    block = {"source": "table", "path": "set", "image_column": "image", "label": "digit"}
    data = load(block | {"memory_mib": memory_mib}, base=tmp_path)
    assert data.label_names[:3] == ("zero", "one", "two")
    assert len(data.rows("test")) == 30
    np.testing.assert_array_equal(data.labels[data.rows("test")], digits[1][:30])
    np.testing.assert_array_equal(data.inputs.read(data.rows("test"))[:, 0], digits[0][:30])


def test_vectors_and_views_of_a_table(digits, tmp_path):
    vectors = digits[0].reshape(ROWS, 64).astype(np.float32)
    views = np.stack([vectors, vectors + 1], axis=1)
    columns = {f"x{i}": vectors[:, i] for i in range(64)}
    table = pa.table(columns | {"label": digits[1], "list": list(vectors), "views": views.tolist()})
    pq.write_table(table, tmp_path / "rows.parquet")
    pa.csv.write_csv(pa.table(columns | {"label": digits[1]}), tmp_path / "rows.csv")
    every = np.arange(ROWS)
    for block in (
        {"path": "rows.parquet", "vector": "list"},
        {"path": "rows.parquet", "vector": "*"},
        {"path": "rows.csv", "vector": list(columns)},
    ):
        data = load({"source": "table", **block}, base=tmp_path)
        assert data.inputs.kind == "vector"
        np.testing.assert_array_equal(data.inputs.read(every), vectors)
    data = load({"source": "table", "path": "rows.parquet", "views": "views"}, base=tmp_path)
    assert data.inputs.kind == "views"
    assert data.inputs.shape == (2, 64)
    np.testing.assert_array_equal(data.inputs.read(every), views)


def test_folders_named_for_values(digits, tmp_path):
    """As Spark and DuckDB write them: the label and the part of a row are names of folders."""
    order = np.argsort(digits[1], kind="stable")
    images = [png(image) for image in digits[0]]
    vectors = digits[0].reshape(ROWS, 64).astype(np.float32)
    for part in ("train", "test"):
        for label in np.unique(digits[1]):
            rows = np.flatnonzero(digits[1] == label)
            folder = tmp_path / "set" / f"split={part}" / f"digit={label}"
            folder.mkdir(parents=True)
            content = {"z": list(vectors[rows]), "image": [images[row] for row in rows]}
            pq.write_table(pa.table(content), folder / "part-0.parquet")
    for asked in ({"vector": "z"}, {"image_column": "image"}):
        block = {"source": "table", "path": "set", "label": "digit", **asked}
        data = load(block, base=tmp_path)
        test = data.rows("test")
        assert len(test) == ROWS
        assert [data.label_names[k] for k in data.labels[test]] == digits[1][order].astype(
            str
        ).tolist()
        read = data.inputs.read(test).reshape(ROWS, -1)
        np.testing.assert_array_equal(read, vectors[order])


def test_an_address_in_a_configuration_is_not_fetched(tmp_path):
    block = {"source": "table", "path": "s3://bucket/rows.parquet", "vector": "z"}
    with pytest.raises(InputError, match="an address, which a configuration cannot name"):
        load(block, base=tmp_path)


def test_arrays(digits, tmp_path):
    images, labels = digits
    colour = np.stack([images, images // 2, images // 4], axis=-1)
    vectors = images.reshape(ROWS, 64).astype(np.float64)
    np.savez(
        tmp_path / "all.npz",
        images=images, colour=colour, unit=images / 255, vectors=vectors,
        views=np.stack([vectors, vectors], axis=1), label=labels[:, None], writer=labels % 3,
    )  # fmt: skip
    every = np.arange(ROWS)

    def read(inputs, kind, **more):
        block = {"source": "arrays", "path": "all.npz", "inputs": inputs, "kind": kind, **more}
        data = load(block, base=tmp_path)
        np.testing.assert_array_equal(data.labels, labels)
        return data.inputs.read(every).numpy()

    np.testing.assert_array_equal(read("images", "image")[:, 0], images)
    np.testing.assert_array_equal(read("unit", "image", slices=["writer"])[:, 0], images)
    np.testing.assert_array_equal(read("colour", "image"), colour.transpose(0, 3, 1, 2))
    assert read("images", "image", image={"size": 16, "channels": "rgb"}).shape[1:] == (3, 16, 16)
    np.testing.assert_array_equal(read("vectors", "vector"), vectors)
    assert read("views", "views").shape == (ROWS, 2, 64)


def test_a_large_npy_file_is_mapped(digits, tmp_path):
    colour = np.stack([digits[0]] * 3, axis=-1)
    np.save(tmp_path / "images.npy", colour)
    np.save(tmp_path / "label.npy", digits[1])
    block = {"source": "arrays", "path": str(tmp_path), "inputs": "images", "kind": "image"}
    data = load(block | {"memory_mib": 0, "limit": 40})
    assert isinstance(data.inputs.array, np.memmap)
    assert "mapped" in data.description.fingerprint_of
    rows = [int(name.split("-")[1]) for name in data.ids]
    np.testing.assert_array_equal(
        data.inputs.read(np.arange(40)), colour[rows].transpose(0, 3, 1, 2)
    )
    np.testing.assert_array_equal(data.labels, digits[1][rows])


def test_arrays_of_parts(digits, tmp_path):
    """The layout of MedMNIST's files."""
    parts = {"train": slice(0, 40), "val": slice(40, 50), "test": slice(50, 60)}
    arrays = {f"{p}_images": digits[0][at] for p, at in parts.items()}
    arrays |= {f"{p}_labels": digits[1][at][:, None] for p, at in parts.items()}
    np.savez(tmp_path / "set.npz", **arrays)
    data = load(
        {
            "source": "arrays",
            "path": str(tmp_path / "set.npz"),
            "kind": "image",
            "inputs": "{split}_images",
            "label": "{split}_labels",
        }
    )
    assert data.description.rows == {"train": 40, "validation": 10, "test": 10}
    np.testing.assert_array_equal(data.labels[data.rows("validation")], digits[1][40:50])


def test_solar_cells():
    elpv = pytest.importorskip("elpv_dataset.utils")
    block = {"source": "solar-cells", "slices": ["cell"], "image": {"size": 32}, "limit": 200}
    data = load(block)
    assert data.label_names == ("sound", "defective")
    assert data.fine == ("condition",)
    assert "CC-BY-NC-SA-4.0" in data.description.licence
    assert data.inputs.shape == (1, 32, 32)
    table = np.genfromtxt(
        Path(elpv.__file__).parent / "data/labels.csv", dtype=["U30", "f8", "U4"], encoding="ascii"
    )
    for name, label, cell in zip(data.ids, data.labels, data.columns["cell"], strict=True):
        path, chance, kind = table[int(name.removeprefix("cell")) - 1]
        assert (Path(path).stem, int(chance > 0), kind) == (name, label, cell)
    assert load(block | {"map": None}).label_names[:2] == ("0 mono", "0 poly")


def test_solar_cells_missing(monkeypatch):
    monkeypatch.setattr("uncollapse.data._sources.builtin.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'uncollapse\[solar\]'"):
        load({"source": "solar-cells"})


def idx(array):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def fashion_images(count):
    """Digits enlarged to 28 x 28 stand in for clothes: the format is what is tested."""
    images, labels = load_digits(return_X_y=True)
    small = np.rint(images[:count].reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    return np.pad(small, ((0, 0), (10, 10), (10, 10))), labels[:count].astype(np.uint8)


def test_fashion_mnist_files(tmp_path):
    images, labels = fashion_images(100)
    for prefix, at in (("train", slice(0, 80)), ("t10k", slice(80, 100))):
        for kind, array in (("images-idx3", images[at]), ("labels-idx1", labels[at])):
            (tmp_path / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    block = {"source": "fashion-mnist", "folder": str(tmp_path), "map": "kinds"}
    data = load(block)
    assert data.label_names == ("tops", "trousers", "footwear", "bags")
    assert data.description.rows["test"] == 20
    np.testing.assert_array_equal(data.inputs.read(data.rows("test"))[:, 0], images[80:])
    kinds = np.array([0, 1, 0, 0, 0, 2, 0, 2, 3, 2])
    np.testing.assert_array_equal(data.labels, kinds[labels])
    np.testing.assert_array_equal(data.columns["class"], np.array(FASHION_CLASSES)[labels])

    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[:80])[:-1]))
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte\.gz"):
        load(block)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[:80]))[:-9])
    with pytest.raises(InputError, match="gzipped idx file"):
        load(block)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="apt-get install dataset-fashion-mnist"):
        load(block)


@pytest.mark.parametrize("sizes", [(80,), (4_000_000_000,), (60_000_000,)])
def test_idx_files_take_no_more_memory_than_they_declare_and_can_hold(tmp_path, sizes):
    """50 KB of gzip make 50 MB: 80 bytes are asked for, more than there can be, more than are."""
    packed = gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, *sizes) + bytes(50_000_000))
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(packed)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"an idx file of bytes.*for sizes"):
            _read_idx(path, 1)
        assert tracemalloc.get_traced_memory()[1] < 110e6
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian():
    data = load({"source": "fashion-mnist", "map": "kinds", "limit": {"train": 12000}})
    assert data.description.rows == {"train": 12000, "validation": 6000, "test": 10000}
    # 6000 + 1000 of each class, so tops are five tenths.
    assert data.description.classes["train"] == {
        "tops": 6000, "trousers": 1200, "footwear": 3600, "bags": 1200,
    }  # fmt: skip


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_cifar(root, cls, images, labels, names, monkeypatch):
    """CIFAR's own format with the MD5 sums of these files in place of the published ones."""
    folder = root / cls.base_folder
    folder.mkdir()
    key = "fine_labels" if cls.base_folder == "cifar-100-python" else "labels"
    lists = {"train_list": [], "test_list": []}
    for which in lists:
        for name, _ in getattr(cls, which):
            entry = {"data": images.reshape(len(images), -1), key: labels}
            (folder / name).write_bytes(pickle.dumps(entry))
            lists[which].append([name, md5(folder / name)])
        monkeypatch.setattr(cls, which, lists[which])
    (folder / cls.meta["filename"]).write_bytes(pickle.dumps({cls.meta["key"]: names}))
    monkeypatch.setattr(cls, "meta", cls.meta | {"md5": md5(folder / cls.meta["filename"])})
    return folder


def test_cifar_100(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR100

    names = sorted(
        name for finer in built_in_maps("CIFAR100")["superclasses"].values() for name in finer
    )
    assert len(names) == 100
    images = np.random.default_rng(0).integers(0, 256, (1000, 3, 32, 32), np.uint8)
    labels = [row % 100 for row in range(1000)]
    folder = write_cifar(tmp_path, CIFAR100, images, labels, names, monkeypatch)
    block = {"source": "torchvision", "name": "CIFAR100", "root": str(tmp_path)}
    data = load(block | {"map": "superclasses"})
    assert len(data.label_names) == 20
    assert data.description.rows["test"] == 1000
    np.testing.assert_array_equal(data.inputs.read(data.rows("test")), images)
    at = data.ids.tolist().index("test-00001")
    assert data.columns["class"][at] == names[1] == "aquarium_fish"
    assert data.label_names[data.labels[at]] == "fish"
    # A changed file must not be unpickled.
    (folder / "train").write_bytes((folder / "train").read_bytes() + b" ")
    with pytest.raises(InputError, match=r"CIFAR100 in .*corrupted.*download: true"):
        load(block)


def test_cifar_10(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), np.uint8)
    labels = [row % 10 for row in range(20)]
    write_cifar(tmp_path, CIFAR10, images, labels, names, monkeypatch)
    block = {"source": "torchvision", "name": "CIFAR10", "root": str(tmp_path), "map": "kinds"}
    data = load(block)
    assert data.description.rows == {"train": 90, "validation": 10, "test": 20}
    assert data.label_names == ("animals", "vehicles")


def test_fashion_mnist_of_torchvision(tmp_path):
    images, labels = fashion_images(100)
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    data = load({"source": "torchvision", "name": "FashionMNIST", "root": str(tmp_path)})
    assert data.label_names == FASHION_CLASSES
    np.testing.assert_array_equal(data.inputs.read(data.rows("test"))[:, 0], images)
