"""The chart of the phase diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from uncollapse.report.charts.base import AFTER, BEFORE, finished, values
from uncollapse.report.decide.phase import EXPONENT, Mark, PhaseDiagram
from uncollapse.report.language import Language, short

__all__ = ["phase_chart"]

_TICKS = [0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]


def phase_chart(diagram: PhaseDiagram, marks: Sequence[Mark], words: Language) -> dict[str, Any]:
    """Cells by predicted variance, grey where collapsed, with the threshold and the marks."""
    x, y = _scales(diagram, words)
    tip = [
        alt.Tooltip("alpha:Q", title=words.say("column.alpha")),
        alt.Tooltip("tau:Q", title=words.say("column.tau")),
        alt.Tooltip("variance:Q", title=words.say("legend.variance")),
        alt.Tooltip("phrase:N", title=words.say("legend.phase")),
    ]
    cells = _named_cells(diagram, words)
    layers = [*_cells(cells, words, x, y, tip), *_threshold(diagram, x, y)]
    layers += _marks(marks, words, x, y)
    description = words.say("section.phase")
    spec = finished(
        alt.layer(*layers).resolve_scale(color="independent", shape="independent"),
        description=description,
        height=360,
    )
    # Given by name and put in here: what is not in the chart need not be validated row by row.
    return spec | {"datasets": {**spec.get("datasets", {}), **cells}}


def _scales(diagram: PhaseDiagram, words: Language) -> tuple[alt.X, alt.Y]:
    low = min(cell["tau0"] for cell in diagram.cells)
    high = max(cell["tau1"] for cell in diagram.cells)
    ticks = [t for t in (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low <= t <= high]
    x = alt.X(
        "alpha0:Q",
        title=words.say("axis.alpha"),
        scale=alt.Scale(type="pow", exponent=EXPONENT, domain=[0, 1], nice=False),
        axis=alt.Axis(values=_TICKS, grid=False, format="~g"),
    )
    y = alt.Y(
        "tau0:Q",
        title=words.say("axis.tau"),
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=ticks, grid=False, format="~g"),
    )
    return x, y


_ILL = {"collapse": "#b8bec5", "view-splitting": "#dfe3e8"}


def _named_cells(diagram: PhaseDiagram, words: Language) -> dict[str, list[dict[str, Any]]]:
    """Cells by data set: those that spread, and the others."""
    found: dict[str, list[dict[str, Any]]] = {"spread": [], "ill": []}
    for cell in diagram.cells:
        phase = cell["phase"]
        short_phase = words.word("phase-short", phase)
        row = _overlapping(cell) | {"phrase": words.say(f"phase.{phase}"), "short": short_phase}
        found["spread" if phase == "spread" else "ill"].append(row)
    return found


def _cells(
    cells: dict[str, list[dict[str, Any]]],
    words: Language,
    x: alt.X,
    y: alt.Y,
    tip: list[alt.Tooltip],
) -> list[Any]:
    """A layer for each of the two data sets that is not empty, the grey one below."""
    present = [name for name in _ILL if any(cell["phase"] == name for cell in cells["ill"])]
    names = [words.word("phase-short", name) for name in present]
    colours = {
        "ill": alt.Color(
            "short:N",
            title=words.say("legend.phase"),
            scale=alt.Scale(domain=names, range=[_ILL[name] for name in present]),
        ),
        "spread": alt.Color(
            "variance:Q",
            title=words.say("axis.predicted-variance"),
            scale=alt.Scale(scheme="tealblues", domainMin=0),
            legend=alt.Legend(gradientLength=160, format=".2~f", tickCount=4),
        ),
    }
    return [
        alt.Chart(alt.NamedData(name=name))
        .mark_rect(clip=True)
        .encode(x=x, x2="alpha1:Q", y=y, y2="tau1:Q", color=colour, tooltip=tip)
        for name, colour in colours.items()
        if cells[name]
    ]


def _overlapping(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell that reaches a little under the next ones, so that no seams are seen between them."""
    wider = cell["alpha1"] + 0.08 * (cell["alpha1"] - cell["alpha0"])
    higher = cell["tau1"] * (cell["tau1"] / cell["tau0"]) ** 0.08
    return cell | {"alpha1": float(f"{wider:.4g}"), "tau1": float(f"{higher:.4g}")}


def _threshold(diagram: PhaseDiagram, x: alt.X, y: alt.Y) -> list[Any]:
    if not diagram.threshold:
        return []
    rows = [{"tau0": tau, "alpha0": alpha} for tau, alpha in diagram.threshold]
    line = alt.Chart(values(rows)).mark_line(color="#1b1f24", strokeWidth=1.5, clip=True)
    return [line.encode(x=x, y=y, order="tau0:Q")]


def _marks(marks: Sequence[Mark], words: Language, x: alt.X, y: alt.Y) -> list[Any]:
    if not marks:
        return []
    colours = {"before": BEFORE, "after": AFTER, "recommended": "#6E3B8E"}
    shapes = {"before": "circle", "after": "square", "recommended": "diamond"}
    rows: list[dict[str, Any]] = [
        {
            "alpha0": mark.alpha,
            "tau0": mark.tau,
            "name": short(mark.name, 40),
            "role": mark.role,
            "variance": mark.variance,
        }
        for mark in marks
    ]
    base = alt.Chart(values(rows)).encode(x=x, y=y)
    roles = list(colours)
    tip = [
        alt.Tooltip("name:N", title=words.say("column.run")),
        alt.Tooltip("alpha0:Q", title=words.say("column.alpha")),
        alt.Tooltip("tau0:Q", title=words.say("column.tau")),
        alt.Tooltip("variance:Q", title=words.say("legend.variance"), format=".3~g"),
    ]
    points = base.mark_point(
        filled=True, size=190, stroke="white", strokeWidth=2, opacity=1
    ).encode(
        color=alt.Color(
            "role:N", legend=None, scale=alt.Scale(domain=roles, range=list(colours.values()))
        ),
        shape=alt.Shape(
            "role:N", legend=None, scale=alt.Scale(domain=roles, range=list(shapes.values()))
        ),
        tooltip=tip,
    )
    found: list[Any] = [points]
    for number, row in enumerate(rows):
        # The label lies on the side where there is room, and one above the other where they meet.
        right = row["alpha0"] < 0.35
        place = {"align": "left" if right else "right", "dx": 13 if right else -13}
        place["dy"] = -14 if number % 2 else 14
        one = alt.Chart(values([row])).encode(x=x, y=y, text="name:N")
        text = {"fontSize": 12, "fontWeight": 600, "baseline": "middle", **place}
        found.append(one.mark_text(stroke="white", strokeWidth=4, strokeJoin="round", **text))
        found.append(one.mark_text(color="#1b1f24", **text))
    return found
