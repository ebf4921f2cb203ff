"""The chart of the phase diagram: alpha across, temperature up, as everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from uncollapse.report.charts import look
from uncollapse.report.charts.look import Row, Spec, tooltips
from uncollapse.report.decide.phase import EXPONENT, Mark, PhaseDiagram
from uncollapse.report.language import Language

# Where things stand: the encodings x and y.
Axes = dict[str, Any]

_ALPHA_TICKS = [0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]
_TAU_TICKS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
_ILL = {"collapse": "#b8bec5", "view-splitting": "#e4e7eb"}
_SHAPES = {"before": "circle", "after": "square", "recommended": "diamond"}


def cell_rows(diagram: PhaseDiagram, words: Language) -> list[Row]:
    """What a cell of the diagram needs, apart from what its edges say."""
    rows: list[Row] = []
    for cell in diagram.cells:
        # It reaches a little under the next ones, so that no seams are seen between them.
        wider = cell.alpha1 + 0.08 * (cell.alpha1 - cell.alpha0)
        higher = cell.tau1 * (cell.tau1 / cell.tau0) ** 0.08
        rows.append(
            {
                "alpha": cell.alpha,
                "alpha0": cell.alpha0,
                "alpha1": float(f"{wider:.4g}"),
                "tau": cell.tau,
                "tau0": cell.tau0,
                "tau1": float(f"{higher:.4g}"),
                "variance": cell.variance,
                "short": words.word("phase-short", cell.phase),
            }
        )
    return rows


def phase_chart(diagram: PhaseDiagram, marks: Sequence[Mark], data: str, words: Language) -> Spec:
    """Cells by predicted variance, grey where collapsed, with the threshold and the marks.

    `data` names the data set of `cell_rows`.
    """
    axes = _axes(diagram, words)
    cells = _cells(diagram, data, words, axes)
    layers = [*cells, *_threshold(diagram, axes), *_marks(marks, words, axes)]
    chart = alt.layer(*layers).resolve_scale(color="independent", shape="independent")
    return look.finished(chart, description=words.say("section.phase"), height=look.TALL)


def _axes(diagram: PhaseDiagram, words: Language) -> Axes:
    low, high = min(cell.tau0 for cell in diagram.cells), max(cell.tau1 for cell in diagram.cells)
    ticks = [t for t in _TAU_TICKS if low <= t <= high]
    x = alt.X("alpha0:Q").title(words.say("axis.alpha"))
    x = x.axis(values=_ALPHA_TICKS, grid=False, format="~g")
    y = alt.Y("tau0:Q").title(words.say("axis.tau")).axis(values=ticks, grid=False, format="~g")
    x = x.scale(type="pow", exponent=EXPONENT, domain=[0, 1], nice=False)
    return {"x": x, "y": y.scale(type="log", domain=[low, high], nice=False)}


def _cells(diagram: PhaseDiagram, data: str, words: Language, axes: Axes) -> list[Any]:
    """A layer of the cells that collapse, and one of those that spread, where there are any."""
    phases = {cell.phase for cell in diagram.cells}
    present = [name for name in _ILL if name in phases]
    names = [words.word("phase-short", name) for name in present]
    spread = words.word("phase-short", "spread")
    ill = alt.Color("short:N").title(None)
    ill = ill.scale(domain=names, range=[_ILL[name] for name in present])
    variance = alt.Color("variance:Q").title(words.say("axis.predicted-variance"))
    variance = variance.scale(scheme="cividis", domain=[0, 1])
    variance = variance.legend(gradientLength=160, format=".2~f", tickCount=4)
    tip = tooltips(
        words,
        ("alpha:Q", "column.alpha"),
        ("tau:Q", "column.tau"),
        ("variance:Q", "legend.variance"),
        ("short:N", "legend.phase"),
    )
    kept = {"ill": f"datum.short !== '{spread}'", "spread": f"datum.short === '{spread}'"}
    return [
        alt.Chart(alt.NamedData(name=data))
        .transform_filter(kept[name])
        .mark_rect(clip=True)
        .encode(**axes, x2="alpha1:Q", y2="tau1:Q", color=colour, tooltip=tip)
        for name, colour, there in (
            ("ill", ill, bool(present)),
            ("spread", variance, "spread" in phases),
        )
        if there
    ]


def _threshold(diagram: PhaseDiagram, axes: Axes) -> list[Any]:
    if not diagram.threshold:
        return []
    rows = [{"tau0": tau, "alpha0": alpha} for tau, alpha in diagram.threshold]
    line = alt.Chart(alt.Data(values=rows)).encode(**axes, order="tau0:Q")
    # Dark on a light rim: seen on every colour of the cells.
    return [
        line.mark_line(color="white", strokeWidth=4, clip=True),
        line.mark_line(color="black", strokeWidth=1.5, clip=True),
    ]


def _marks(marks: Sequence[Mark], words: Language, axes: Axes) -> list[Any]:
    rows = [
        {"alpha0": mark.alpha, "tau0": mark.tau, "name": words.case(mark.name)}
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
    colours = [look.ROLES[role] for role in _SHAPES]
    colour = alt.Color("role:N").legend(None).scale(domain=list(_SHAPES), range=colours)
    shape = alt.Shape("role:N").legend(None)
    shape = shape.scale(domain=list(_SHAPES), range=list(_SHAPES.values()))
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
        layers.append(label.mark_text(color="black", **text))
    return layers
