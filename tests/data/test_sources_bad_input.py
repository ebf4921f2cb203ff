"""Bad input gives one clear line that names what is wrong and where."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from uncollapse.data import data_config, load_data
from uncollapse.errors import InputError


def refused(block, match, base=None):
    with pytest.raises(InputError, match=match) as caught:
        load_data(data_config(block), base=base)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("block", "match"),
    [
        ({"source": "digit"}, "source"),
        (
            {"source": "digits", "lable": "x"},
            r"digits\.lable is no known key; did you mean label",
        ),
        ({"source": "digits", "seed": "0"}, "seed.*integer"),
        ({"source": "digits", "split": {"test": 0.6, "validation": 0.5}}, "below 1"),
        ({"source": "digits", "split": {"test": 1}}, "less than 1"),
        ({"source": "digits", "map": {True: ["1"]}}, "quotes"),
        ({"source": "digits", "map": {"odd": 1}}, "list of the finer names"),
        ({"source": "table", "path": "x"}, "exactly one of image_column, vector and views"),
        ({"source": "table", "path": "x", "vector": "*", "views": "v"}, "exactly one"),
        ({"source": "digits", "limit": 0}, "greater than or equal to 1"),
    ],
)
def test_configuration(block, match):
    refused(block, match)


def test_yaml_and_json_give_the_same_configuration():
    block = yaml.safe_load(
        """
        source: image-folder
        path: images
        label: digit
        map: {even: [0, 2], odd: [1]}
        fine: [digit]
        image: {size: [32, 48], channels: grey}
        split: {validation: 0, test: 0.25}
        limit: {train: 100}
        memory_mib: 10
        """
    )
    config = data_config(block)
    assert config.map == {"even": ("0", "2"), "odd": ("1",)}
    assert config.image.size == (32, 48)
    assert data_config(config.model_dump(mode="json")) == config


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for row in range(5):
            Image.fromarray(np.full((4, 4), row, np.uint8)).save(tmp_path / name / f"{row}.png")
    return tmp_path


def test_unreadable_images(folder):
    block = {"source": "image-folder", "path": str(folder)}
    (folder / "a/3.png").write_bytes((folder / "a/3.png").read_bytes()[:-20])
    refused(block, r"a/3\.png: .* \(1 of 10\)")
    (folder / "b/1.png").write_text("no image")
    (folder / "b/4.png").write_bytes(b"")
    refused(block, r"b/1\.png: not an image \(and 1 more of 10\)")


def test_an_image_that_breaks_when_it_is_read(folder):
    data = load_data(data_config({"source": "image-folder", "path": str(folder), "memory_mib": 0}))
    (folder / "a/3.png").write_bytes((folder / "a/3.png").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a/3\.png"):
        data.inputs.read(np.arange(10))


def test_folders(folder, tmp_path):
    block = {"source": "image-folder", "path": str(folder)}
    refused(block | {"path": str(folder / "none")}, r"a folder of images at .*none; found none")
    refused(block | {"path": str(folder / "a")}, "directory for each class")
    refused(block | {"label": "kind"}, r"label column 'kind'; found columns 'class'")
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(folder / "a/large.png")
    refused(block, r"2 sizes.*4 x 4.*4 x 5.*image\.size")
    (folder / "c").mkdir()
    refused(block, "none in .*/c")


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("../a/0.png", "inside .* found '../a/0.png' in row 1"),
        ("/etc/hosts", "inside .* found '/etc/hosts' in row 1"),
        ("a/9.png", "no 'a/9.png' .and 0 more of 3"),
        ("b/0.png", "one id for each row.*'b/0.png'"),
        ("", "none in row 1"),
    ],
)
def test_paths_in_a_table(folder, path, match):
    (folder / "list.csv").write_text(f"path,label\na/0.png,x\n{path},y\nb/0.png,y\n")
    table = {"source": "image-folder", "path": str(folder), "table": str(folder / "list.csv")}
    refused(table, match)
    refused(
        table | {"path_column": "file"},
        r"a column 'file' in .*list\.csv; found columns path, label",
    )


@pytest.fixture
def table(tmp_path):
    """A writer of a table of 40 rows with some columns changed, and its block."""

    def write(**columns):
        content = {
            "x": np.arange(40.0), "y": np.arange(40.0), "label": np.arange(40) % 2,
            "name": [f"n{i}" for i in range(40)],
        } | columns  # fmt: skip
        pq.write_table(pa.table(content), tmp_path / "t.parquet")
        return {"source": "table", "path": str(tmp_path / "t.parquet"), "vector": ["x", "y"]}

    return write


def test_tables(table, tmp_path):
    holes = np.where(np.arange(40) % 10 == 3, np.nan, 1)
    refused(
        table(y=holes),
        r"column 'y' of \S+; found 4 of 40 rows with a NaN or an infinity .first: row 3.",
    )
    refused(table(y=np.full(40, np.inf)), "'y'.*40 of 40")
    refused(table(y=np.full(40, 1e39)), "'y'.*40 of 40")
    refused(table(y=["a"] * 40), "numbers in column 'y'")
    refused(
        table() | {"vector": ["x", "z"]},
        r"column 'z' in .*t\.parquet; found columns x, y, label, name",
    )
    refused(
        table() | {"label": "z"}, r"column 'z' in .*t\.parquet; found columns x, y, label, name"
    )
    refused(
        table() | {"fine": ["z"]}, r"column 'z' in .*t\.parquet; found columns x, y, label, name"
    )
    refused(
        table(label=[1] * 40), r"two classes or more in column 'label' of .*t\.parquet; found 1"
    )
    refused(table(label=[None] * 2 + [0, 1] * 19), "2 rows of 40 without one, the first row-0")
    refused(
        table(name=["n"] * 3 + list("abcdefg") + [*map(str, range(30))]) | {"id": "name"}, "'n'"
    )
    refused(
        table(x=[[1.0]] * 39 + [[1.0, 2.0]]) | {"vector": "x"},
        r"length \(1\) in column 'x' of .*1 of 40 rows of another \(first: row 39, length 2\)",
    )
    refused(table() | {"vector": None, "image_column": "name"}, "encoded images in column 'name'")
    refused(
        table() | {"split": {"column": "name"}},
        "train, validation .val, valid, dev. or test in column",
    )
    refused(
        table(name=[None] + ["g"] * 39) | {"group": "name"}, "group column 'name'; found 1 rows"
    )
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    refused(
        {"source": "table", "path": str(tmp_path / "t.parquet"), "vector": "*"},
        r"a parquet table in .*t\.parquet",
    )
    (tmp_path / "empty").mkdir()
    refused({"source": "table", "path": str(tmp_path / "empty"), "vector": "*"}, "none in .*empty")


def test_rows_without_label_can_be_kept(table):
    block = table(label=[None] * 2 + [0, 1] * 19, name=[""] + ["s"] * 39)
    data = load_data(data_config(block | {"unlabelled": "allow", "slices": ["name"]}))
    assert data.labels[:4].tolist() == [-1, -1, 0, 1]
    assert data.label_names == ("0", "1")
    assert data.columns["name"][:2].tolist() == ["", "s"]
    assert data.description.unlabelled == 2


def test_maps(tmp_path):
    block = {"source": "digits"}
    refused(block | {"map": "loop"}, "map 'loop'; built in: 'parity', 'loops'")
    whole = {"low": [0, 1, 2, 3, 4], "high": [5, 6, 7, 8, 9]}
    refused(block | {"map": whole | {"high": [5, 6, 7]}}, "not covered: '8', '9'")
    refused(block | {"map": whole | {"high": [5, 6, 7, 8, 9, 10]}}, "unknown '10'")
    refused(block | {"map": whole | {"high": [4, 5, 6, 7, 8, 9]}}, "'4' under 'low' and 'high'")
    refused(block | {"map": {"all": list(range(10))}}, r"two classes or more.*1 \('all'\)")
    refused(block | {"map": "none.yaml"}, r"label map at .*none\.yaml; found none", base=tmp_path)
    (tmp_path / "map.yaml").write_text("low: [0, 1, 2, 3, 4]\nhigh: [5, 6, 7, 8, 9]\n")
    data = load_data(data_config(block | {"map": "map.yaml"}), base=tmp_path)
    assert data.label_names == ("low", "high")
    (tmp_path / "map.yaml").write_text("low: [0, 1")
    refused(block | {"map": "map.yaml"}, r"a label map in .*map\.yaml", base=tmp_path)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_arrays(tmp_path):
    block = {"source": "arrays", "path": str(tmp_path / "a.npz"), "kind": "vector"}
    label = np.arange(20) % 2

    def write(**arrays):
        np.savez(tmp_path / "a.npz", **{"label": label, **arrays})
        return block

    good = np.ones((20, 3))
    refused(write(x=good), r"column 'inputs' in .*a\.npz; found columns label, x")
    refused(
        write(inputs=np.where(np.eye(20, 3) > 0, np.nan, 1)),
        "3 of 20 rows with a NaN or an infinity .first: row 0.",
    )
    holes = np.where(np.arange(20)[:, None] == 15, np.nan, good)
    refused(write(inputs=holes) | {"limit": 9}, "1 of 20 rows with a NaN .*first: row 15.")
    refused(write(inputs=good * 1e39), "20 of 20 rows with a NaN or an infinity .*float32")
    refused(write(inputs=np.ones((20, 3, 2))), r"vectors \(N, D\).*\(20, 3, 2\)")
    refused(write(inputs=np.ones((20, 3, 4, 4))) | {"kind": "image"}, "move the channels last")
    refused(write(inputs=np.full((20, 4, 4), 7.5)) | {"kind": "image"}, r"float64 from 7\.5")
    refused(write(inputs=good, label=label[:9]) | {"label": "label"}, r"rows: inputs 20, label 9")
    refused(
        write(inputs=good) | {"label": "name"}, r"column 'name' in .*; found columns label, inputs"
    )
    trap = np.array([Trap()] * 20, object)
    refused(
        write(inputs=good, label=trap), r"array named 'label' in .*save it again as numbers or text"
    )
    np.save(tmp_path / "inputs.npy", trap, allow_pickle=True)
    refused(
        block | {"path": str(tmp_path)},
        r"array of rows in .*inputs\.npy.*save it again as numbers or text",
    )
    (tmp_path / "a.npz").write_bytes(b"no archive")
    refused(block, r"named arrays in .*a\.npz; found a file that cannot be read as one")


def test_torchvision_sets_that_are_not_there(tmp_path):
    block = {"source": "torchvision", "name": "CIFAR10", "root": str(tmp_path / "none")}
    refused(block, r"CIFAR10 in .*not found.*download: true")
