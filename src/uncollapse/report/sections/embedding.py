"""The sections that show the rows of the embedding: its picture and its spectrum."""

from __future__ import annotations

from typing import Any

from uncollapse.report.charts import rows as charts_rows
from uncollapse.report.decide.lookup import judged
from uncollapse.report.inputs_model import Case, Points
from uncollapse.report.language import Language, short
from uncollapse.report.record import Content
from uncollapse.report.sections.section import Figure, Section, charted, section

__all__ = ["picture_section", "spectrum_section"]


def _points(case: Case, layer: str | None) -> Points | None:
    one = judged(case, layer)
    for wanted in (layer, one.layer if one else None, "projector"):
        if wanted is not None and wanted in case.points:
            return case.points[wanted]
    return next(iter(case.points.values()), None)


def picture_section(
    report: Content, words: Language, most: int, data: dict[str, list[dict[str, Any]]]
) -> Section | None:
    """Both projections of the first and the last case; their rows go into `data`."""
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
    found_section = section("picture", words)
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
            found_section.figures.append(Figure(f"picture-{number}-{int(inside)}", title, spec))
    first = shown[0][1]
    drawn = min(most, len(first.x))
    layer = words.word("layer", first.layer) if first.layer else ""
    text = words.say("intro.picture", drawn=drawn, rows=first.rows, seed=first.seed)
    found_section.paragraphs = [text, *([layer] if layer else [])]
    if any(case.runs for case, _ in shown):
        names = words.listed([case.each[0].name for case, _ in shown])
        found_section.paragraphs.append(words.say("intro.picture-one-run", names=names))
    return found_section


def spectrum_section(report: Content, words: Language) -> Section | None:
    """Eigenvalues inside classes, of the first and the last case."""
    shown = [(case.name, f.spectrum) for case in report.sides if (f := _points(case, report.layer))]
    return charted("spectrum", words, charts_rows.spectrum_chart(shown, words))
