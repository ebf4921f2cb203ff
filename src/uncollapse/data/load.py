"""From the `data:` block to labelled data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import config as sources
from uncollapse.data._inputs import OpenedInputs
from uncollapse.data._source import DataSource
from uncollapse.data.dataset import SPLITS, LabelledData
from uncollapse.data.labels import Labels, column_of, make_labels
from uncollapse.data.splits import limited_rows, make_split, part_names
from uncollapse.errors import InputError
from uncollapse.progress import Progress
from uncollapse.records import DataDescription


def _list_rows(config: sources.DataConfig, base: Path | None) -> DataSource:
    from uncollapse.data._sources import arrays, builtin, folder, table

    match config:
        case sources.DigitsConfig():
            return builtin.list_digits(config)
        case sources.FashionMnistConfig():
            return builtin.list_fashion_mnist(config, base)
        case sources.SolarCellsConfig():
            return builtin.list_solar_cells(config)
        case sources.ArraysConfig():
            return arrays.list_arrays(config, base)
        case sources.ImageFolderConfig():
            return folder.list_image_folder(config, base)
        case sources.TableConfig():
            return table.list_table(config, base)
        case sources.TorchvisionConfig():
            return builtin.list_torchvision(config, base)


def _column(source: DataSource, name: str, role: str, remedy: str | None = None) -> NDArray[Any]:
    """A column as text; what is missing is empty text, or refused with a remedy."""
    column = column_of(source, name, role)
    absent = sum(value is None for value in column.tolist())
    if absent and remedy is not None:
        raise InputError(
            f"a value in every row of the {role} column {name!r}",
            f"{absent} rows of {len(column)} without one",
            remedy,
        )
    return np.array(["" if value is None else value for value in column.tolist()])


def _role_columns(
    config: sources.DataConfig, source: DataSource, labels: Labels
) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """Names of the finer labels, and the columns of finer labels and slices."""
    coarsened = [] if labels.map is None else [labels.column]
    fine = tuple(dict.fromkeys([*coarsened, *config.fine]))
    allow = config.unlabelled == "allow"
    remedy = None if allow else "complete them, or set `unlabelled: allow`"
    columns = {name: _column(source, name, "finer label", remedy) for name in fine}
    return fine, columns | {name: _column(source, name, "slice") for name in config.slices}


def _ids(source: DataSource, name: str | None) -> NDArray[Any]:
    ids = source.ids.astype(str)
    if name is not None:
        ids = _column(source, name, "id", "complete them")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        again = values[counts > 1]
        raise InputError(
            "one id for each row",
            f"{len(again)} ids more than once, the first {str(again[0])!r}",
            "make the ids unique",
        )
    return ids


def _given_split(config: sources.DataConfig, source: DataSource) -> NDArray[Any] | None:
    name, rename = config.split.column, config.split.rename
    if name is not None:
        words = column_of(source, name, "split")
        return part_names(words.tolist(), f"column {name!r}", rename)
    if source.split is None:
        return None
    return part_names(source.split.tolist(), config.source, rename)


def _fingerprint(
    inputs: OpenedInputs,
    labels: NDArray[np.int64],
    names: tuple[str, ...],
    ids: NDArray[Any],
    split: NDArray[Any],
) -> tuple[str, str]:
    content, what = inputs.fingerprint()
    digest = hashlib.sha256(f"{inputs.kind} {inputs.shape} {names}\n".encode())
    for row in zip(ids.tolist(), labels.tolist(), split.tolist(), strict=True):
        digest.update("\0".join(map(str, row)).encode() + b"\n")
    digest.update(content)
    return digest.hexdigest(), f"ids, labels, split, and {what}"


def _describe(
    config: sources.DataConfig,
    source: DataSource,
    labels: Labels,
    how: str,
    inputs: OpenedInputs,
    codes: NDArray[np.int64],
    ids: NDArray[Any],
    split: NDArray[Any],
) -> DataDescription:
    classes, notes = {}, list(source.notes)
    for part in SPLITS:
        counts = np.bincount(codes[(split == part) & (codes >= 0)], minlength=len(labels.names))
        classes[part] = dict(zip(labels.names, counts.tolist(), strict=True))
        if (split == part).any():
            absent = [name for name, count in classes[part].items() if count == 0]
            notes += [f"class {name!r} has no {part} row" for name in absent]
    fingerprint, fingerprint_of = _fingerprint(inputs, codes, labels.names, ids, split)
    return DataDescription(
        source=config.source,
        licence=source.licence,
        label=labels.column,
        map=None if labels.map is None else {k: list(v) for k, v in labels.map.items()},
        rows={part: int(np.count_nonzero(split == part)) for part in SPLITS},
        classes=classes,
        unlabelled=int(np.count_nonzero(codes < 0)),
        split=how,
        seed=config.seed,
        limit=config.model_dump(mode="json")["limit"],
        notes=notes,
        kind=inputs.kind,
        shape=list(inputs.shape),
        fingerprint=fingerprint,
        fingerprint_of=fingerprint_of,
    )


def load_data(
    config: sources.DataConfig, *, base: Path | None = None, progress: Progress | None = None
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
    source = _list_rows(config, base)
    if len(source.ids) == 0:
        raise InputError("data with rows", "none", "check the path")
    allow = config.unlabelled == "allow"
    labels = make_labels(source, config.label, config.map, allow_unlabelled=allow, base=base)
    fine, columns = _role_columns(config, source, labels)
    groups = None
    if config.group is not None:
        groups = _column(source, config.group, "group", "give each row a group")
    ids = _ids(source, config.id)
    finer, given = [columns[name] for name in fine], _given_split(config, source)
    split, how = make_split(
        config.split, given, labels.codes, labels.names, finer, groups, config.seed
    )
    rows = np.arange(len(ids))
    if config.limit is not None:
        rows = limited_rows(config.limit, split, labels.codes, finer, config.seed)
    codes, split, ids = labels.codes[rows], split[rows], ids[rows]
    inputs = source.open(rows, progress)
    return LabelledData(
        inputs=inputs,
        labels=codes,
        label_names=labels.names,
        columns={name: column[rows] for name, column in columns.items()},
        fine=fine,
        slices=config.slices,
        groups=None if groups is None else groups[rows],
        ids=ids,
        split=split,
        description=_describe(config, source, labels, how, inputs, codes, ids, split),
    )
