"""The chart of the phase diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from uncollapse.report.charts.look import AFTER, BEFORE, INK, Row, Spec, finished, tooltips
from uncollapse.report.decide.phase import EXPONENT, Mark, PhaseDiagram
from uncollapse.report.language import Language, short

# Where things stand: the encodings x and y.
Axes = dict[str, Any]

_ALPHA_TICKS = [0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]
_TAU_TICKS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
_ILL = {"collapse": "#b8bec5", "view-splitting": "#dfe3e8"}
# Colour and shape of a mark.
_ROLES = {
    "before": (BEFORE, "circle"),
    "after": (AFTER, "square"),
    "recommended": ("#6E3B8E", "diamond"),
}


def phase_chart(diagram: PhaseDiagram, marks: Sequence[Mark], words: Language) -> Spec:
    """Cells by predicted variance, grey where collapsed, with the threshold and the marks."""
    axes = _axes(diagram, words)
    cells = _named_cells(diagram, words)
    layers = [*_cells(cells, words, axes), *_threshold(diagram, axes), *_marks(marks, words, axes)]
    chart = alt.layer(*layers).resolve_scale(color="independent", shape="independent")
    spec = finished(chart, description=words.say("section.phase"), height=360)
    # Given by name and put in here: what is not in the chart need not be validated row by row.
    return spec | {"datasets": {**spec.get("datasets", {}), **cells}}


def _axes(diagram: PhaseDiagram, words: Language) -> Axes:
    low, high = min(cell.tau0 for cell in diagram.cells), max(cell.tau1 for cell in diagram.cells)
    ticks = [t for t in _TAU_TICKS if low <= t <= high]
    x = alt.X("alpha0:Q").title(words.say("axis.alpha"))
    x = x.axis(values=_ALPHA_TICKS, grid=False, format="~g")
    y = alt.Y("tau0:Q").title(words.say("axis.tau")).axis(values=ticks, grid=False, format="~g")
    x = x.scale(type="pow", exponent=EXPONENT, domain=[0, 1], nice=False)
    return {"x": x, "y": y.scale(type="log", domain=[low, high], nice=False)}


def _named_cells(diagram: PhaseDiagram, words: Language) -> dict[str, list[Row]]:
    """Cells by data set: those that spread, and the others."""
    cells: dict[str, list[Row]] = {"spread": [], "ill": []}
    for cell in diagram.cells:
        # It reaches a little under the next ones, so that no seams are seen between them.
        wider = cell.alpha1 + 0.08 * (cell.alpha1 - cell.alpha0)
        higher = cell.tau1 * (cell.tau1 / cell.tau0) ** 0.08
        row = cell.to_dict() | {
            "alpha1": float(f"{wider:.4g}"),
            "tau1": float(f"{higher:.4g}"),
            "phrase": words.say(f"phase.{cell.phase}"),
            "short": words.word("phase-short", cell.phase),
        }
        cells["spread" if cell.phase == "spread" else "ill"].append(row)
    return cells


def _cells(cells: dict[str, list[Row]], words: Language, axes: Axes) -> list[Any]:
    """A layer for each of the two data sets that is not empty, the grey one below."""
    present = [name for name in _ILL if any(cell["phase"] == name for cell in cells["ill"])]
    names = [words.word("phase-short", name) for name in present]
    ill = alt.Color("short:N").title(words.say("legend.phase"))
    ill = ill.scale(domain=names, range=[_ILL[name] for name in present])
    spread = alt.Color("variance:Q").title(words.say("axis.predicted-variance"))
    spread = spread.scale(scheme="tealblues", domainMin=0)
    spread = spread.legend(gradientLength=160, format=".2~f", tickCount=4)
    tip = tooltips(
        words,
        ("alpha:Q", "column.alpha"),
        ("tau:Q", "column.tau"),
        ("variance:Q", "legend.variance"),
        ("phrase:N", "legend.phase"),
    )
    return [
        alt.Chart(alt.NamedData(name=name))
        .mark_rect(clip=True)
        .encode(**axes, x2="alpha1:Q", y2="tau1:Q", color=colour, tooltip=tip)
        for name, colour in (("ill", ill), ("spread", spread))
        if cells[name]
    ]


def _threshold(diagram: PhaseDiagram, axes: Axes) -> list[Any]:
    if not diagram.threshold:
        return []
    rows = [{"tau0": tau, "alpha0": alpha} for tau, alpha in diagram.threshold]
    line = alt.Chart(alt.Data(values=rows)).mark_line(color=INK, strokeWidth=1.5, clip=True)
    return [line.encode(**axes, order="tau0:Q")]


def _marks(marks: Sequence[Mark], words: Language, axes: Axes) -> list[Any]:
    rows = [
        {"alpha0": mark.alpha, "tau0": mark.tau, "name": short(mark.name, 40)}
        | {"role": mark.role, "variance": mark.variance}
        for mark in marks
    ]
    tip = tooltips(
        words,
        ("name:N", "column.run"),
        ("alpha0:Q", "column.alpha"),
        ("tau0:Q", "column.tau"),
        ("variance:Q", "legend.variance", ".3~g"),
    )
    roles, (colours, shapes) = list(_ROLES), map(list, zip(*_ROLES.values(), strict=True))
    colour = alt.Color("role:N").legend(None).scale(domain=roles, range=colours)
    shape = alt.Shape("role:N").legend(None).scale(domain=roles, range=shapes)
    points = alt.Chart(alt.Data(values=rows)).mark_point(
        filled=True, size=190, stroke="white", strokeWidth=2, opacity=1
    )
    layers: list[Any] = [points.encode(**axes, color=colour, shape=shape, tooltip=tip)]
    for number, mark in enumerate(marks):
        # The label lies on the side where there is room, and one above the other where they meet.
        left = mark.alpha < 0.35
        text = {"align": "left" if left else "right", "dx": 13 if left else -13}
        text |= {"fontSize": 12, "fontWeight": 600, "baseline": "middle"}
        text["dy"] = -14 if number % 2 else 14
        label = alt.Chart(alt.Data(values=[rows[number]])).encode(**axes, text="name:N")
        layers.append(label.mark_text(stroke="white", strokeWidth=4, strokeJoin="round", **text))
        layers.append(label.mark_text(color=INK, **text))
    return layers
