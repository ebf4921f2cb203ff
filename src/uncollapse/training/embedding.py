"""Embeddings of rows by an encoder, which is left as it was, and of data sets to files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from uncollapse.data import Augmenter, LabelledData
from uncollapse.errors import InputError
from uncollapse.progress import Progress, quiet
from uncollapse.storage import beside
from uncollapse.training.encoders import Encoder, evaluation_mode

# Inputs of a batch at most, and on a CPU numbers in them: more leaves the cache in every layer.
BATCH, CPU_NUMBERS = 256, 2**20
LAYERS = ("backbone", "projector")
Batches = Iterator[dict[str, NDArray[np.float32]]]


def embed_rows(
    model: Encoder,
    data: LabelledData,
    rows: NDArray[np.int64],
    augmenter: Augmenter,
    *,
    key: tuple[int, ...] | None = None,
    plain: bool = False,
    precision: str = "fp32",
    progress: Progress = quiet,
) -> Batches:
    """Embeddings of both layers, batch by batch, by a model that is left as it was.

    Each batch is {"backbone": (b, p, width), "projector": (b, p, d)} in float32, and whatever other
    layers the model gives. Without a key p is
    1 and rows are as they are; with one, p views are made of each, by the key and the batch; with
    `plain` the row as it is comes before its views.
    """
    device = next(model.parameters()).device
    most = BATCH
    if device.type == "cpu":
        most = min(BATCH, CPU_NUMBERS // max(1, math.prod(data.inputs.shape)))
    size = max(1, most // (1 if key is None else augmenter.count))
    for number, start in enumerate(range(0, len(rows), size)):
        raw = data.inputs.read(rows[start : start + size])
        kinds = []
        if plain or key is None:
            kinds.append(augmenter.plain(raw)[:, None])
        if key is not None:
            kinds.append(augmenter.views(raw, key=(*key, number)))
        inputs = torch.cat(kinds, dim=1)
        autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
        with evaluation_mode(model), autocast:
            layers = model.layers(inputs.flatten(0, 1).to(device))
        arrays = {name: values.float().cpu().numpy() for name, values in layers.items()}
        yield {name: array.reshape(*inputs.shape[:2], -1) for name, array in arrays.items()}
        progress(min(start + size, len(rows)), len(rows))


def joined(batches: Batches) -> dict[str, NDArray[np.float32]]:
    """Embeddings of all rows, by layer."""
    parts = list(batches)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def embed(
    model: Encoder,
    data: LabelledData,
    augmenter: Augmenter,
    output: Path,
    *,
    splits: Sequence[str] | None = None,
    most: int | None = None,
    views: int = 0,
    seed: int = 0,
    precision: str = "fp32",
    about: dict[str, Any] | None = None,
    progress: Progress = quiet,
) -> int:
    """Write embeddings of both layers, with ids, labels, finer labels and slices.

    Args:
        model: The encoder; it is left as it was.
        data: The data.
        augmenter: Makes inputs of rows; its views are the augmented ones.
        output: A .parquet file (columns id, split, label, instance, view, the finer labels and
            slices, group, backbone, projector) or an .npz file (the same, an array each; with views
            the layers are (N, 1 + p, d) and the rest has one entry per instance).
        splits: Parts of the data; None for all.
        most: Rows of the data at most, drawn at random by the seed; None for all.
        views: Augmented views of each instance (p), which come after the instance as it is (view
            0, what evaluation takes); 0 for the instances as they are, one row each.
        seed: Of the views and of the draw.
        precision: "fp32" or "bf16".
        about: What else the file is to say of itself.
        progress: Called with (instances done, instances in all).

    Returns:
        Rows written.

    Raises:
        InputError: Another kind of file, no rows, or it cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from uncollapse.training import build_problem, parse_config
        >>> block = {"data": {"source": "digits", "map": "parity"}, "encoder": {"kind": "convnet"}}
        >>> block |= {"loss": {"alpha": 0.2, "temperature": 0.1}, "epochs": 2}
        >>> own = build_problem(parse_config(block))
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "test.parquet")
        ...     embed(own.model, own.data, own.augmenter, path, splits=["test"])
        359
    """
    if output.suffix not in (".parquet", ".npz"):
        raise InputError("an output file *.parquet or *.npz", str(output), "rename it")
    parts = [data.rows(split) for split in splits] if splits else [np.arange(len(data.ids))]
    rows = np.sort(np.concatenate(parts)).astype(np.int64)
    if most is not None and most < len(rows):
        rows = np.sort(np.random.default_rng((seed, 13)).choice(rows, most, replace=False))
    if not len(rows):
        raise InputError("rows in the chosen splits", "none", "choose others with --split")
    batches = embed_rows(
        model,
        data,
        rows,
        augmenter,
        key=(seed, 11) if views else None,
        plain=True,
        precision=precision,
        progress=progress,
    )
    about = {
        "kind": "embeddings",
        "schema_version": 1,
        "layers": list(LAYERS),
        "label": "label",
        "fine": list(data.fine),
        "slices": list(data.slices),
        "views": views,
        "plain_first": True,
        "seed": seed,
        "mode": "evaluation",
        "precision": precision,
        "data": data.description.to_dict(),
        **(about or {}),
    }
    write = _write_npz if output.suffix == ".npz" else _write_parquet
    with beside(output) as part:
        write(part, _columns(data, rows), batches, about)
    return len(rows) * (1 + views)


def _columns(data: LabelledData, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Everything but the layers, one entry per instance."""
    names = np.array([*data.label_names, ""], dtype=object)
    columns = {
        "id": data.ids[rows],
        "split": data.split[rows],
        "label": names[data.labels[rows]],
        "instance": data.ids[rows],
    }
    taken = {*columns, "view", "group", *LAYERS}
    for name in (*data.fine, *data.slices):
        if name in taken:
            raise InputError(
                f"finer labels and slices named other than {', '.join(sorted(taken))}",
                name,
                "rename the column in the data",
            )
        columns[name] = data.columns[name][rows]
    if data.groups is not None:
        columns["group"] = data.groups[rows]
    return columns


def _write_parquet(
    path: Path, columns: dict[str, NDArray[Any]], batches: Batches, about: dict[str, Any]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    start, writer = 0, None
    metadata = {"uncollapse": json.dumps(about, ensure_ascii=False)}
    with ExitStack() as files:
        for layers in batches:
            instances, views, _ = layers["projector"].shape
            table: dict[str, Any] = {}
            for name, values in columns.items():
                each_view = np.repeat(values[start : start + instances], views).tolist()
                table[name] = pa.array([str(value) or None for value in each_view], pa.string())
            table["view"] = pa.array(np.tile(np.arange(views, dtype=np.int32), instances))
            for name in LAYERS:
                flat = layers[name].reshape(instances * views, -1)
                table[name] = pa.FixedSizeListArray.from_arrays(
                    pa.array(flat.ravel()), flat.shape[1]
                )
            block = pa.table(table)
            if writer is None:
                schema = block.schema.with_metadata(metadata)
                writer = files.enter_context(pq.ParquetWriter(path, schema))
            writer.write_table(block)
            start += instances


def _write_npz(
    path: Path, columns: dict[str, NDArray[Any]], batches: Batches, about: dict[str, Any]
) -> None:
    arrays: dict[str, Any] = {name: values.astype(str) for name, values in columns.items()}
    for name, layer in joined(batches).items():
        arrays[name] = layer if about["views"] else layer[:, 0]
    arrays["about"] = np.array(json.dumps(about, ensure_ascii=False))
    with path.open("wb") as file:
        np.savez(file, **arrays)
