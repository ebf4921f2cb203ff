"""Tables as the page and the card show them: titles and cells in a language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from uncollapse.records import Comparison, Interval, Message, NC1Null, Part, SliceColumn
from uncollapse.report.decide.lookup import (
    LEVELS,
    MOST_CLASSES,
    ProbeRow,
    class_rows,
    judged_cases,
    predicted_level,
    probe_rows,
)
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short

MOST_ROWS = 60


@dataclass
class Table:
    """A table.

    Attributes:
        titles: Of its columns.
        rows: Cells.
        left: How many columns, from the first, hold words and not numbers.
        more: Rows that are left out.
        wordy: Columns besides these that hold words.
    """

    titles: list[str]
    rows: list[list[str]]
    left: int = 1
    more: int = 0
    wordy: set[int] = field(default_factory=set)

    def aligned(self, column: int) -> str:
        """The CSS class of a column."""
        return "w" if column < self.left or column in self.wordy else "n"

    def cut(self, most: int = MOST_ROWS) -> Table:
        """The same with so many rows at most, and how many were left out."""
        self.more = max(0, len(self.rows) - most)
        self.rows = self.rows[:most]
        return self


def titles_of(words: Language, names: str) -> list[str]:
    """Titles of columns by their names in a row."""
    return [words.say(f"column.{name}") for name in names.split()]


def class_table(cases: Sequence[Case], layer: str | None, words: Language) -> Table:
    """Variance of each class, least first."""
    rows = [
        [
            short(row.measured.label),
            row.case.name,
            words.count(row.measured.count),
            words.number(row.value.estimate),
            words.ends(row.value),
            words.number(row.predicted),
            words.share(row.measured.share),
            words.word("verdict", row.measured.verdict),
        ]
        for row in sorted(class_rows(cases, layer), key=lambda row: row.rank)
    ]
    titles = titles_of(words, "class run rows measured interval predicted share verdict")
    return Table(titles, rows, left=2, wordy={7}).cut(MOST_CLASSES * max(1, len(cases)))


def level_table(cases: Sequence[Case], layer: str | None, words: Language) -> Table:
    """The levels with their intervals, plug-ins and predictions."""
    rows = [
        [
            words.say(f"level.{level}"),
            case.name,
            words.number(measurement[name].estimate),
            words.ends(measurement[name]),
            words.number(measurement[name].plug_in),
            words.number(predicted_level(measurement.prediction, level)),
        ]
        for case, measurement in judged_cases(cases, layer)
        for level, name in LEVELS.items()
    ]
    titles = titles_of(words, "quantity run measured interval plug-in predicted")
    return Table(titles, rows, left=2)


def layer_table(cases: Sequence[Case], words: Language) -> Table | None:
    """Judged share and verdict of every layer, where a case has several."""
    if not any(len(case.measured) > 1 for case in cases):
        return None
    rows = [
        [
            words.word("layer", measured.layer) or "–",
            case.name,
            words.number(measured.measurement.within_class_variance.estimate),
            words.ends(measured.measurement.within_class_variance),
            words.share(measured.measurement.share),
            words.word("verdict", measured.measurement.verdict),
        ]
        for case in cases
        for measured in case.measured
    ]
    titles = titles_of(words, "layer run within interval share verdict")
    return Table(titles, rows, left=2, wordy={5})


def probe_name(row: ProbeRow, words: Language) -> str:
    """Data, target and probe in words, with its shots."""
    target, reading = row
    name = words.word("probe", reading.probe)
    if reading.details.shots is not None:
        name = words.say("probe.shots", count=reading.details.shots)
    data = f"{short(target.data, 30)}: " if target.data else ""
    return f"{data}{short(target.target, 30)} · {name}"


def probe_table(cases: Sequence[Case], words: Language) -> Table:
    """Every reading with its interval."""
    named = [(probe_name(row, words), row, case) for case in cases for row in probe_rows(case)]
    rows = [
        [
            name,
            words.word("role", target.role),
            short(target.layer, 40),
            short(case.name, 40),
            words.count(target.sizes.test),
            words.share(reading.score.chance_corrected),
            words.share_ends(reading.score.chance_corrected),
            words.share(reading.score.accuracy),
        ]
        for name, (target, reading), case in sorted(
            named, key=lambda entry: (entry[1].target.layer, entry[0])
        )
    ]
    titles = titles_of(words, "target kind layer run rows interval accuracy")
    titles.insert(5, words.say("axis.above-chance"))
    return Table(titles, rows, left=4).cut()


def slice_table(column: SliceColumn, words: Language) -> Table:
    """One slice column of a measurement."""
    rows = []
    for value, entry in column.values.items():
        within = entry.within_class_variance
        cells = [
            short(value),
            words.count(entry.count),
            words.number(None if within is None else within.estimate),
            words.ends(within),
            words.share(entry.share),
            words.share(None if entry.probe is None else entry.probe.logistic),
            words.word("verdict", entry.verdict),
        ]
        rows.append(cells)
    titles = titles_of(words, "slice rows within interval share readable verdict")
    return Table(titles, rows, wordy={6}).cut()


def comparison_table(record: Comparison, words: Language) -> Table:
    """What changed from before to after."""
    rows = [
        [
            words.word("quantity", change.name),
            words.number(change.before),
            words.number(change.after),
            words.number(change.estimate),
            words.ends(change),
            words.word("direction", change.direction),
        ]
        for change in record.changes
    ]
    titles = titles_of(words, "quantity before after difference interval direction")
    return Table(titles, rows, wordy={5})


def secondary_table(cases: Sequence[Case], layer: str | None, words: Language) -> Table:
    """Secondary measures with their caveats, a column for each case."""
    shown = judged_cases(cases, layer)
    rows = []
    for name in [measure.name for measure in fields(shown[0][1].secondary)]:
        measures = [measurement.secondary[name] for _, measurement in shown]
        caveat = next((measure.caveat for measure in measures if measure is not None), "")
        cells = [_secondary(measure, words) for measure in measures]
        said = words.record(caveat, Message(f"caveat.{name}")) if caveat else ""
        rows.append([words.word("measure", name), *cells, said])
    names = [short(case.name, 40) for case, _ in shown]
    titles = [words.say("column.measure"), *names, words.say("column.caveat")]
    return Table(titles, rows, left=len(titles))


def _secondary(measure: Part | None, words: Language) -> str:
    """The numbers of a measure, each with its name but the value itself."""
    if measure is None:
        return words.say("measure.not-applicable")
    parts = []
    for key, value in vars(measure).items():
        if isinstance(value, int | float):
            title = "" if key == "value" else words.word("measure", key) + " "
            parts.append(f"{title}{words.number(value)}")
        elif isinstance(value, NC1Null):
            ends = words.ends(Interval(value.mean, value.low, value.high))
            parts.append(f"{words.say('measure.null')} {ends}")
    return words.listed(parts)
