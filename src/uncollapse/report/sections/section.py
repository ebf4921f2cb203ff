"""What a section of the page is made of, and the tables that the card shows too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from uncollapse.report.decide import lookup
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short

# A table of the page has so many rows; a long one is searched, and shows the first of them.
MOST_ROWS = 2000
# Formats of columns that hold numbers and not words.
_NUMBERS = {"count", "number", "share", "points", "duration", "bytes"}


@dataclass(frozen=True)
class Pictures:
    """Small pictures beside the cells of a table: which set, and by row and column which of it."""

    name: str
    thumbnails: Sequence[str]
    of_cell: Mapping[tuple[int, int], int | None]


@dataclass(frozen=True)
class TextTable:
    """A table as it is shown, the columns that hold numbers, and how many rows were left out.

    One that can be saved as CSV has the name of its file.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers: Sequence[int] = ()
    more: int = 0
    csv: str = ""
    pictures: Pictures | None = None


def table(
    words: Language,
    columns: str,
    rows: Iterable[Sequence[Any]],
    most: int = MOST_ROWS,
    *,
    caption: str = "",
    csv: str = "",
    titles: Mapping[str, str] | None = None,
    **own: str,
) -> TextTable:
    """A table of columns such as "class rows:count axis.objective:share", cut to so many rows.

    A format is a method of the language or a group of words; titles that it has not are given.
    """
    pairs = [column.partition(":")[::2] for column in columns.split()]
    cells = [
        [words.format_field(value, form) for value, (_, form) in zip(row, pairs, strict=True)]
        for row in rows
    ]
    given = {**(titles or {}), **own}
    said = [
        given[name] if name in given else words.say(name if "." in name else f"column.{name}")
        for name, _ in pairs
    ]
    numbers = [place for place, (_, form) in enumerate(pairs) if form in _NUMBERS or "ends" in form]
    more = max(0, len(cells) - most)
    return TextTable(said, cells[:most], caption, numbers, more, csv)


@dataclass(frozen=True)
class Figure:
    """A chart with its title above it, and rows of data, by name, that it does not hold itself.

    Rows that have a small picture name its place among the thumbnails (`t`).
    """

    name: str
    title: str
    spec: Mapping[str, Any]
    data: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    thumbnails: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """One section; tables are shown on demand under pictures, else at once; notes come last.

    With `folded` its tables are shown on demand without pictures too; with `reached` the points of
    its pictures are rows that can be looked at one by one; what is `printed` is unfolded on paper.
    Commands are for the auditor.
    """

    name: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[TextTable] = ()
    notes: Sequence[str] = ()
    folded: bool = False
    reached: bool = False
    printed: bool = False
    commands: Sequence[str] = ()


def charted(
    name: str,
    spec: Mapping[str, Any] | None,
    paragraphs: Sequence[str],
    *tables: TextTable,
    notes: Sequence[str] = (),
) -> Section | None:
    """A section of one chart under its introduction; None where there is no chart."""
    figures = [] if spec is None else [Figure(name, "", spec)]
    return None if spec is None else Section(name, paragraphs, figures, tables, notes)


def class_table(
    cases: Sequence[Case], layer: str | None, words: Language, most: int = MOST_ROWS
) -> TextTable:
    """Share and variance of each class, the worst first."""
    columns = (
        "class run:case rows:count share:share share_interval:share_ends variance:number"
        " variance_interval:ends predicted:number verdict:verdict"
    )
    rows = []
    for row in sorted(lookup.class_rows(cases, layer), key=lambda row: row.rank):
        measured, value = row.measured, row.value
        about = (short(measured.label), row.case.name, measured.count)
        share = (measured.share, measured.share)
        rows.append((*about, *share, value, value, row.predicted, measured.verdict))
    interval = words.say("column.interval")
    titles = {"share_interval": interval, "variance_interval": interval}
    return table(words, columns, rows, most, titles=titles)


def level_table(cases: Sequence[Case], layer: str | None, words: Language) -> TextTable:
    """The levels with their intervals, plug-ins and predictions."""
    judged = lookup.judged_cases(cases, layer)
    networks = [lookup.network_of(measurement.prediction) for _, measurement in judged]
    foretold = any(network is not None for network in networks)
    rows = []
    for (case, measurement), network in zip(judged, networks, strict=True):
        for level, name in lookup.LEVELS.items():
            value = measurement[name]
            predicted = lookup.predicted_level(measurement.prediction, level)
            said = words.say(f"level.{level}")
            more = (str(network.get(name, "–") if network else "–"),) if foretold else ()
            rows.append((said, case.name, value, value, value.plug_in, predicted, *more))
    columns = "quantity run:case measured:number interval:ends plug-in:number predicted:number"
    columns += " network" * foretold
    return table(words, columns, rows)


def probe_name(row: lookup.ProbeRow, words: Language) -> str:
    """Data, target and probe in words, with its shots."""
    target, reading = row
    name = words.word("probe", reading.probe)
    if reading.details.shots is not None:
        name = words.say("probe.shots", count=reading.details.shots)
    data = f"{short(target.data, 30)}: " if target.data else ""
    return f"{data}{short(target.target, 30)} · {name}"


def probe_table(cases: Sequence[Case], words: Language) -> TextTable:
    """Every reading with its interval."""
    columns = (
        "target kind:role layer:layer run:case rows:count axis.above-chance:share"
        " interval:share_ends accuracy:share"
    )
    named = [
        (probe_name(row, words), row, case) for case in cases for row in lookup.probe_rows(case)
    ]
    named.sort(key=lambda entry: (entry[1].target.layer, entry[0]))
    rows = []
    for name, (target, reading), case in named:
        above, accuracy = reading.score.chance_corrected, reading.score.accuracy
        place = (short(target.layer), case.name, target.sizes.test)
        rows.append((name, target.role, *place, above, above, accuracy))
    return table(words, columns, rows)
