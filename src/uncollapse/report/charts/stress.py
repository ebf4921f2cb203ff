"""Doses and what is left under them, measured beside predicted."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from uncollapse.report.charts import look
from uncollapse.report.charts.look import Row, Spec
from uncollapse.report.language import Language

_COLOURS = (look.BEFORE, look.AFTER, look.PREDICTED)


def dose_chart(rows: Sequence[Row], axis: str, name: str, words: Language) -> Spec:
    """A dot with its interval for each dose and quantity, the doses of a damage joined by a line.

    Rows hold "name", "curve", "quantity", "estimate", "low" and "high", doses in their order.
    """
    quantities = look.ordered(rows, "quantity")
    colour = alt.Color("quantity:N").title(None)
    colour = colour.scale(domain=quantities, range=list(_COLOURS[: len(quantities)]))
    x = alt.X("name:N").title(None).sort(look.ordered(rows, "name"))
    x = x.axis(labelAngle=-40, labelOverlap=False)
    y = alt.Y("estimate:Q").title(words.say(axis)).axis(tickCount=6).scale(zero=False)
    tip = look.tooltips(
        words,
        ("name:N", "column.dose"),
        ("quantity:N", "column.quantity"),
        ("estimate:Q", "column.value", ".3f"),
        ("low:Q", "page.interval", ".3f"),
        ("high:Q", "page.interval", ".3f"),
    )
    base = alt.Chart(alt.Data(values=list(rows))).encode(x=x, color=colour)
    low = alt.Y("low:Q").title(words.say(axis))
    layers = [
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(y=y, detail="curve:N"),
        base.transform_filter("datum.low !== null")
        .mark_rule(strokeWidth=2)
        .encode(y=low, y2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, tooltip=tip),
    ]
    return look.finished(
        alt.layer(*layers), description=words.say(f"section.{name}"), height=look.TALL
    )
