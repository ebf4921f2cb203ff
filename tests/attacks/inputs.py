"""What `embed` reads by a configuration, against the same read plainly and given as arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from attacks.plain import plain_columns
from command_line import call


def inputs(folder: Path, file: str, answer: Any) -> str:
    """The same embeddings as those of the inputs read plainly and given as arrays."""
    config = {"a.npz": "npz", "t.parquet": "parquet", "npy/inputs.npy": "npy"}.get(file, "folder")
    plain = folder / "plain"
    plain.mkdir()
    if config == "folder":
        paths = sorted(p for p in (folder / "images").glob("*/*.png") if p.is_file())
        images = [Image.open(path) for path in paths]
        grey = all(image.mode[:1] in "1LI" for image in images)
        held = np.stack([_pixels(image, "L" if grey else "RGB") for image in images])
        labels: Any = [path.parent.name for path in paths]
    elif config == "npy":
        held, labels = np.load(folder / "npy/inputs.npy"), np.load(folder / "npy/label.npy")
    else:
        name = "inputs" if config == "npz" else "embedding"
        columns = plain_columns(folder / file, (name, "label"))  # nothing else is read
        held, labels = np.array(columns[name]), columns["label"]
    if held.dtype.kind == "f" and config == "npz":
        held = np.rint(held.astype(float) * 255)
    kind = "vector" if config in ("parquet", "npy") else "image"
    if kind == "vector" and held.ndim == 1:
        held = held[:, None]  # one number in each row
    held = held.astype(np.float64 if kind == "vector" else np.uint8)
    np.savez(plain / "a.npz", inputs=held, label=np.array([_name(label) for label in labels]))
    text = (folder / f"{config}.yaml").read_text()
    block = yaml.safe_load(text)
    data = {"source": "arrays", "path": "a.npz", "kind": kind, "split": block["data"]["split"]}
    (plain / "c.yaml").write_text(yaml.safe_dump(block | {"data": data}))
    done = call("embed", str(plain / "c.yaml"), "-o", str(plain / "out.npz"))
    if done.returncode:
        return f"the same as arrays is refused: {done.stderr.strip()[-160:]}"
    first, second = np.load(folder / "out.npz"), np.load(plain / "out.npz")
    if sorted(first["label"].tolist()) != sorted(second["label"].tolist()):
        return "other labels"
    if config == "parquet" and "split" in str(data):
        return "" if first["backbone"].shape == second["backbone"].shape else "other shape"
    alike = np.allclose(first["backbone"], second["backbone"], rtol=1e-3, atol=1e-5)
    return "" if alike else "other embeddings"


def _name(label: Any) -> str:
    """A label as text: of whole floats the integer, of bytes what they spell, of a list its one."""
    if np.size(label) == 1 and np.ndim(label):
        label = np.asarray(label).item()
    if isinstance(label, bytes | np.void):
        return bytes(label).decode("utf-8", "replace")
    return str(int(label)) if np.ndim(label) == 0 and _whole(label) else str(label)


def _whole(label: Any) -> bool:
    return isinstance(label, float | np.floating) and float(label).is_integer()


def _pixels(image: Any, mode: str) -> Any:
    """Eight bits; of sixteen the upper, to the nearest."""
    if image.mode.startswith("I"):
        eight = (np.asarray(image).astype(np.int64) + 128) // 257
        image = Image.fromarray(eight.astype(np.uint8))
    return np.asarray(image.convert(mode))
