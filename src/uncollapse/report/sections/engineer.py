"""The engineer's part: sections with their pictures and tables; one without data is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from uncollapse.records import (
    BalancedBatch,
    Interval,
    Measurement,
    Message,
    NC1Null,
    Part,
    SliceColumn,
)
from uncollapse.report.charts import measured as charts
from uncollapse.report.charts.embedding import embedding_chart, points_rows, spectrum_chart
from uncollapse.report.charts.phase import phase_chart
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import (
    class_rows,
    has_views,
    judged,
    judged_cases,
    network_of,
    probe_rows,
)
from uncollapse.report.inputs_model import Case, Points
from uncollapse.report.language import Language, short
from uncollapse.report.sections import section
from uncollapse.report.sections.pilot import pilot_section, search_section, transfer_section
from uncollapse.report.sections.section import Figure, Section, TextTable, charted, table
from uncollapse.report.sections.trade import trade_section

# Readings that one chart of probes shows.
MOST_DOTS = 40


def engineer(report: Content, points: int) -> list[Section]:
    """Sections that there are data for, with pictures of so many points at most."""
    words, pilot, cases = report.words, report.inputs.pilot, report.inputs.cases
    training = charts.training_chart(cases, report.layer, words)
    spectra = [(case.name, drawn.spectrum) for case, drawn in _shown(report)]
    sections = [
        None if pilot is None else pilot_section(pilot, words),
        None if pilot is None else search_section(pilot, words),
        None if pilot is None else trade_section(pilot, words),
        None if pilot is None else transfer_section(pilot, words),
        _comparison(report, words),
        _phase(report, words),
        _variance(report, words),
        _levels(report, words),
        _layers(report, words),
        _probes(report, words),
        _picture(report, words, points),
        charted("spectrum", spectrum_chart(spectra, words), [words.say("intro.spectrum")]),
        _slices(report, words),
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
    roles = {"before": "trial.start", "recommended": "page.recommended"}
    marks = [
        mark if mark.name else replace(mark, name=words.say(roles[mark.role]))
        for mark in report.marks
    ]
    rows = [(short(mark.name, 40), mark.alpha, mark.tau, mark.variance) for mark in marks]
    numbers = table(words, "run alpha:number tau:number predicted:number", rows)
    return charted("phase", phase_chart(diagram, marks, words), paragraphs, numbers)


def _variance(report: Content, words: Language) -> Section | None:
    rows = class_rows(report.inputs.cases, report.layer)
    least = charts.least_classes(rows)
    count = len({short(row.measured.label) for row in rows})
    shown = len({short(row.measured.label) for row in least})
    paragraphs = [words.say("intro.variance")]
    if any(row.predicted is not None for row in least):
        paragraphs.append(words.say("intro.variance-predicted"))
    if shown < count:
        paragraphs.append(words.say("intro.variance-many", shown=shown, count=count))
    measured = judged_cases(report.inputs.cases, report.layer)
    spec = charts.variance_chart(least, bool(measured) and has_views(measured[0][1]), words)
    numbers = section.class_table([case for case, _ in measured], report.layer, words)
    return charted("variance", spec, paragraphs, numbers)


def _levels(report: Content, words: Language) -> Section | None:
    measured = judged_cases(report.inputs.cases, report.layer)
    paragraphs = [words.say("intro.levels")]
    if not any(measurement.view_variance.estimate is not None for _, measurement in measured):
        paragraphs.append(words.say("intro.levels-no-views"))
    paragraphs += _networks(measured, words)
    cases = [case for case, _ in measured]
    spec = charts.level_chart(cases, report.layer, words)
    return charted("levels", spec, paragraphs, section.level_table(cases, report.layer, words))


def _networks(measured: Sequence[tuple[Case, Measurement]], words: Language) -> list[str]:
    """What is predicted for a network like that of each case."""
    said = []
    for case, measurement in measured:
        network = network_of(measurement.prediction)
        if network is not None:
            begins = network.alpha_where_spread_begins
            values = {
                "name": short(case.name, 40),
                "within": str(network.within_class_variance),
                "between": str(network.between_class_variance),
                "confidence": network.confidence,
                "begins": str(begins),
            }
            key = "intro.levels-network" + ("" if begins is None else "-begins")
            said.append(words.say(key, **values))
            said += [words.record(str(other), other) for other in network.differs]
    return said


def _layers(report: Content, words: Language) -> Section | None:
    """Judged share and verdict of every layer, where a case has several."""
    cases = report.inputs.cases
    if not any(len(case.measured) > 1 for case in cases):
        return None
    rows = []
    for case in cases:
        for measured in case.measured:
            layer, record = words.word("layer", measured.layer) or "–", measured.measurement
            within, share = record.within_class_variance, record.share
            rows.append((layer, case.name, within, within, share, record.verdict))
    columns = "layer run within:number interval:ends share:share verdict:verdict"
    return Section("layers", [words.say("intro.layers")], tables=[table(words, columns, rows)])


def _probes(report: Content, words: Language) -> Section | None:
    cases = report.inputs.cases
    named = [(short(case.name, 40), row) for case in cases for row in probe_rows(case)]
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
        title = words.word("layer", short(layer, 60))
        spec = charts.dot_chart(dots[:MOST_DOTS], names, words, title=title)
        figures.append(Figure(f"probes-{number}", title, spec))
    intro = words.say("intro.probes-seeds" if any(c.runs for c in cases) else "intro.probes")
    notes = dict.fromkeys(note for _, row in named for note in row.target.notes)
    tables = [section.probe_table(cases, words)]
    return Section("probes", [intro], figures, tables, list(map(words.record, notes)))


def _slices(report: Content, words: Language) -> Section | None:
    tables, notes = [], []
    for case, measurement in judged_cases(report.inputs.cases, report.layer):
        for name, column in (measurement.slices or {}).items():
            caption = f"{short(name)} · {short(case.name, 40)}"
            tables.append(_slice_table(column, caption, words))
            said = f"{caption}{words.say('format.colon')}"
            for what, gap in vars(column.gap).items():
                if gap is not None:
                    ends = {"smallest": short(gap.smallest), "largest": short(gap.largest)}
                    named = words.word("quantity", what)
                    notes.append(said + words.say("intro.gap", quantity=named, gap=gap, **ends))
            if column.leakage is not None and column.leakage.logistic is not None:
                leak = words.say("intro.leakage", estimate=column.leakage.logistic)
                notes.append(said + leak)
    intro = words.say("intro.slices")
    return Section("slices", [intro], tables=tables, notes=notes) if tables else None


def _slice_table(column: SliceColumn, caption: str, words: Language) -> TextTable:
    columns = (
        "slice rows:count within:number interval:ends share:share readable:share verdict:verdict"
    )
    rows = []
    for value, entry in column.values.items():
        within, probe = entry.within_class_variance, entry.probe
        read = None if probe is None else probe.logistic
        rows.append((short(value), entry.count, within, within, entry.share, read, entry.verdict))
    return table(words, columns, rows, caption, section.MOST_ROWS)


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
    names = [short(case.name, 40) for case, _ in shown]
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


def _shown(report: Content) -> list[tuple[Case, Points]]:
    """The rows of the first and the last case."""
    pairs = [(case, _points(case, report.layer)) for case in report.inputs.sides]
    return [(case, points) for case, points in pairs if points is not None]


def _points(case: Case, layer: str | None) -> Points | None:
    measured = judged(case, layer)
    for wanted in (layer, measured.layer if measured else None, "projector"):
        if wanted is not None and wanted in case.points:
            return case.points[wanted]
    return next(iter(case.points.values()), None)


def _picture(report: Content, words: Language, most: int) -> Section | None:
    """Both projections of the first and the last case."""
    shown = _shown(report)
    if not shown:
        return None
    figures = []
    rows = [points_rows(points, words)[:most] for _, points in shown]
    for inside in (False, True):
        axes = [vars(points)[axis] for _, points in shown for axis in ("uv" if inside else "xy")]
        reach = 1.06 * max(float(abs(axis).max()) for axis in axes) or 1.0
        for number, (case, points) in enumerate(shown):
            x, y = points.shares[2:] if inside else points.shares[:2]
            said = words.say(f"intro.picture-{'inside' if inside else 'classes'}", x=x, y=y)
            title = f"{short(case.name, 40)} · {said}"
            data = f"points{number}"
            spec = embedding_chart(rows[number], data, words, inside=inside, reach=reach)
            figures.append(Figure(f"picture-{number}-{int(inside)}", title, spec, rows[number]))
    first = shown[0][1]
    drawn = min(most, len(first.x))
    paragraphs = [words.say("intro.picture", drawn=drawn, rows=first.rows, seed=first.seed)]
    if first.layer:
        paragraphs.append(words.word("layer", first.layer))
    if any(case.runs for case, _ in shown):
        names = words.listed([case.each[0].name for case, _ in shown])
        paragraphs.append(words.say("intro.picture-one-run", names=names))
    return Section("picture", paragraphs, figures)
