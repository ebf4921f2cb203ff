"""Finer label against training label: what each setting keeps, and what it was trained for."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from uncollapse.report.charts import look
from uncollapse.report.charts.look import Row, Spec
from uncollapse.report.language import Language


def trade_chart(points: Sequence[Row], words: Language) -> Spec | None:
    """A dot for each setting at each layer, hollow where it cannot be deployed; a line: the front.

    Rows hold "name", "short", "role", "layer", "objective", "task", "deployable" and "front".
    """
    if len(points) < 2:
        return None
    x = alt.X("task:Q").title(words.say("column.task")).axis(format="%", tickCount=6)
    y = alt.Y("objective:Q").title(words.say("axis.objective")).axis(format="%", tickCount=6)
    x, y = (axis.scale(zero=False, padding=14) for axis in (x, y))
    kinds = look.ordered(points, "role")
    colour = alt.Color("role:N").title(None).scale(domain=kinds, range=look.SIDES[: len(kinds)])
    tip = look.tooltips(
        words,
        ("name:N", "column.change"),
        ("layer:N", "column.layer"),
        ("objective:Q", "axis.objective", ".1%"),
        ("task:Q", "column.task", ".1%"),
        ("place:N", "column.deployable"),
    )
    front = alt.Chart(alt.Data(values=[row for row in points if row["front"]]))
    layers = [front.mark_line(color=look.GREY, strokeWidth=1.5).encode(x=x, y=y, order="task:Q")]
    for deployable in (True, False):
        rows = [row for row in points if row["deployable"] == deployable]
        dots = alt.Chart(alt.Data(values=rows))
        dots = dots.mark_point(filled=deployable, size=90, opacity=1, strokeWidth=1.8)
        layers.append(dots.encode(x=x, y=y, color=colour, tooltip=tip))
    ranked = sorted(points, key=lambda row: row["task"])
    for side, dy in ((0, -12), (1, 14)):
        # Names stand above and below their dots in turn, so that neighbours meet less often.
        names = alt.Chart(alt.Data(values=ranked[side::2]))
        names = names.mark_text(align="left", dx=6, dy=dy, fontSize=11)
        layers.append(names.encode(x=x, y=y, text="short:N", color=colour))
    chart = alt.layer(*layers)
    return look.finished(chart, description=words.say("section.trade"), height=340)
