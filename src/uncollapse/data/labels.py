"""Columns of a source as labels: codes, coarse labels by a map, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.data._source import DataSource, LabelMap, place
from uncollapse.data.config import data_config
from uncollapse.errors import InputError


def built_in_maps(data_set: str) -> dict[str, LabelMap]:
    """The label maps that come with a data set, by name.

    Examples:
        >>> built_in_maps("digits")["parity"]["odd"]
        ('1', '3', '5', '7', '9')
    """
    import yaml

    maps = yaml.safe_load((files("uncollapse.data") / "label_maps.yaml").read_text("utf-8"))
    return {
        name: {coarse: tuple(finer) for coarse, finer in label_map.items()}
        for name, label_map in maps[data_set].items()
    }


@dataclass(frozen=True)
class Labels:
    """The training label.

    Attributes:
        codes: (N,) int64, -1 without label.
        names: The classes in the order of their codes.
        column: Column that it was made of.
        map: Coarse name -> finer names, when it was made by a map.
    """

    codes: NDArray[np.int64]
    names: tuple[str, ...]
    column: str
    map: LabelMap | None


def _quoted(names: Any, most: int = 12) -> str:
    names = list(names)
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def column_of(source: DataSource, name: str, role: str) -> NDArray[Any]:
    """A column by name, or an error that lists those there are."""
    if name not in source.columns:
        raise InputError(
            f"a {role} column {name!r}",
            f"columns {_quoted(source.columns)}",
            "name one of them",
        )
    return source.columns[name]


def _resolve_map(
    asked: str | LabelMap | None, source: DataSource, base: Path | None
) -> LabelMap | None:
    """The map that was asked for: written out, built in, or in a YAML file."""
    if asked is None:
        return None
    if not isinstance(asked, str):
        return asked
    if asked in source.maps:
        return source.maps[asked]
    if not asked.endswith((".yaml", ".yml")):
        known = _quoted(source.maps) if source.maps else "none"
        raise InputError(
            "a built-in map of this source, or a .yaml file",
            f"map {asked!r}; built in: {known}",
            "write the map out as coarse name: [finer names]",
        )
    return _map_file(place(asked, base, "a file with a label map"))


def _map_file(path: Path) -> LabelMap:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"a label map in {path}", reason, "mend the YAML") from error
    if not isinstance(content, dict):
        raise InputError(
            f"a label map in {path}", type(content).__name__, "write coarse name: [finer names]"
        )
    # The rules for a map are those of the `map` key, so they are checked there.
    checked = data_config({"source": "digits", "map": content}).map
    assert isinstance(checked, dict)
    return checked


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
            f"a label map of the values of column {column!r} ({_quoted(_order(present))})",
            f"unknown {_quoted(unknown)}",
            "correct the names in the map",
        )
    if missing := present - set(coarse_of):
        raise InputError(
            f"a label map that covers column {column!r}",
            f"not covered: {_quoted(_order(missing))}",
            "put them under a coarse name",
        )
    return coarse_of


def make_labels(
    source: DataSource,
    name: str | None,
    asked: str | LabelMap | None,
    *,
    allow_unlabelled: bool,
    base: Path | None = None,
) -> Labels:
    """Codes of the training label, in a column by `name` or in the source's own.

    The map `asked` for may be written out, the name of a built-in one, or a YAML file.
    """
    column = name or source.label
    if column is None:
        raise InputError(
            "a label column", f"columns {_quoted(source.columns)}", "name one with `label:`"
        )
    values = column_of(source, column, "label")
    known = np.array([value is not None for value in values.tolist()], bool)
    if not known.all() and not allow_unlabelled:
        first = source.ids[np.flatnonzero(~known)[0]]
        raise InputError(
            f"a label in every row of column {column!r}",
            f"{np.count_nonzero(~known)} rows of {len(known)} without one, the first {first}",
            "complete them, or set `unlabelled: allow`",
        )
    present = set(values[known].tolist())
    label_map = _resolve_map(asked, source, base)
    if label_map is None:
        ordered = tuple(value for value in source.orders.get(column, ()) if value in present)
        names = ordered + _order(present - set(ordered))
        coarse_of = {value: value for value in names}
    else:
        coarse_of = _check_map(label_map, present, column)
        names = tuple(coarse for coarse, finer in label_map.items() if finer)
    if len(names) < 2:
        raise InputError(
            f"two classes or more in column {column!r}",
            f"{len(names)} ({_quoted(names)})" if names else "no label at all",
            "name another label column, or bring data of another class",
        )
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.full(len(values), -1, np.int64)
    codes[known] = [code_of[coarse_of[value]] for value in values[known].tolist()]
    return Labels(codes, names, column, label_map)
