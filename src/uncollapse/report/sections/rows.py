"""The rows themselves: both pictures of the embedding, its spectrum, and rows that lie close."""

from __future__ import annotations

from uncollapse.report.charts.embedding import embedding_chart, points_rows, spectrum_chart
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import class_rows, judged
from uncollapse.report.inputs_model import Case, Near, Points
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import Figure, Section, charted, table


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


def picture_section(report: Content, words: Language, most: int) -> Section | None:
    """Both projections of the first and the last case."""
    shown = _shown(report)
    if not shown:
        return None
    figures = []
    worst = sorted(class_rows([case for case, _ in shown], report.layer), key=lambda c: c.rank)
    named = list(dict.fromkeys(str(row.measured.label) for row in worst))
    rows = [points_rows(points, named, words)[-most:] for _, points in shown]
    for inside in (False, True):
        axes = [vars(points)[axis] for _, points in shown for axis in ("uv" if inside else "xy")]
        reach = 1.06 * max(float(abs(axis).max()) for axis in axes) or 1.0
        for number, (case, points) in enumerate(shown):
            x, y = points.shares[2:] if inside else points.shares[:2]
            said = words.say(f"intro.picture-{'inside' if inside else 'classes'}", x=x, y=y)
            data = f"points{number}"
            spec = embedding_chart(rows[number], data, words, inside=inside, reach=reach)
            title = f"{words.case(case.name)} · {said}"
            name = f"picture-{number}-{int(inside)}"
            figures.append(Figure(name, title, spec, {data: rows[number]}, points.thumbnails))
    paragraphs = _about(shown, words, most)
    if any(row["k"] != row["c"] for part in rows for row in part):
        paragraphs.append(words.say("intro.picture-worst"))
    return Section("picture", paragraphs, figures, reached=True)


def _about(shown: list[tuple[Case, Points]], words: Language, most: int) -> list[str]:
    """Which rows the pictures show, of which layer and run."""
    first = shown[0][1]
    drawn = min(most, len(first.x))
    which = "all" if drawn == first.rows else "some"
    key = {"all": "intro.picture-all", "some": "intro.picture"}[which]
    paragraphs = [words.say(key, drawn=drawn, rows=first.rows, seed=first.seed)]
    if first.layer:
        paragraphs.append(words.word("layer", first.layer))
    if any(case.runs for case, _ in shown):
        names = words.listed([words.case(case.each[0].name) for case, _ in shown])
        paragraphs.append(words.say("intro.picture-one-run", names=names))
    return paragraphs


def near_section(report: Content, words: Language, most: int) -> Section | None:
    """Rows of one class that lie closest, of the last case."""
    shown = _shown(report)
    if not shown or not shown[-1][1].near:
        return None
    case, points = shown[-1]
    fine = any(points.fine)
    columns = "class row_a row_b cosine:number"
    if fine:
        columns = "class row_a fine_a row_b fine_b cosine:number"
    rows = [_pair(points, pair, fine) for pair in points.near]
    titles = {"row_a": words.say("column.row-a"), "row_b": words.say("column.row-b")}
    titles |= dict.fromkeys(("fine_a", "fine_b"), words.say("legend.fine"))
    numbers = table(words, columns, rows, csv="nearest-rows", titles=titles)
    paragraphs = [words.say("intro.near", pairs=len(rows), drawn=len(points.x))]
    if len(shown) > 1:
        paragraphs.append(words.case(case.name))
    return Section("near", paragraphs, tables=[numbers], folded=True)


def _pair(points: Points, pair: Near, fine: bool) -> list[object]:
    """A line of the table, with finer labels where there are some."""
    ends = []
    for row in (pair.first, pair.second):
        ends.append(short(points.name[row], 48))
        ends += [short(points.fine[row])] if fine else []
    return [short(points.label[pair.first]), *ends, pair.cosine]


def spectrum_section(report: Content, words: Language) -> Section | None:
    """How many dimensions the spread inside the classes takes."""
    spectra = [(case.name, drawn.spectrum) for case, drawn in _shown(report)]
    return charted("spectrum", spectrum_chart(spectra, words), [words.say("intro.spectrum")])
