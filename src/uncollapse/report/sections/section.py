"""What a section of the page is made of: paragraphs, pictures, tables and notes in a language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uncollapse.report.language import Language

# A table of the page has so many rows where nothing else is said.
MOST_ROWS = 60
# Formats of columns that hold numbers and not words.
_NUMBERS = {"count", "number", "share", "points", "duration", "bytes"}


@dataclass(frozen=True)
class TextTable:
    """A table as it is shown, the columns that hold numbers, and how many rows were left out."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers: Sequence[int] = ()
    more: int = 0


def table(
    words: Language,
    columns: str,
    rows: Iterable[Sequence[Any]],
    caption: str = "",
    most: int | None = None,
    **titles: str,
) -> TextTable:
    """A table of values in the formats of its columns, cut to so many rows.

    Args:
        words: The language; a format is one of its methods or groups of words.
        columns: Names with formats, such as "class rows:count axis.objective:share".
        rows: A value for each column.
        caption: Above the table.
        most: Rows that are shown; None for all.
        titles: Of columns that are not in the language, by their names.
    """
    pairs = [column.partition(":")[::2] for column in columns.split()]
    cells = [
        [words.format_field(value, form) for value, (_, form) in zip(row, pairs, strict=True)]
        for row in rows
    ]
    said = [
        titles[name] if name in titles else words.say(name if "." in name else f"column.{name}")
        for name, _ in pairs
    ]
    numbers = [place for place, (_, form) in enumerate(pairs) if form in _NUMBERS or "ends" in form]
    more = 0 if most is None else max(0, len(cells) - most)
    return TextTable(said, cells[:most], caption, numbers, more)


@dataclass(frozen=True)
class Figure:
    """A chart with its title above it, and the rows of data that it names and does not hold."""

    name: str
    title: str
    spec: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Section:
    """One section; tables are shown on demand under pictures, else at once; notes come last."""

    name: str
    paragraphs: Sequence[str]
    figures: Sequence[Figure] = ()
    tables: Sequence[TextTable] = ()
    notes: Sequence[str] = ()


def charted(
    name: str, spec: Mapping[str, Any] | None, paragraphs: Sequence[str], *tables: TextTable
) -> Section | None:
    """A section of one chart under its introduction; None where there is no chart."""
    return None if spec is None else Section(name, paragraphs, [Figure(name, "", spec)], tables)
