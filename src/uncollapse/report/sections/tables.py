"""Tables as the page and the card show them: titles and cells in a language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from uncollapse.report.decide.lookup import MOST_CLASSES, Read, judged, readings
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short
from uncollapse.report.messages import estimate

__all__ = [
    "Table",
    "class_table",
    "comparison_table",
    "layer_table",
    "level_table",
    "probe_rows",
    "probe_table",
    "secondary_table",
    "slice_table",
]

MOST_ROWS = 60
_LEVELS = (
    ("between", "between_class_variance"),
    ("within", "within_class_variance"),
    ("instance", "instance_variance"),
    ("view", "view_variance"),
    ("total", "total_variance"),
)


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


def _titles(words: Language, *names: str) -> list[str]:
    return [words.say(f"column.{name}") for name in names]


def class_table(cases: Sequence[Case], layer: str | None, words: Language) -> Table:
    """Variance of each class, least first."""
    rows: list[tuple[float, list[str]]] = []
    for case in cases:
        one = judged(case, layer)
        if one is None:
            continue
        found = one.found
        views = found.instance_variance.estimate is not None
        part = "instance_variance" if views else "within_class_variance"
        per_class = () if found.prediction is None else found.prediction[f"{part}_per_class"]
        fits = len(per_class) == len(found.classes)
        for number, entry in enumerate(found.classes):
            value = getattr(entry, part)
            least = float("inf") if value.estimate is None else value.estimate
            cells = [
                short(entry.label),
                case.name,
                words.count(entry.count),
                words.number(value.estimate),
                words.ends(vars(value)),
                words.number(per_class[number] if fits else None),
                words.share(entry.share.estimate),
                words.word("verdict", entry.verdict),
            ]
            rows.append((least, cells))
    rows.sort(key=lambda row: row[0])
    titles = _titles(
        words, "class", "run", "rows", "measured", "interval", "predicted", "share", "verdict"
    )
    shown = MOST_CLASSES * max(1, len(cases))
    kept = [cells for _, cells in rows[:shown]]
    return Table(titles, kept, left=2, more=max(0, len(rows) - shown), wordy={7})


def level_table(cases: Sequence[Case], layer: str | None, words: Language) -> Table:
    """The levels with their intervals, plug-ins and predictions."""
    rows = []
    for case in cases:
        one = judged(case, layer)
        if one is None:
            continue
        p = {} if one.found.prediction is None else one.found.prediction.to_dict()
        total = None
        if p:
            total = p["within_class_variance"] + p["between_class_variance"]
        for level, name in _LEVELS:
            value = getattr(one.found, name)
            rows.append(
                [
                    words.say(f"level.{level}"),
                    case.name,
                    words.number(value.estimate),
                    words.ends(vars(value)),
                    words.number(value.plug_in),
                    words.number(total if level == "total" else p.get(name)),
                ]
            )
    titles = _titles(words, "quantity", "run", "measured", "interval", "plug-in", "predicted")
    return Table(titles, rows, left=2)


def layer_table(cases: Sequence[Case], words: Language) -> Table | None:
    """Judged share and verdict of every layer, where a case has several."""
    if not any(len(case.measured) > 1 for case in cases):
        return None
    rows = [
        [
            words.word("layer", one.layer) or "–",
            case.name,
            words.number(one.found.within_class_variance.estimate),
            words.ends(vars(one.found.within_class_variance)),
            words.share(one.found.share.estimate),
            words.word("verdict", one.found.verdict),
        ]
        for case in cases
        for one in case.measured
    ]
    titles = _titles(words, "layer", "run", "within", "interval", "share", "verdict")
    return Table(titles, rows, left=2, wordy={5})


def probe_name(read: Read, words: Language) -> str:
    """A probe in words, with its shots."""
    name = words.word("probe", read.probe)
    if read.shots is not None:
        name = words.say("probe.shots", count=read.shots)
    return name


def probe_rows(cases: Sequence[Case], words: Language) -> list[dict[str, Any]]:
    """One row for each reading: name, case, estimate, low, high, and the parts of the name."""
    rows = []
    for case in cases:
        for read in readings(case):
            data = f"{short(read.data, 30)}: " if read.data else ""
            rows.append(
                {
                    "name": f"{data}{short(read.target, 30)} · {probe_name(read, words)}",
                    "layer": read.layer,
                    "case": short(case.name, 40),
                    **read.score,
                    "read": read,
                }
            )
    return rows


def probe_table(cases: Sequence[Case], words: Language) -> Table:
    """Every reading with its interval."""
    rows = []
    for row in sorted(probe_rows(cases, words), key=lambda row: (row["layer"], row["name"])):
        read: Read = row["read"]
        rows.append(
            [
                row["name"],
                words.word("role", read.role),
                short(read.layer, 40),
                row["case"],
                words.count(read.rows),
                words.share(read.score),
                _percent_ends(read.score, words),
                words.share(read.accuracy),
            ]
        )
    titles = [
        *_titles(words, "target", "kind", "layer", "run", "rows"),
        words.say("axis.above-chance"),
        words.say("column.interval"),
        words.say("column.accuracy"),
    ]
    return Table(titles, rows[:MOST_ROWS], left=4, more=max(0, len(rows) - MOST_ROWS))


def _percent_ends(record: Any, words: Language) -> str:
    given = estimate(record)
    if given is None or given["low"] is None or given["high"] is None:
        return "–"
    low, high = words.share(given["low"]), words.share(given["high"])
    return words.say("format.interval", low=low, high=high)


def slice_table(found: dict[str, Any], words: Language) -> Table:
    """One slice column of a measurement."""
    rows = []
    for value, entry in found["values"].items():
        within = estimate(entry.get("within_class_variance"))
        probe = estimate((entry.get("probe") or {}).get("logistic"))
        rows.append(
            [
                short(value),
                words.count(entry["count"]),
                words.number((within or {}).get("estimate")),
                words.ends(within),
                words.share((entry.get("share") or {}).get("estimate")),
                words.share(probe),
                words.word("verdict", entry["verdict"]),
            ]
        )
    titles = _titles(words, "slice", "rows", "within", "interval", "share", "readable", "verdict")
    more = max(0, len(rows) - MOST_ROWS)
    return Table(titles, rows[:MOST_ROWS], more=more, wordy={6})


def comparison_table(record: dict[str, Any], words: Language) -> Table:
    """What changed from before to after."""
    rows = [
        [
            words.word("quantity", one.get("name")),
            words.number(one.get("before")),
            words.number(one.get("after")),
            words.number(one.get("estimate")),
            words.ends(one),
            words.word("direction", one.get("direction")),
        ]
        for one in record.get("changes") or ()
    ]
    titles = _titles(words, "quantity", "before", "after", "difference", "interval", "direction")
    return Table(titles, rows, wordy={5})


def secondary_table(cases: Sequence[Case], layer: str | None, words: Language) -> Table:
    """Secondary measures with their caveats, a column for each case."""
    shown = [(case, one) for case in cases if (one := judged(case, layer)) is not None]
    rows = []
    names = list(dict.fromkeys(name for _, one in shown for name in vars(one.found.secondary)))
    for name in names:
        cells = [words.word("measure", name)]
        caveat = ""
        for _, one in shown:
            measure = one.found.secondary[name]
            found = None if measure is None else measure.to_dict()
            cells.append(_secondary(found, words))
            caveat = caveat or str((found or {}).get("caveat", ""))
        rows.append([*cells, words.record(caveat) if caveat else ""])
    titles = [
        words.say("column.measure"),
        *(short(case.name, 40) for case, _ in shown),
        words.say("column.caveat"),
    ]
    return Table(titles, rows, left=len(titles))


def _secondary(found: dict[str, Any] | None, words: Language) -> str:
    if found is None:
        return words.say("measure.not-applicable")
    parts = []
    for key, value in found.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            title = "" if key == "value" else words.word("measure", key) + " "
            parts.append(f"{title}{words.number(value)}")
        elif key == "null" and isinstance(value, dict):
            ends = words.say(
                "format.interval", low=words.number(value["low"]), high=words.number(value["high"])
            )
            parts.append(f"{words.say('measure.null')} {ends}")
    return words.say("format.comma").join(parts) or "–"
