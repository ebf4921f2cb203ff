"""Folders of images: a directory per class, or a table with paths and labels."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from uncollapse.data._images import Encoded
from uncollapse.data._pixels import image_suffixes
from uncollapse.data._sources import DataSource, place, texts
from uncollapse.data._sources.table import table_source, text_roles
from uncollapse.data.config import ImageFolderConfig
from uncollapse.errors import InputError
from uncollapse.tables import Table, part_names, part_of


@dataclass
class _LeftOut:
    """What lies in a folder and is not taken, by what it is."""

    counts: Counter[str] = field(default_factory=Counter)

    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind."""
        return tuple(f"left out: {count} {what}" for what, count in sorted(self.counts.items()))


def _directories(folder: Path, left_out: _LeftOut) -> list[Path]:
    everything = sorted(folder.iterdir())
    inside = [d for d in everything if d.is_dir()]
    beside = [f.name for f in everything if not f.is_dir() and not f.name.startswith(".")]
    if images := sum(Path(name).suffix.lower() in image_suffixes() for name in beside):
        left_out.counts["image(s) beside the directories of classes"] += images
    hidden = [d for d in inside if d.name.startswith(".")]
    if hidden:
        left_out.counts["hidden folder(s)"] += len(hidden)
    return [d for d in inside if d not in hidden]


def _images_under(folder: Path, root: Path, left_out: _LeftOut) -> list[Path]:
    """Images of a class, in its folder and those inside; a link out of `root` is followed once."""
    images, followed, inside = [], set[Path](), root.resolve()
    for where, folders, files in os.walk(folder, followlinks=True):
        for name in list(folders):
            path = Path(where, name)
            real = path.resolve()
            back = path.is_symlink() and (
                real in followed or real.is_relative_to(inside) or inside.is_relative_to(real)
            )
            followed.add(real)
            if back or name.startswith("."):
                folders.remove(name)
                left_out.counts[
                    "link(s) to a folder that is here" if back else "hidden folder(s)"
                ] += 1
        for name in files:
            ending = Path(name).suffix.lower()
            if name.startswith("."):
                left_out.counts["hidden file(s)"] += 1
            elif ending not in image_suffixes():
                left_out.counts[f"file(s) that end in {ending!r}"] += 1
            else:
                images.append(Path(where, name))
    return sorted(images)


def _class_directories(folder: Path, left_out: _LeftOut) -> list[tuple[Path, str]]:
    """Class directories, and their part where the folder has parts."""
    top = _directories(folder, left_out)
    parts = {part_of(d.name) for d in top}
    if "" in parts and len(parts) > 2:
        odd = next(d.name for d in top if not part_of(d.name))
        raise InputError(
            f"directories of parts alone (train, validation, test), or of classes, in {folder}",
            f"{odd!r} beside them",
            "move it out, or name it as a part",
        )
    if top and "" not in parts:
        return [(inner, d.name) for d in top for inner in _directories(d, left_out)]
    return [(d, "") for d in top]


def _list_directories(root: Path) -> DataSource:
    left_out = _LeftOut()
    directories = _class_directories(root, left_out)
    if not directories:
        raise InputError(
            f"a directory for each class in {root}", "none", "sort the images, or give a `table`"
        )
    rows = []
    for directory, part in directories:
        images = _images_under(directory, root, left_out)
        if not images:
            raise InputError(
                f"images in each class directory of {root}",
                f"none in {directory}",
                "fill it or take it out",
            )
        for path in images:
            inner = path.parent.relative_to(directory).as_posix()
            deeper = None if inner == "." else inner
            rows.append((path.relative_to(root).as_posix(), directory.name, deeper, part))
    paths, classes, subclasses, parts = zip(*rows, strict=True)
    columns = {"class": texts(classes)}
    if any(subclasses):
        columns["subclass"] = texts(subclasses)
    return DataSource(
        columns=columns,
        ids=np.array(paths),
        inputs=Encoded(paths, root),
        label="class",
        split=part_names(parts, str(root)) if any(parts) else None,
        notes=left_out.notes(),
    )


def _inside(paths: list[Any], root: Path, column: str) -> tuple[str, ...]:
    """Paths as they are in the folder; none may lead out of it."""
    absent = []
    for row, path in enumerate(paths):
        if path is None:
            raise InputError(f"a path in every row of {column!r}", f"none in row {row}", "fill it")
        parts = PurePosixPath(path).parts
        if PurePosixPath(path).is_absolute() or ".." in parts:
            raise InputError(
                f"paths inside {root} in column {column!r}",
                f"{path!r} in row {row}",
                "make them relative to `path`",
            )
        if not (root / path).is_file():
            absent.append(path)
    if absent:
        raise InputError(
            f"images in {root}",
            f"no {absent[0]!r} (and {len(absent) - 1} more of {len(paths)} are missing)",
            f"check `path` and column {column!r}",
        )
    return tuple(paths)


def list_image_folder(config: ImageFolderConfig, base: Path | None) -> DataSource:
    """Images of a folder, sorted into directories or listed in a table."""
    root = place(config.path, base, "a folder of images")
    if not root.is_dir():
        raise InputError("a folder of images", f"the file {root}", "give its folder as `path`")
    if config.table is None:
        return _list_directories(root)
    table = Table(place(config.table, base, "a CSV or parquet file"))
    read = table.read([], [config.path_column, *text_roles(config, table.fullest)])
    paths = _inside(texts(read.names[config.path_column]).tolist(), root, config.path_column)
    return table_source(config, table, read, Encoded(paths, root), ids=paths)
