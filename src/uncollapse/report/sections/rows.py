"""The rows themselves: pictures of the embedding, its spectrum, and rows that are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uncollapse.report.charts.embedding import embedding_chart, points_rows, spectrum_chart
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import class_rows, judged
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short
from uncollapse.report.rows_model import Look, Looks, Near, Points
from uncollapse.report.sections.section import (
    Figure,
    Pictures,
    Section,
    TextTable,
    charted,
    table,
)


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
    """Rows of one class that lie closest, of the last case: of its table, else of the picture."""
    shown = _shown(report)
    looks = report.inputs.sides[-1].looks if report.inputs.sides else None
    if looks is not None and looks.near:
        intro = words.say("intro.near-table", pairs=len(looks.near), rows=looks.rows)
        columns, name = "class row_a row_b cosine:number", "nearest-rows"
        return Section(
            "near",
            [intro],
            tables=[_table_of(looks, looks.near, columns, name, words)],
            folded=True,
        )
    if not shown or not shown[-1][1].near:
        return None
    case, points = shown[-1]
    fine = any(points.fine)
    columns = "class row_a row_b cosine:number"
    if fine:
        columns = "class row_a fine_a row_b fine_b cosine:number"
    rows = [_pair(points, pair, fine) for pair in points.near]
    titles = _titles(words) | dict.fromkeys(("fine_a", "fine_b"), words.say("legend.fine"))
    numbers = table(words, columns, rows, csv="nearest-rows", titles=titles)
    if points.thumbnails:
        second = 3 if fine else 2
        places = [
            (points.thumbnail[pair.first], points.thumbnail[pair.second]) for pair in points.near
        ]
        numbers = _pictured(numbers, f"points{len(shown) - 1}", points.thumbnails, places, second)
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


def looks_section(report: Content, words: Language) -> Section | None:
    """Rows of the last case whose label is in doubt, or that lost what the reference has."""
    looks = report.inputs.sides[-1].looks if report.inputs.sides else None
    if looks is None or not (looks.doubted or looks.lost):
        return None
    paragraphs, tables = [], []
    if looks.doubted:
        paragraphs.append(
            words.say("intro.doubted", all=looks.all_doubted, count=len(looks.doubted))
        )
        columns = "class row_a suggested doubt:share"
        found = _table_of(looks, looks.doubted, columns, "doubted-labels", words)
        tables.append(replace(found, caption=words.say("column.doubted")))
    if looks.lost:
        paragraphs.append(words.say("intro.lost", all=looks.all_lost, count=len(looks.lost)))
        found = _table_of(looks, looks.lost, "class row_a lost:share", "lost-rows", words)
        tables.append(replace(found, caption=words.say("column.lost-rows")))
    return Section("looks", paragraphs, tables=tables, folded=True)


def _table_of(
    looks: Looks, chosen: Sequence[Look], columns: str, csv: str, words: Language
) -> TextTable:
    """A table of rows with their pictures; columns of class, row, other and value, as they are."""
    other = "row_b" in columns or "suggested" in columns
    rows = []
    for look in chosen:
        middle = [short(look.other, 48)] if other else []
        rows.append([short(look.label), short(look.name, 48), *middle, look.value])
    titles = _titles(words)
    found = table(words, columns, rows, csv=csv, titles=titles)
    places = [(look.picture, look.other_picture) for look in chosen]
    return _pictured(found, "rows", looks.thumbnails, places, 2)


def _titles(words: Language) -> dict[str, str]:
    return {"row_a": words.say("column.row-a"), "row_b": words.say("column.row-b")}


def _pictured(
    given: TextTable,
    name: str,
    thumbnails: Sequence[str],
    places: Sequence[tuple[int | None, int | None]],
    second: int,
) -> TextTable:
    """The table with pictures beside its second column and the one that names the other row."""
    of_cell: dict[tuple[int, int], int | None] = {}
    for number, (one, other) in enumerate(places):
        of_cell |= {(number, 1): one, (number, second): other}
    return replace(given, pictures=Pictures(name, thumbnails, of_cell)) if thumbnails else given


def spectrum_section(report: Content, words: Language) -> Section | None:
    """How many dimensions the spread inside the classes takes."""
    spectra = [(case.name, drawn.spectrum) for case, drawn in _shown(report)]
    return charted("spectrum", spectrum_chart(spectra, words), [words.say("intro.spectrum")])
