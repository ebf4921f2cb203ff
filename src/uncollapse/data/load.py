"""From the `data:` block to labelled data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data import config as sources
from uncollapse.data.decode import Progress
from uncollapse.data.inputs import OpenedInputs
from uncollapse.data.labelled import SPLITS, LabelledData
from uncollapse.data.labels import Labels, column_of, make_labels
from uncollapse.data.listing import Listing
from uncollapse.data.splits import limited, make_split, part_names
from uncollapse.errors import InputError

__all__ = ["load_data"]


def _list_rows(config: sources.DataConfig, base: Path | None) -> Listing:
    from uncollapse.data.sources import arrays, builtin, folder, table, torchvision_sets

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
            return torchvision_sets.list_torchvision(config, base)


def _complete(column: NDArray[Any], name: str, role: str, remedy: str) -> NDArray[Any]:
    absent = sum(value is None for value in column.tolist())
    if absent:
        raise InputError(
            f"a value in every row of the {role} column {name!r}",
            f"{absent} rows of {len(column)} without one",
            remedy,
        )
    return column.astype(str)


def _filled(column: NDArray[Any]) -> NDArray[Any]:
    return np.array(["" if value is None else value for value in column.tolist()])


def _role_columns(
    config: sources.DataConfig, listing: Listing, labels: Labels
) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """Names of the finer labels, and the columns of finer labels and slices."""
    coarsened = [] if labels.map is None else [labels.column]
    fine = tuple(dict.fromkeys([*coarsened, *config.fine]))
    columns = {}
    for name in fine:
        column = column_of(listing, name, "finer label")
        if config.unlabelled == "refuse":
            _complete(column, name, "finer label", "complete them, or set `unlabelled: allow`")
        columns[name] = _filled(column)
    for name in config.slices:
        columns[name] = _filled(column_of(listing, name, "slice"))
    return fine, columns


def _groups(listing: Listing, name: str | None) -> NDArray[Any] | None:
    if name is None:
        return None
    return _complete(column_of(listing, name, "group"), name, "group", "give each row a group")


def _ids(listing: Listing, name: str | None) -> NDArray[Any]:
    ids = listing.ids.astype(str)
    if name is not None:
        ids = _complete(column_of(listing, name, "id"), name, "id", "complete them")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        again = values[counts > 1]
        raise InputError(
            "one id for each row",
            f"{len(again)} ids more than once, the first {str(again[0])!r}",
            "make the ids unique",
        )
    return ids


def _given_split(config: sources.DataConfig, listing: Listing) -> NDArray[Any] | None:
    name, rename = config.split.column, config.split.rename
    if name is not None:
        column = column_of(listing, name, "split")
        return part_names(column.tolist(), f"column {name!r}", rename)
    if listing.split is None:
        return None
    return part_names(listing.split.tolist(), config.source, rename)


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


def _class_counts(
    codes: NDArray[np.int64], names: tuple[str, ...], split: NDArray[Any]
) -> dict[str, dict[str, int]]:
    counts = {
        part: np.bincount(codes[(split == part) & (codes >= 0)], minlength=len(names))
        for part in SPLITS
    }
    return {part: dict(zip(names, counts[part].tolist(), strict=True)) for part in SPLITS}


def _describe(
    config: sources.DataConfig,
    listing: Listing,
    labels: Labels,
    codes: NDArray[np.int64],
    split: NDArray[Any],
    how: str,
) -> dict[str, Any]:
    absent = [
        f"class {name!r} has no {part} row"
        for part, counts in _class_counts(codes, labels.names, split).items()
        for name, count in counts.items()
        if count == 0 and (split == part).any()
    ]
    label_map = None if labels.map is None else {k: list(v) for k, v in labels.map.items()}
    return {
        "source": config.source,
        "licence": listing.licence,
        "label": labels.column,
        "map": label_map,
        "rows": {part: int(np.count_nonzero(split == part)) for part in SPLITS},
        "classes": _class_counts(codes, labels.names, split),
        "unlabelled": int(np.count_nonzero(codes < 0)),
        "split": how,
        "seed": config.seed,
        "limit": config.model_dump(mode="json")["limit"],
        "notes": [*listing.notes, *absent],
    }


def load_data(
    config: sources.DataConfig, *, base: Path | None = None, progress: Progress | None = None
) -> LabelledData:
    """Reads, labels and splits data.

    Args:
        config: The `data:` block (see `data_config`).
        base: Folder that relative paths refer to; None for the current one.
        progress: Called with (images decoded, images in all).

    Returns:
        The rows with their labels. `description["fingerprint"]` is the SHA-256 of ids, labels,
        split and inputs (`description["fingerprint_of"]` says of what of the inputs): two runs with
        one fingerprint saw the same data.

    Raises:
        InputError: Anything that is missing, unreadable or contradictory, by its name.

    Example:
        >>> from uncollapse.data import data_config
        >>> data = load_data(data_config({"source": "digits", "map": "parity"}))
        >>> data.label_names, data.fine, data.inputs.shape
        (('even', 'odd'), ('digit',), (1, 8, 8))
        >>> data.description["rows"]
        {'train': 1258, 'validation': 180, 'test': 359}
    """
    listing = _list_rows(config, base)
    if len(listing.ids) == 0:
        raise InputError("data with rows", "none", "check the path")
    labels = make_labels(
        listing,
        config.label,
        config.map,
        allow_unlabelled=config.unlabelled == "allow",
        base=base,
    )
    fine, columns = _role_columns(config, listing, labels)
    groups, ids = _groups(listing, config.group), _ids(listing, config.id)
    finer, given = [columns[name] for name in fine], _given_split(config, listing)
    split, how = make_split(
        config.split, given, labels.codes, labels.names, finer, groups, config.seed
    )
    rows = np.arange(len(ids))
    if config.limit is not None:
        rows = limited(config.limit, split, labels.codes, finer, config.seed)
    codes, split, ids = labels.codes[rows], split[rows], ids[rows]
    inputs = listing.open(rows, progress)
    description = _describe(config, listing, labels, codes, split, how)
    description |= {"kind": inputs.kind, "shape": list(inputs.shape)}
    description["fingerprint"], description["fingerprint_of"] = _fingerprint(
        inputs, codes, labels.names, ids, split
    )
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
        description=description,
    )
