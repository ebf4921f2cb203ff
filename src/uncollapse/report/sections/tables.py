"""Tables that the page and the card show."""

from __future__ import annotations

from collections.abc import Sequence

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
from uncollapse.report.sections.section import MOST_ROWS, TextTable, table


def class_table(cases: Sequence[Case], layer: str | None, words: Language) -> TextTable:
    """Variance of each class, least first."""
    columns = (
        "class run rows:count measured:number interval:ends predicted:number share:share"
        " verdict:verdict"
    )
    rows = []
    for row in sorted(class_rows(cases, layer), key=lambda row: row.rank):
        measured, value = row.measured, row.value
        about = (short(measured.label), row.case.name, measured.count)
        rows.append((*about, value, value, row.predicted, measured.share, measured.verdict))
    return table(words, columns, rows, most=MOST_CLASSES * max(1, len(cases)))


def level_table(cases: Sequence[Case], layer: str | None, words: Language) -> TextTable:
    """The levels with their intervals, plug-ins and predictions."""
    rows = []
    for case, measurement in judged_cases(cases, layer):
        for level, name in LEVELS.items():
            value, predicted = measurement[name], predicted_level(measurement.prediction, level)
            said = words.say(f"level.{level}")
            rows.append((said, case.name, value, value, value.plug_in, predicted))
    columns = "quantity run measured:number interval:ends plug-in:number predicted:number"
    return table(words, columns, rows)


def probe_name(row: ProbeRow, words: Language) -> str:
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
    named = [(probe_name(row, words), row, case) for case in cases for row in probe_rows(case)]
    rows = []
    for name, (target, reading), case in sorted(
        named, key=lambda entry: (entry[1].target.layer, entry[0])
    ):
        above, accuracy = reading.score.chance_corrected, reading.score.accuracy
        place = (short(target.layer, 40), short(case.name, 40), target.sizes.test)
        rows.append((name, target.role, *place, above, above, accuracy))
    return table(words, columns, rows, most=MOST_ROWS)
