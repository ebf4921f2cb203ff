"""What a section of the page is made of, and the tables that the card shows too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uncollapse.report.decide import lookup
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short

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
    """A table of columns such as "class rows:count axis.objective:share", cut to so many rows.

    A format is a method of the language or a group of words; titles that it has not are given.
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


def class_table(cases: Sequence[Case], layer: str | None, words: Language) -> TextTable:
    """Variance of each class, least first."""
    columns = (
        "class run rows:count measured:number interval:ends predicted:number share:share"
        " verdict:verdict"
    )
    rows = []
    for row in sorted(lookup.class_rows(cases, layer), key=lambda row: row.rank):
        measured, value = row.measured, row.value
        about = (short(measured.label), row.case.name, measured.count)
        rows.append((*about, value, value, row.predicted, measured.share, measured.verdict))
    return table(words, columns, rows, most=lookup.MOST_CLASSES * max(1, len(cases)))


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
    columns = "quantity run measured:number interval:ends plug-in:number predicted:number"
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
        "target kind:role layer run rows:count axis.above-chance:share interval:share_ends"
        " accuracy:share"
    )
    named = [
        (probe_name(row, words), row, case) for case in cases for row in lookup.probe_rows(case)
    ]
    named.sort(key=lambda entry: (entry[1].target.layer, entry[0]))
    rows = []
    for name, (target, reading), case in named:
        above, accuracy = reading.score.chance_corrected, reading.score.accuracy
        place = (short(target.layer, 40), short(case.name, 40), target.sizes.test)
        rows.append((name, target.role, *place, above, above, accuracy))
    return table(words, columns, rows, most=MOST_ROWS)
