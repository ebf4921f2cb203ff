"""Files that are whole: written beside their place and then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from uncollapse.errors import InputError


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` at the end of the block.

    Folders above it are made; a reader never meets half a file, and what was there before stays
    until the new one is whole. Refused where it cannot be written.
    """
    if path.is_dir():
        raise InputError("a file to write", f"the folder {path}", "give a file name with -o")
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with beside(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON whole."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False))


def unwritable(path: Path, error: Exception) -> InputError:
    """The error for a place that cannot be written to."""
    return InputError(
        f"room and permission to write {path}",
        getattr(error, "strerror", None) or str(error),
        "free some space or choose another place with -o; what was saved before is whole",
    )
