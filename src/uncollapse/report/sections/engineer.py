"""The engineer's part: sections with their pictures and tables; one without data is left out."""

from __future__ import annotations

from dataclasses import replace

from uncollapse.records import BalancedBatch
from uncollapse.report.charts.embedding import embedding_chart, points_rows, spectrum_chart
from uncollapse.report.charts.look import Row
from uncollapse.report.charts.measured import (
    dot_chart,
    least_classes,
    level_chart,
    training_chart,
    variance_chart,
)
from uncollapse.report.charts.phase import phase_chart
from uncollapse.report.decide.lookup import class_rows, has_views, judged, judged_cases, probe_rows
from uncollapse.report.inputs_model import Case, Points
from uncollapse.report.language import Language, short
from uncollapse.report.record import Content
from uncollapse.report.sections.pilot import pilot_section, transfer_section
from uncollapse.report.sections.section import Figure, Section, charted, section
from uncollapse.report.sections.tables import (
    Table,
    class_table,
    comparison_table,
    layer_table,
    level_table,
    probe_name,
    probe_table,
    secondary_table,
    slice_table,
    titles_of,
)

# Readings that one chart of probes shows.
MOST_DOTS = 40


def engineer(report: Content, points: int) -> tuple[list[Section], dict[str, list[Row]]]:
    """Sections that there are data for, and the data of their pictures, cut to `points` rows."""
    words, pilot = report.words, report.inputs.pilot
    data: dict[str, list[Row]] = {}
    sections = [
        None if pilot is None else pilot_section(pilot, words),
        None if pilot is None else transfer_section(pilot, words),
        _comparison(report, words),
        _phase(report, words),
        _variance(report, words),
        _levels(report, words),
        _layers(report, words),
        _probes(report, words),
        picture_section(report, words, points, data),
        spectrum_section(report, words),
        _slices(report, words),
        charted("training", words, training_chart(report.inputs.cases, report.layer, words)),
        _secondary(report, words),
    ]
    return [part for part in sections if part is not None], data


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
    tables = [("", comparison_table(record, words))]
    messages = record.warning_messages or (None,) * len(record.warnings)
    notes = list(map(words.record, record.warnings, messages))
    return section("comparison", words, *intro, tables=tables, notes=notes)


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
    rows = [
        [short(m.name, 40), *(words.number(x) for x in (m.alpha, m.tau, m.variance))] for m in marks
    ]
    table = Table(titles_of(words, "run alpha tau predicted"), rows)
    chart = phase_chart(diagram, marks, words)
    return charted("phase", words, chart, *paragraphs, tables=[("", table)])


def _variance(report: Content, words: Language) -> Section | None:
    rows = class_rows(report.inputs.cases, report.layer)
    least = least_classes(rows)
    count, shown = (len({short(row.measured.label) for row in part}) for part in (rows, least))
    paragraphs = [words.say("intro.variance")]
    if any(row.predicted is not None for row in least):
        paragraphs.append(words.say("intro.variance-predicted"))
    if shown < count:
        paragraphs.append(words.say("intro.variance-many", shown=shown, count=count))
    measured = judged_cases(report.inputs.cases, report.layer)
    spec = variance_chart(least, bool(measured) and has_views(measured[0][1]), words)
    table = class_table([case for case, _ in measured], report.layer, words)
    return charted("variance", words, spec, *paragraphs, tables=[("", table)])


def _levels(report: Content, words: Language) -> Section | None:
    measured = judged_cases(report.inputs.cases, report.layer)
    paragraphs = [words.say("intro.levels")]
    if not any(measurement.view_variance.estimate is not None for _, measurement in measured):
        paragraphs.append(words.say("intro.levels-no-views"))
    cases = [case for case, _ in measured]
    spec = level_chart(cases, report.layer, words)
    table = level_table(cases, report.layer, words)
    return charted("levels", words, spec, *paragraphs, tables=[("", table)])


def _layers(report: Content, words: Language) -> Section | None:
    table = layer_table(report.inputs.cases, words)
    if table is None:
        return None
    return section("layers", words, words.say("intro.layers"), tables=[("", table)])


def _probes(report: Content, words: Language) -> Section | None:
    cases = report.inputs.cases
    named = [(short(case.name, 40), row) for case in cases for row in probe_rows(case)]
    if not named:
        return None
    names = list(dict.fromkeys(name for name, _ in named))
    axis = words.say("axis.above-chance")
    figures = []
    for number, layer in enumerate(dict.fromkeys(row.target.layer for _, row in named)):
        dots = [
            {"name": probe_name(row, words), "layer": layer, "case": name}
            | row.reading.score.chance_corrected.to_dict()
            for name, row in named
            if row.target.layer == layer
        ]
        title = words.word("layer", short(layer, 60))
        spec = dot_chart(dots[:MOST_DOTS], names, words, title=title, axis=axis)
        figures.append(Figure(f"probes-{number}", title, spec))
    intro = words.say("intro.probes-seeds" if any(c.runs for c in cases) else "intro.probes")
    tables = [("", probe_table(cases, words))]
    notes = dict.fromkeys(note for _, row in named for note in row.target.notes)
    said = list(map(words.record, notes))
    return section("probes", words, intro, figures=figures, tables=tables, notes=said)


def _slices(report: Content, words: Language) -> Section | None:
    tables, notes = [], []
    for case, measurement in judged_cases(report.inputs.cases, report.layer):
        for name, column in (measurement.slices or {}).items():
            caption = f"{short(name)} · {short(case.name, 40)}"
            tables.append((caption, slice_table(column, words)))
            texts = []
            for what, gap in vars(column.gap).items():
                if gap is not None:
                    ends = {"smallest": short(gap.smallest), "largest": short(gap.largest)}
                    named = words.word("quantity", what)
                    texts.append(words.say("intro.gap", quantity=named, gap=gap, **ends))
            if column.leakage is not None and column.leakage.logistic is not None:
                texts.append(words.say("intro.leakage", estimate=column.leakage.logistic))
            notes += [f"{caption}{words.say('format.colon')}{text}" for text in texts]
    intro = words.say("intro.slices")
    return section("slices", words, intro, tables=tables, notes=notes) if tables else None


def _secondary(report: Content, words: Language) -> Section | None:
    if not judged_cases(report.inputs.sides, report.layer):
        return None
    table = secondary_table(report.inputs.sides, report.layer, words)
    return section("secondary", words, words.say("intro.secondary"), tables=[("", table)])


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


def picture_section(
    report: Content, words: Language, most: int, data: dict[str, list[Row]]
) -> Section | None:
    """Both projections of the first and the last case; their rows go into `data`."""
    shown = _shown(report)
    if not shown:
        return None
    figures = []
    for inside in (False, True):
        axes = [axis for _, points in shown for axis in points.axes(inside)]
        reach = 1.06 * max(float(abs(axis).max()) for axis in axes) or 1.0
        for number, (case, points) in enumerate(shown):
            name, key = f"points{number}", "inside" if inside else "classes"
            rows = data.setdefault(name, points_rows(points, words)[:most])
            x, y = points.shares[2:] if inside else points.shares[:2]
            title = f"{short(case.name, 40)} · {words.say(f'intro.picture-{key}', x=x, y=y)}"
            spec = embedding_chart(rows, name, words, inside=inside, reach=reach)
            figures.append(Figure(f"picture-{number}-{int(inside)}", title, spec))
    first = shown[0][1]
    drawn = min(most, len(first.x))
    paragraphs = [words.say("intro.picture", drawn=drawn, rows=first.rows, seed=first.seed)]
    if first.layer:
        paragraphs.append(words.word("layer", first.layer))
    if any(case.runs for case, _ in shown):
        names = words.listed([case.each[0].name for case, _ in shown])
        paragraphs.append(words.say("intro.picture-one-run", names=names))
    return section("picture", words, *paragraphs, figures=figures)


def spectrum_section(report: Content, words: Language) -> Section | None:
    """Eigenvalues inside classes, of the first and the last case."""
    shown = [(case.name, points.spectrum) for case, points in _shown(report)]
    return charted("spectrum", words, spectrum_chart(shown, words))
