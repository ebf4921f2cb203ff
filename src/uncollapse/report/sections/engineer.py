"""The engineer's part: sections with their pictures and tables; one without data is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from uncollapse.records import BalancedBatch, Interval, Message, NC1Null, Part
from uncollapse.report.charts import measured as charts
from uncollapse.report.charts.phase import cell_rows, phase_chart
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import judged_cases, probe_rows
from uncollapse.report.decide.phase import Mark
from uncollapse.report.language import Language, short
from uncollapse.report.sections import section
from uncollapse.report.sections.pilot import pilot_section, search_section, transfer_section
from uncollapse.report.sections.rows import (
    looks_section,
    near_section,
    picture_section,
    spectrum_section,
)
from uncollapse.report.sections.section import Figure, Section, TextTable, charted, table
from uncollapse.report.sections.shares import level_section, share_section, slice_section
from uncollapse.report.sections.stress import stress_section
from uncollapse.report.sections.trade import trade_section

# Readings that one chart of probes shows.
MOST_DOTS = 40


def engineer(report: Content, points: int) -> list[Section]:
    """Sections that there are data for, with pictures of so many points at most."""
    words, pilot, cases = report.words, report.inputs.pilot, report.inputs.shown
    training = charts.training_chart(cases, report.layer, words)
    sections = [
        None if pilot is None else pilot_section(pilot, words),
        None if pilot is None else search_section(pilot, words),
        None if pilot is None else trade_section(pilot, words),
        None if pilot is None else transfer_section(pilot, words),
        stress_section(report.inputs.stress, words),
        share_section(report, words),
        level_section(report, words),
        picture_section(report, words, points),
        near_section(report, words, points),
        looks_section(report, words),
        _comparison(report, words),
        _phase(report, words),
        _layers(report, words),
        _probes(report, words),
        slice_section(report, words),
        spectrum_section(report, words),
        charted("training", training, [words.say("intro.training")]),
        _secondary(report, words),
    ]
    return [part for part in sections if part is not None]


def _comparison(report: Content, words: Language) -> Section | None:
    record = report.comparison
    if record is None:
        return None
    intro = [words.say("intro.comparison-record")]
    if len(report.inputs.sides) == 2:
        before, after = report.inputs.sides
        intro = [words.say("intro.comparison", before=before.name, after=after.name)]
        if "trial" in (before.kind, after.kind):
            intro.append(words.say("intro.comparison-trial"))
    if record.pairing:
        intro.append(words.record(record.pairing, record.pairing_message))
    columns = (
        "quantity:quantity before:number after:number difference:number interval:ends"
        " direction:direction"
    )
    rows = [(c.name, c.before, c.after, c, c, c.direction) for c in record.changes]
    messages = record.warning_messages or (None,) * len(record.warnings)
    notes = list(map(words.record, record.warnings, messages))
    return Section("comparison", intro, tables=[table(words, columns, rows)], notes=notes)


def _phase(report: Content, words: Language) -> Section | None:
    diagram = report.diagram
    if diagram is None:
        return None
    batch = diagram.batch
    some = "-classes" if isinstance(batch, BalancedBatch) and batch.classes else ""
    said = words.say(f"batch.{batch.kind}{some}", **vars(batch))
    intro = {"classes": diagram.classes, "batch": said, "views": diagram.views}
    paragraphs = [words.say("intro.phase", **intro)]
    if diagram.threshold:
        paragraphs.append(words.say("intro.phase-line"))
    if diagram.drawn == "equal-classes":
        paragraphs.append(words.say("intro.phase-equal", per_class=diagram.per_class))
    roles = {"before": "start", "recommended": "recommended"}
    marks = [mark if mark.name else replace(mark, name=roles[mark.role]) for mark in report.marks]
    rows = [(mark.name, mark.alpha, mark.tau, mark.variance) for mark in marks]
    numbers = table(words, "run:case alpha:number tau:number predicted:number", rows)
    chart = phase_chart(diagram, _apart(marks, words), "cells", words)
    figure = Figure("phase", "", chart, {"cells": cell_rows(diagram, words)})
    return Section("phase", paragraphs, [figure], [numbers])


def _apart(marks: Sequence[Mark], words: Language) -> list[Mark]:
    """Marks at one place as one, with all their names."""
    places: dict[tuple[float, float], list[Mark]] = {}
    for mark in marks:
        places.setdefault((mark.alpha, mark.tau), []).append(mark)
    return [
        replace(here[-1], name=words.listed([words.case(mark.name) for mark in here]))
        for here in places.values()
    ]


def _layers(report: Content, words: Language) -> Section | None:
    """Judged share and verdict of every layer, where a case has several."""
    cases = report.inputs.shown
    if not any(len(case.measured) > 1 for case in cases):
        return None
    rows = []
    for case in cases:
        for measured in case.measured:
            layer, record = words.word("layer", measured.layer) or "–", measured.measurement
            within, share = record.within_class_variance, record.share
            rows.append((layer, case.name, within, within, share, record.verdict))
    columns = "layer run:case within:number interval:ends share:share verdict:verdict"
    return Section("layers", [words.say("intro.layers")], tables=[table(words, columns, rows)])


def _probes(report: Content, words: Language) -> Section | None:
    cases = report.inputs.shown
    named = [(words.case(case.name), row) for case in cases for row in probe_rows(case)]
    if not named:
        return None
    names = list(dict.fromkeys(name for name, _ in named))
    figures = []
    for number, layer in enumerate(dict.fromkeys(row.target.layer for _, row in named)):
        dots = [
            {"name": section.probe_name(row, words), "layer": layer, "case": name}
            | row.reading.score.chance_corrected.to_dict()
            for name, row in named
            if row.target.layer == layer
        ]
        title = words.word("layer", short(layer))
        spec = charts.dot_chart(dots[:MOST_DOTS], names, words, title=title)
        figures.append(Figure(f"probes-{number}", title, spec))
    intro = words.say("intro.probes-seeds" if any(c.runs for c in cases) else "intro.probes")
    notes = dict.fromkeys(note for _, row in named for note in row.target.notes)
    tables = [section.probe_table(cases, words)]
    return Section("probes", [intro], figures, tables, list(map(words.record, notes)))


def _secondary(report: Content, words: Language) -> Section | None:
    """Secondary measures with their caveats, a column for each case."""
    shown = judged_cases(report.inputs.sides, report.layer)
    if not shown:
        return None
    rows = []
    for name in [measure.name for measure in fields(shown[0][1].secondary)]:
        measures = [measurement.secondary[name] for _, measurement in shown]
        caveat = next((measure.caveat for measure in measures if measure is not None), "")
        said = words.record(caveat, Message(f"caveat.{name}")) if caveat else ""
        cells = [_numbers(measure, words) for measure in measures]
        rows.append([words.word("measure", name), *cells, said])
    names = [words.case(case.name) for case, _ in shown]
    titles = [words.say("column.measure"), *names, words.say("column.caveat")]
    return Section("secondary", [words.say("intro.secondary")], tables=[TextTable(titles, rows)])


def _numbers(measure: Part | None, words: Language) -> str:
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
