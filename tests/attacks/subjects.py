"""Every kind of file that the product reads: a small good one, and the command that reads it."""

import gzip
import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import yaml
from PIL import Image

from command_line import call

LABELS = np.repeat(np.array(["ant", "bee", "cow"]), 24)
ROWS = len(LABELS)


@dataclass(frozen=True)
class Subject:
    """A file in a folder (the template, never written to), the command, and what is compared.

    `check` names the independent reading in `oracle.py`; `weight` is how often it is drawn: what
    takes a second, less than what takes a twentieth of one.
    """

    name: str
    folder: Path
    file: str
    kind: str
    words: tuple[str, ...]
    check: str = ""
    weight: float = 1.0
    outputs: tuple[str, ...] = ("out.*",)

    def content(self) -> bytes:
        return _content(self.folder / self.file)


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


def _vectors(d: int = 5) -> np.ndarray:
    random = np.random.default_rng(3)
    _, codes = np.unique(LABELS, return_inverse=True)
    return (random.normal(size=(ROWS, d)) + 2 * np.eye(3, d)[codes]).astype(np.float32)


def _table(vectors: np.ndarray | None = None) -> Any:
    rows = _vectors() if vectors is None else vectors
    flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    words = np.array(["train", "train", "train", "validation", "test", "test"])[np.arange(ROWS) % 6]
    return pa.table({"embedding": flat, "label": LABELS.tolist(), "split": words.tolist()})


def _call(*words: str) -> str:
    done = call(*words)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


MEASURE = ("--json", "--permutations", "0")


def embeddings(root: Path) -> Iterator[Subject]:
    """Rows, in every format."""
    vectors, folder = _vectors(), root / "rows"
    folder.mkdir()
    views = {"embedding": np.repeat(vectors, 2, 0), "label": np.repeat(LABELS, 2)}
    views |= {"unit": np.repeat(np.arange(ROWS), 2), "site": np.arange(2 * ROWS) // 2 % 3}
    views |= {"group": np.arange(2 * ROWS) // 6, "finer": np.arange(2 * ROWS) // 2 % 2}
    np.save(folder / "z.npy", vectors)
    np.save(folder / "y.npy", LABELS)
    np.savez(folder / "rows.npz", embedding=vectors, label=LABELS)
    np.savez(folder / "views.npz", **views)
    names = ",".join(f"e{k}" for k in range(5))
    lines = [
        ",".join([*map(repr, row.tolist()), label])
        for row, label in zip(vectors, LABELS, strict=True)
    ]
    (folder / "rows.csv").write_text("\n".join([f"{names},label", *lines]) + "\n")
    table = _table().drop_columns(["split"])
    pq.write_table(table, folder / "rows.parquet")
    with pa.ipc.new_stream(str(folder / "rows.arrow"), table.schema) as writer:
        writer.write_table(table)
    feather.write_feather(table, folder / "rows.feather", compression="zstd")
    (folder / "rows.tsv").write_text((folder / "rows.csv").read_text().replace(",", "\t"))
    (folder / "packed.csv.gz").write_bytes(gzip.compress((folder / "rows.csv").read_bytes()))
    records = [
        {"embedding": row.tolist(), "label": str(label)}
        for row, label in zip(vectors, LABELS, strict=True)
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    cells = [f'{record["label"]},"{record["embedding"]}"' for record in records]
    (folder / "texts.csv").write_text("\n".join(["label,embedding", *cells]) + "\n")
    from safetensors.numpy import save_file

    codes = np.unique(LABELS, return_inverse=True)[1].astype(np.int64)
    save_file({"embedding": vectors, "label": codes}, folder / "rows.safetensors")
    for file, kind in {
        "rows.npz": "npz",
        "rows.csv": "csv",
        "rows.parquet": "parquet",
        "rows.arrow": "arrow",
        "rows.safetensors": "safetensors",
        "rows.feather": "arrow",
        "rows.tsv": "csv",
        "rows.jsonl": "jsonl",
        "texts.csv": "csv",
        "packed.csv.gz": "idx",
    }.items():
        yield Subject(
            f"measure {file.partition('.')[2] if file[0] == 'r' else file}",
            folder,
            file,
            kind,
            ("measure", file, *MEASURE),
            "rows",
            3,
        )
    apart = ("measure", "z.npy", "--labels-from", "y.npy", *MEASURE)
    yield Subject("measure npy", folder, "z.npy", "npy", apart, "rows", 3)
    yield Subject("measure labels npy", folder, "y.npy", "npy", apart, "rows", 1)
    roles = ("--instance", "unit", "--group", "group", "--slice", "site", "--fine", "finer")
    words = ("measure", "views.npz", *roles, *MEASURE)
    yield Subject("measure views", folder, "views.npz", "npz", words, "views", 2)
    stream = ("measure", "rows.parquet", "--stream", *MEASURE)
    yield Subject("measure stream", folder, "rows.parquet", "parquet", stream, "rows", 1)
    yield Subject("report csv", folder, "rows.csv", "csv", _report("rows.csv"), "reported", 1)
    yield Subject("report npz", folder, "rows.npz", "npz", _report("rows.npz"), "reported", 1)
    np.savez(folder / "base.npz", embedding=_vectors(7) ** 2, label=LABELS)
    words = ("measure", "rows.npz", "--reference", "base.npz", *MEASURE)
    yield Subject("measure reference", folder, "base.npz", "npz", words, "", 1)
    text = folder / "counts.txt"
    text.write_text("10\n4\n2\n")
    words = ("predict", "--class-counts", "@counts.txt", "--alpha", "0.2", "--temperature", "0.3")
    yield Subject("predict counts", folder, "counts.txt", "csv", (*words, "--json"), "counts", 0.5)


def _report(*paths: str) -> tuple[str, ...]:
    return ("report", *paths, "--format", "json", "-o", "out.json")


def states(root: Path) -> Iterator[Subject]:
    folder = root / "states"
    shutil.copytree(root / "rows", folder)
    kinds = {"exact": ("rows.npz",), "blocks": ("rows.npz", "--interval", "blocks")}
    kinds["reference"] = ("rows.npz", "--reference", "base.npz")
    kinds["groups"] = ("views.npz", "--instance", "unit", "--group", "group")
    for name, words in kinds.items():
        file = f"{name}.npz"
        _call("measure", *_in(folder, words), "--save-state", str(folder / file), "--json")
        shown = ("measure", file, "--json")
        yield Subject(f"state {name}", folder, file, "npz", shown, "state", 1)


def _in(folder: Path, words: tuple[str, ...]) -> list[str]:
    return [str(folder / word) if (folder / word).is_file() else word for word in words]


def huggingface(root: Path) -> Iterator[Subject]:
    """As `save_to_disk` writes a Dataset and a DatasetDict."""
    codes = np.unique(LABELS, return_inverse=True)[1]
    features = {
        "embedding": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"},
        "label": {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"},
    }
    table = _table().set_column(1, "label", pa.array(codes)).drop_columns(["split"])
    table = table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    state = {
        "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
        "_fingerprint": "0",
        "_split": None,
    }
    root = root / "huggingface"
    for part in ("", "train", "test"):
        folder = root / "parts" / part if part else root / "single"
        folder.mkdir(parents=True)
        with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
            writer.write_table(table)
        (folder / "state.json").write_text(json.dumps(state))
        (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (root / "parts/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    (root / "c.yaml").write_text(
        _config({"source": "table", "path": "parts", "vector": "embedding"})
    )
    words = ("measure", "single", *MEASURE)
    yield Subject("hf arrow", root, "single/data-00000-of-00001.arrow", "arrow", words, "rows", 2)
    yield Subject("hf state", root, "single/state.json", "json", words, "rows", 1)
    for file in ("dataset_dict.json", "train/state.json", "train/dataset_info.json"):
        yield Subject(f"hf {file}", root, f"parts/{file}", "json", _embed("c.yaml"), "", 0.4)


def _embed(config: str) -> tuple[str, ...]:
    return ("embed", config, "-o", "out.npz", "--json")


def _config(data: Mapping[str, Any], **blocks: Any) -> str:
    block: dict[str, Any] = {
        "data": {"split": {"validation": 0.2, "test": 0.2}, **data},
        "views": {"augmentation": "none"},
        "batch": {"size": 12},
        "encoder": {"kind": "mlp", "widths": [6], "norm": "none"},
        "head": {"dimension": 4, "layers": 1, "norm": "none"},
        "loss": {"alpha": 0.2, "temperature": 0.1},
        "epochs": 2,
        "device": "cpu",
    }
    return yaml.safe_dump(block | blocks, sort_keys=False)


CONVNET = {"kind": "convnet", "widths": [4], "norm": "group"}


def data_sources(root: Path) -> Iterator[Subject]:
    """What `embed` reads by a configuration."""
    root = root / "data"
    (root / "npy").mkdir(parents=True)
    vectors, random = _vectors(), np.random.default_rng(5)
    pixels = random.integers(0, 255, (ROWS, 8, 8), dtype=np.uint8)
    pq.write_table(_table(), root / "t.parquet")
    shutil.copy(root.parent / "rows/rows.csv", root / "t.csv")
    np.savez(root / "a.npz", inputs=pixels, label=LABELS)
    np.save(root / "npy/inputs.npy", vectors)
    np.save(root / "npy/label.npy", LABELS)
    encoded = []
    for row, (label, image) in enumerate(zip(LABELS, pixels, strict=True)):
        path = root / "images" / str(label) / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        encoded.append(path.read_bytes())
    pq.write_table(pa.table({"image": encoded, "label": LABELS.tolist()}), root / "i.parquet")
    codes = np.unique(LABELS, return_inverse=True)[1].astype(np.uint8)
    for part in ("train", "t10k"):
        head = bytes([0, 0, 8, 3]) + struct.pack(">3I", ROWS, 8, 8)
        (root / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels.tobytes()))
        head = bytes([0, 0, 8, 1]) + struct.pack(">I", ROWS)
        (root / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + codes.tobytes()))
    (root / "map.yaml").write_text("insect: [ant, bee]\nmammal: [cow]\n")
    sources: dict[str, tuple[dict[str, Any], str, str, str]] = {
        "parquet": (
            {"source": "table", "path": "t.parquet", "vector": "embedding"},
            "t.parquet",
            "parquet",
            "inputs",
        ),
        "csv": ({"source": "table", "path": "t.csv", "vector": "*"}, "t.csv", "csv", ""),
        "npz": ({"source": "arrays", "path": "a.npz", "kind": "image"}, "a.npz", "npz", "inputs"),
        "npy": (
            {"source": "arrays", "path": "npy", "kind": "vector"},
            "npy/inputs.npy",
            "npy",
            "inputs",
        ),
        "folder": (
            {"source": "image-folder", "path": "images"},
            "images/ant/03.png",
            "picture",
            "inputs",
        ),
        "encoded": (
            {"source": "table", "path": "i.parquet", "image_column": "image"},
            "i.parquet",
            "parquet",
            "",
        ),
        "idx": (
            {"source": "fashion-mnist", "folder": "."},
            "train-images-idx3-ubyte.gz",
            "idx",
            "",
        ),
        "map": (
            {"source": "table", "path": "t.parquet", "vector": "embedding", "map": "map.yaml"},
            "map.yaml",
            "yaml",
            "",
        ),
    }
    for name, (data, file, kind, check) in sources.items():
        image = name in ("npz", "folder", "encoded", "idx")
        more = {"encoder": CONVNET} if image else {}
        (root / f"{name}.yaml").write_text(_config(data, **more))
        weight = 1.5 if kind == "picture" else 0.6
        yield Subject(f"data {name}", root, file, kind, _embed(f"{name}.yaml"), check, weight)
    for name in ("parquet", "folder"):
        file = f"{name}.yaml"
        yield Subject(f"config {name}", root, file, "yaml", _embed(file), "config", 2)
    words = ("embed", "parquet.yaml", "--data", "npy.yaml", "-o", "out.npz", "--json")
    yield Subject("config --data", root, "npy.yaml", "yaml", words, "", 0.5)
