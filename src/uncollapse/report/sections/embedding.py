"""The sections that show the rows of the embedding: its picture and its spectrum."""

from __future__ import annotations

from uncollapse.report.charts.embedding import embedding_chart, points_rows, spectrum_chart
from uncollapse.report.charts.look import Row
from uncollapse.report.decide.lookup import judged
from uncollapse.report.inputs_model import Case, Points
from uncollapse.report.language import Language, short
from uncollapse.report.record import Content
from uncollapse.report.sections.section import Figure, Section, charted, section


def _shown(report: Content) -> list[tuple[Case, Points]]:
    """The rows of the first and the last case."""
    pairs = [(case, _points(case, report.layer)) for case in report.sides]
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
