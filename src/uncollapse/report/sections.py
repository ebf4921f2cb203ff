"""The engineer's part: sections with their pictures and tables; one without data is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from uncollapse.report import charts, charts_rows
from uncollapse.report.build import Report
from uncollapse.report.cases import Case, Points
from uncollapse.report.charts_phase import phase_chart
from uncollapse.report.language import Language, short
from uncollapse.report.readings import judged
from uncollapse.report.sections_pilot import pilot_chart, pilot_table
from uncollapse.report.tables import (
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

__all__ = ["Figure", "Section", "Sections", "engineer"]


@dataclass(frozen=True)
class Figure:
    """A chart with its title above it."""

    name: str
    title: str
    spec: dict[str, Any]


@dataclass
class Section:
    """One section of the page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        paragraphs: Before the pictures.
        figures: Side by side where there is room.
        tables: With captions; shown on demand under pictures, else at once.
        notes: After them.
        wide: Whether its figures take the whole width, one below the other.
    """

    name: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[tuple[str, Table]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wide: bool = False


@dataclass
class Sections:
    """The engineer's sections, and the data sets that their pictures share."""

    sections: list[Section]
    data: dict[str, list[dict[str, Any]]]


def engineer(report: Report, points: int) -> Sections:
    """All sections that there are data for.

    Args:
        report: The report.
        points: Rows that a picture shows at most.
    """
    words = _words(report)
    data: dict[str, list[dict[str, Any]]] = {}
    parts: list[Callable[[], Section | None]] = [
        lambda: _comparison(report, words),
        lambda: _pilot(report, words),
        lambda: _phase(report, words),
        lambda: _variance(report, words),
        lambda: _levels(report, words),
        lambda: _layers(report, words),
        lambda: _probes(report, words),
        lambda: _picture(report, words, points, data),
        lambda: _spectrum(report, words),
        lambda: _slices(report, words),
        lambda: _training(report, words),
        lambda: _secondary(report, words),
    ]
    return Sections([found for part in parts if (found := part()) is not None], data)


def _words(report: Report) -> Language:
    from uncollapse.report.language import language

    return language(report.language)


def _measured(report: Report) -> list[Case]:
    return [case for case in report.inputs.cases if judged(case, report.layer) is not None]


def _section(name: str, words: Language, *paragraphs: str, **parts: Any) -> Section:
    return Section(name, words.say(f"section.{name}"), list(paragraphs), **parts)


def _figures(name: str, spec: dict[str, Any] | None, title: str = "") -> list[Figure]:
    return [] if spec is None else [Figure(name, title, spec)]


def _comparison(report: Report, words: Language) -> Section | None:
    record = report.comparison
    if record is None:
        return None
    warnings = [str(one) for one in record.get("warnings") or ()]
    return _section(
        "comparison",
        words,
        words.say("intro.comparison"),
        tables=[("", comparison_table(record, words))],
        notes=[words.translate(one) or one for one in warnings],
    )


def _pilot(report: Report, words: Language) -> Section | None:
    pilot = report.inputs.pilot
    if pilot is None:
        return None
    objective = pilot.get("objective") or {}
    about = words.say(
        "intro.pilot-layer",
        objective=str(objective.get("text") or objective.get("name") or "–"),
        layer=words.word("layer", pilot.get("layer")),
    )
    return _section(
        "pilot",
        words,
        words.say("intro.pilot"),
        about,
        figures=_figures("pilot", pilot_chart(pilot, words)),
        tables=[("", pilot_table(pilot, words))],
        wide=True,
    )


def batch_text(batch: dict[str, Any], words: Language) -> str:
    """A batch in words."""
    kind = batch["kind"]
    if kind == "balanced" and batch.get("classes"):
        kind = "balanced-classes"
    numbers = {key: value for key, value in batch.items() if value is not None and key != "kind"}
    return words.say(f"batch.{kind}", **numbers)


def _phase(report: Report, words: Language) -> Section | None:
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
    marks = [
        type(mark)(
            mark.name or words.say("page.recommended"),
            mark.role,
            mark.alpha,
            mark.tau,
            mark.variance,
        )
        for mark in report.marks
    ]
    rows = [
        [short(m.name, 40), words.number(m.alpha), words.number(m.tau), words.number(m.variance)]
        for m in marks
    ]
    titles = [words.say(f"column.{name}") for name in ("run", "alpha", "tau", "predicted")]
    return _section(
        "phase",
        words,
        *paragraphs,
        figures=_figures("phase", phase_chart(diagram, marks, words)),
        tables=[("", Table(titles, rows))],
        wide=True,
    )


def _variance(report: Report, words: Language) -> Section | None:
    cases = _measured(report)
    spec = charts.variance_chart(cases, report.layer, words)
    if spec is None:
        return None
    rows, count = charts.rows_of_classes(cases, report.layer)
    shown = len({row["class"] for row in rows})
    paragraphs = [words.say("intro.variance")]
    if any(row["predicted"] is not None for row in rows):
        paragraphs.append(words.say("intro.variance-predicted"))
    if shown < count:
        paragraphs.append(words.say("intro.variance-many", shown=shown, count=count))
    table = class_table(cases, report.layer, words)
    return _section(
        "variance",
        words,
        *paragraphs,
        figures=_figures("variance", spec),
        tables=[("", table)],
        wide=True,
    )


def _levels(report: Report, words: Language) -> Section | None:
    cases = _measured(report)
    spec = charts.level_chart(cases, report.layer, words)
    if spec is None:
        return None
    views = any(
        one.found.view_variance.estimate is not None
        for case in cases
        if (one := judged(case, report.layer)) is not None
    )
    paragraphs = [words.say("intro.levels")]
    if not views:
        paragraphs.append(words.say("intro.levels-no-views"))
    return _section(
        "levels",
        words,
        *paragraphs,
        figures=_figures("levels", spec),
        tables=[("", level_table(cases, report.layer, words))],
        wide=True,
    )


def _layers(report: Report, words: Language) -> Section | None:
    table = layer_table(report.inputs.cases, words)
    if table is None:
        return None
    return _section("layers", words, words.say("intro.layers"), tables=[("", table)])


def _training(report: Report, words: Language) -> Section | None:
    spec = charts.training_chart(report.inputs.cases, report.layer, words)
    if spec is None:
        return None
    return _section(
        "training",
        words,
        words.say("intro.training"),
        figures=_figures("training", spec),
        wide=True,
    )


def _probes(report: Report, words: Language) -> Section | None:
    cases = report.inputs.cases
    rows = probe_rows(cases, words)
    if not rows:
        return None
    names = list(dict.fromkeys(row["case"] for row in rows))
    figures = []
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
        figures += _figures(f"probes-{number}", spec, title)
    notes = list(dict.fromkeys(note for row in rows for note in row["read"].notes))
    return _section(
        "probes",
        words,
        words.say("intro.probes"),
        figures=figures,
        tables=[("", probe_table(cases, words))],
        notes=[words.translate(note) or note for note in notes],
    )


def _slices(report: Report, words: Language) -> Section | None:
    section = _section("slices", words, words.say("intro.slices"))
    for case in _measured(report):
        one = judged(case, report.layer)
        for name, found in ((one.found.slices if one else None) or {}).items():
            caption = f"{short(name)} · {short(case.name, 40)}"
            section.tables.append((caption, slice_table(found, words)))
            for what, gap in (found.get("gap") or {}).items():
                if gap is not None:
                    ends = {"smallest": short(gap["smallest"]), "largest": short(gap["largest"])}
                    named = words.word("quantity", what)
                    text = words.say("intro.gap", quantity=named, gap=gap, **ends)
                    section.notes.append(f"{caption}{words.say('format.colon')}{text}")
            leak = (found.get("leakage") or {}).get("logistic")
            if leak is not None:
                text = words.say("intro.leakage", estimate=leak)
                section.notes.append(f"{caption}{words.say('format.colon')}{text}")
    return section if section.tables else None


def _points(case: Case, layer: str | None) -> Points | None:
    one = judged(case, layer)
    for wanted in (layer, one.layer if one else None, "projector"):
        if wanted is not None and wanted in case.points:
            return case.points[wanted]
    return next(iter(case.points.values()), None)


def _picture(
    report: Report, words: Language, most: int, data: dict[str, list[dict[str, Any]]]
) -> Section | None:
    shown = [(case, found) for case in report.sides if (found := _points(case, report.layer))]
    if not shown:
        return None
    reach = {
        inside: max(
            float(abs(values).max())
            for _, found in shown
            for values in ((found.u, found.v) if inside else (found.x, found.y))
        )
        * 1.06
        or 1.0
        for inside in (False, True)
    }
    section = _section("picture", words)
    for inside in (False, True):
        for number, (case, found) in enumerate(shown):
            name = f"points{number}"
            rows = data.setdefault(name, charts_rows.points_rows(found, words)[:most])
            x, y = found.shares[2:] if inside else found.shares[:2]
            title = words.say(f"intro.picture-{'inside' if inside else 'classes'}", x=x, y=y)
            title = f"{short(case.name, 40)} · {title}"
            spec = charts_rows.embedding_chart(
                rows, name, words, inside=inside, reach=reach[inside]
            )
            section.figures.append(Figure(f"picture-{number}-{int(inside)}", title, spec))
    first = shown[0][1]
    drawn = min(most, len(first.x))
    layer = words.word("layer", first.layer) if first.layer else ""
    text = words.say("intro.picture", drawn=drawn, rows=first.rows, seed=first.seed)
    section.paragraphs = [text, *([layer] if layer else [])]
    return section


def _spectrum(report: Report, words: Language) -> Section | None:
    shown = [(case.name, f.spectrum) for case in report.sides if (f := _points(case, report.layer))]
    spec = charts_rows.spectrum_chart(shown, words) if shown else None
    if spec is None:
        return None
    return _section(
        "spectrum",
        words,
        words.say("intro.spectrum"),
        figures=_figures("spectrum", spec),
        wide=True,
    )


def _secondary(report: Report, words: Language) -> Section | None:
    cases = [case for case in report.sides if judged(case, report.layer) is not None]
    if not cases:
        return None
    table = secondary_table(cases, report.layer, words)
    return _section("secondary", words, words.say("intro.secondary"), tables=[("", table)])
