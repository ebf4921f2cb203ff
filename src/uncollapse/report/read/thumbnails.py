"""Small pictures of the rows of a report, where their files can be read."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# At most so many, of so many bytes together as they stand in the page.
MOST, MOST_BYTES = 300, 1_000_000


def small_pictures(
    paths: Sequence[str], first: Sequence[int], *folders: Path
) -> tuple[tuple[int | None, ...], tuple[str, ...]]:
    """Of each row the place of its picture (None without one), and the pictures as data addresses.

    Rows of `first` have theirs before the others. A path counts from the folders, and only files
    below them or below the working directory are read: a stranger's table must not put other files
    into a page that is handed on.
    """
    places: list[int | None] = [None] * len(paths)
    pictures: list[str] = []
    if not any(paths) or find_spec("PIL") is None:
        return tuple(places), ()
    from uncollapse.data import thumbnail

    size, roots = 0, [each.resolve() for each in (*folders, Path.cwd())]
    for row in dict.fromkeys([*first, *range(len(paths))]):
        file = _below(paths[row], roots)
        encoded = None if file is None else thumbnail(file)
        if encoded is None:
            continue
        address = f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
        size += len(address)
        if size > MOST_BYTES or len(pictures) == MOST:
            break
        places[row] = len(pictures)
        pictures.append(address)
    return tuple(places), tuple(pictures)


def _below(path: str, roots: Sequence[Path]) -> Path | None:
    """The file of a path, if it is one below a root."""
    try:
        for root in roots if path else ():
            file = (root / path).resolve()
            if file.is_file() and any(file.is_relative_to(known) for known in roots):
                return file
    except (OSError, ValueError):
        pass
    return None
