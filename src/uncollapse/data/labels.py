"""Columns of a source as labels: codes, coarse labels by a map, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._sources import DataSource, LabelMap, place, quoted
from uncollapse.data.config import DataConfig, data_config
from uncollapse.errors import InputError
from uncollapse.records import parse_yaml, read_yaml


def built_in_maps(data_set: str) -> dict[str, LabelMap]:
    """The label maps that come with a data set, by name.

    Examples:
        >>> built_in_maps("digits")["parity"]["odd"]
        ('1', '3', '5', '7', '9')
    """
    maps = parse_yaml((files("uncollapse.data") / "label_maps.yaml").read_text("utf-8"))
    return {
        name: {coarse: tuple(finer) for coarse, finer in label_map.items()}
        for name, label_map in maps[data_set].items()
    }


@dataclass(frozen=True)
class Labels:
    """The training label."""

    codes: NDArray[np.int64]  # (N,), -1 without label
    names: tuple[str, ...]  # the classes in the order of their codes
    column: str  # that it was made of
    map: LabelMap | None  # coarse name -> finer names, when it was made by one


def _label_map(
    asked: str | LabelMap | None, source: DataSource, base: Path | None
) -> LabelMap | None:
    """The map that was asked for: written out, built in, or in a YAML file."""
    if not isinstance(asked, str):
        return asked
    if asked in source.maps:
        return source.maps[asked]
    if not asked.endswith((".yaml", ".yml")):
        raise InputError(
            "a built-in map of this source, or a .yaml file",
            f"map {asked!r}; built in: {quoted(source.maps) or 'none'}",
            "write the map out as coarse name: [finer names]",
        )
    path = place(asked, base, "a file with a label map")
    content = read_yaml(path, "a label map", "correct the YAML")
    if not isinstance(content, dict):
        raise InputError(
            f"a label map in {path}", type(content).__name__, "write coarse name: [finer names]"
        )
    # The rules for a map are those of the `map` key, so they are checked there.
    return _label_map(data_config({"source": "digits", "map": content}).map, source, base)


def _order(values: set[str]) -> tuple[str, ...]:
    """Numbers by size, anything else by the alphabet."""
    try:
        return tuple(sorted(values, key=lambda value: (float(value), value)))
    except ValueError:
        return tuple(sorted(values))


def _check_map(label_map: LabelMap, present: set[str], column: str) -> dict[str, str]:
    """Finer name -> coarse name."""
    coarse_of: dict[str, str] = {}
    for coarse, finer in label_map.items():
        for name in finer:
            if name in coarse_of:
                raise InputError(
                    "a label map that gives each finer name one coarse name",
                    f"{name!r} under {coarse_of[name]!r} and {coarse!r}",
                    "take one of them out",
                )
            coarse_of[name] = coarse
    if unknown := [name for name in coarse_of if name not in present]:
        raise InputError(
            f"a label map of the values of column {column!r} ({quoted(_order(present))})",
            f"unknown {quoted(unknown)}",
            "correct the names in the map",
        )
    if missing := present - set(coarse_of):
        raise InputError(
            f"a label map that covers column {column!r}",
            f"not covered: {quoted(_order(missing))}",
            "put them under a coarse name",
        )
    return coarse_of


def make_labels(source: DataSource, config: DataConfig, base: Path | None) -> Labels:
    """Codes of the training label, in the column that the configuration names or the source's."""
    column, path = config.label or source.label, getattr(config, "path", None)
    values = source.column(column, "label")
    known = np.array([value is not None for value in values.tolist()], bool)
    if not known.all() and config.unlabelled == "refuse":
        first = source.ids[np.flatnonzero(~known)[0]]
        raise InputError(
            f"a label in every row of column {column!r}" + (f" of {path}" if path else ""),
            f"{np.count_nonzero(~known)} rows of {len(known)} without one, the first {first}",
            "complete them, or set `unlabelled: allow`",
        )
    present = set(values[known].tolist())
    label_map = _label_map(config.map, source, base)
    if label_map is None:
        ordered = tuple(value for value in source.orders.get(column, ()) if value in present)
        names = ordered + _order(present - set(ordered))
        coarse_of = {value: value for value in names}
    else:
        coarse_of = _check_map(label_map, present, column)
        names = tuple(coarse for coarse, finer in label_map.items() if finer)
    if len(names) < 2:
        raise InputError(
            f"two classes or more in column {column!r}" + (f" of {path}" if path else ""),
            f"{len(names)} ({quoted(names)})" if names else "no label at all",
            "name another label column, or bring data of another class",
        )
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.full(len(values), -1, np.int64)
    codes[known] = [code_of[coarse_of[value]] for value in values[known].tolist()]
    return Labels(codes, names, column, label_map)
