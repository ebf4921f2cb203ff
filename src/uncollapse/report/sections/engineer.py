"""The engineer's part: sections with their pictures and tables; one without data is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from uncollapse.report.charts import base as charts
from uncollapse.report.charts import rows as charts_rows
from uncollapse.report.charts.phase import phase_chart
from uncollapse.report.decide.lookup import judged
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short
from uncollapse.report.record import Content
from uncollapse.report.sections.embedding import picture_section, spectrum_section
from uncollapse.report.sections.pilot import pilot_section
from uncollapse.report.sections.section import Figure, Section, charted, section
from uncollapse.report.sections.tables import (
    Table,
    class_table,
    comparison_table,
    layer_table,
    level_table,
    probe_rows,
    probe_table,
    secondary_table,
    slice_table,
)
from uncollapse.report.sections.transfer import transfer_section

__all__ = ["Sections", "engineer"]


@dataclass
class Sections:
    """The engineer's sections, and the data sets that their pictures share."""

    sections: list[Section]
    data: dict[str, list[dict[str, Any]]]


def engineer(report: Content, points: int) -> Sections:
    """All sections that there are data for.

    Args:
        report: The report.
        points: Rows that a picture shows at most.
    """
    words = report.words
    data: dict[str, list[dict[str, Any]]] = {}
    parts: list[Callable[[], Section | None]] = [
        lambda: pilot_section(report.inputs.pilot, words),
        lambda: transfer_section(report.inputs.pilot, words),
        lambda: _comparison(report, words),
        lambda: _phase(report, words),
        lambda: _variance(report, words),
        lambda: _levels(report, words),
        lambda: _layers(report, words),
        lambda: _probes(report, words),
        lambda: picture_section(report, words, points, data),
        lambda: spectrum_section(report, words),
        lambda: _slices(report, words),
        lambda: _training(report, words),
        lambda: _secondary(report, words),
    ]
    return Sections([found for part in parts if (found := part()) is not None], data)


def _measured(report: Content) -> list[Case]:
    return [case for case in report.inputs.cases if judged(case, report.layer) is not None]


def _comparison(report: Content, words: Language) -> Section | None:
    record = report.comparison
    if record is None:
        return None
    warnings = [str(one) for one in record.get("warnings") or ()]
    intro = [words.say("intro.comparison-record")]
    if len(report.sides) == 2:
        before, after = report.sides
        intro = [words.say("intro.comparison", before=before.name, after=after.name)]
        if "trial" in (before.kind, after.kind):
            intro.append(words.say("intro.comparison-trial"))
    return section(
        "comparison",
        words,
        *intro,
        tables=[("", comparison_table(record, words))],
        notes=[words.record(one) for one in warnings],
    )


def batch_text(batch: dict[str, Any], words: Language) -> str:
    """A batch in words."""
    kind = batch["kind"]
    if kind == "balanced" and batch.get("classes"):
        kind = "balanced-classes"
    numbers = {key: value for key, value in batch.items() if value is not None and key != "kind"}
    return words.say(f"batch.{kind}", **numbers)


def _phase(report: Content, words: Language) -> Section | None:
    diagram = report.diagram
    if diagram is None:
        return None
    batch = batch_text(diagram.batch, words)
    intro = {"classes": diagram.classes, "batch": batch, "views": diagram.views}
    paragraphs = [words.say("intro.phase", **intro)]
    if diagram.threshold:
        paragraphs.append(words.say("intro.phase-line"))
    if diagram.drawn == "equal-classes":
        paragraphs.append(words.say("intro.phase-equal", per_class=diagram.per_class))
    roles = {"before": "trial.start", "recommended": "page.recommended"}
    marks = [
        mark if mark.name else replace(mark, name=words.say(roles[mark.role]))
        for mark in report.marks
    ]
    rows = [
        [short(m.name, 40), words.number(m.alpha), words.number(m.tau), words.number(m.variance)]
        for m in marks
    ]
    titles = [words.say(f"column.{name}") for name in ("run", "alpha", "tau", "predicted")]
    chart = phase_chart(diagram, marks, words)
    return charted("phase", words, chart, *paragraphs, tables=[("", Table(titles, rows))])


def _variance(report: Content, words: Language) -> Section | None:
    cases = _measured(report)
    rows, count = charts.rows_of_classes(cases, report.layer)
    shown = len({row["class"] for row in rows})
    paragraphs = [words.say("intro.variance")]
    if any(row["predicted"] is not None for row in rows):
        paragraphs.append(words.say("intro.variance-predicted"))
    if shown < count:
        paragraphs.append(words.say("intro.variance-many", shown=shown, count=count))
    spec = charts.variance_chart(cases, report.layer, words)
    table = class_table(cases, report.layer, words)
    return charted("variance", words, spec, *paragraphs, tables=[("", table)])


def _levels(report: Content, words: Language) -> Section | None:
    cases = _measured(report)
    views = any(
        one.found.view_variance.estimate is not None
        for case in cases
        if (one := judged(case, report.layer)) is not None
    )
    paragraphs = [words.say("intro.levels")]
    if not views:
        paragraphs.append(words.say("intro.levels-no-views"))
    spec = charts.level_chart(cases, report.layer, words)
    table = level_table(cases, report.layer, words)
    return charted("levels", words, spec, *paragraphs, tables=[("", table)])


def _layers(report: Content, words: Language) -> Section | None:
    table = layer_table(report.inputs.cases, words)
    if table is None:
        return None
    return section("layers", words, words.say("intro.layers"), tables=[("", table)])


def _training(report: Content, words: Language) -> Section | None:
    return charted(
        "training", words, charts.training_chart(report.inputs.cases, report.layer, words)
    )


def _probes(report: Content, words: Language) -> Section | None:
    cases = report.inputs.cases
    rows = probe_rows(cases, words)
    if not rows:
        return None
    names = list(dict.fromkeys(row["case"] for row in rows))
    shown = []
    for number, layer in enumerate(dict.fromkeys(row["layer"] for row in rows)):
        here = [
            {key: value for key, value in row.items() if key != "read"}
            for row in rows
            if row["layer"] == layer
        ]
        title = words.word("layer", short(layer, 60))
        spec = charts_rows.dot_chart(
            here[:40], names, words, title=title, axis=words.say("axis.above-chance")
        )
        shown += [] if spec is None else [Figure(f"probes-{number}", title, spec)]
    notes = list(dict.fromkeys(note for row in rows for note in row["read"].notes))
    return section(
        "probes",
        words,
        words.say("intro.probes-seeds" if any(case.runs for case in cases) else "intro.probes"),
        figures=shown,
        tables=[("", probe_table(cases, words))],
        notes=[words.record(note) for note in notes],
    )


def _slices(report: Content, words: Language) -> Section | None:
    found_section = section("slices", words, words.say("intro.slices"))
    for case in _measured(report):
        one = judged(case, report.layer)
        for name, column in ((one.found.slices if one else None) or {}).items():
            found = column.to_dict()
            caption = f"{short(name)} · {short(case.name, 40)}"
            found_section.tables.append((caption, slice_table(found, words)))
            for what, gap in (found.get("gap") or {}).items():
                if gap is not None:
                    ends = {"smallest": short(gap["smallest"]), "largest": short(gap["largest"])}
                    named = words.word("quantity", what)
                    text = words.say("intro.gap", quantity=named, gap=gap, **ends)
                    found_section.notes.append(f"{caption}{words.say('format.colon')}{text}")
            leak = (found.get("leakage") or {}).get("logistic")
            if leak is not None:
                text = words.say("intro.leakage", estimate=leak)
                found_section.notes.append(f"{caption}{words.say('format.colon')}{text}")
    return found_section if found_section.tables else None


def _secondary(report: Content, words: Language) -> Section | None:
    cases = [case for case in report.sides if judged(case, report.layer) is not None]
    if not cases:
        return None
    table = secondary_table(cases, report.layer, words)
    return section("secondary", words, words.say("intro.secondary"), tables=[("", table)])
