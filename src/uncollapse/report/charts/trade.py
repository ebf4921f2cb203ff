"""A pilot's settings: what each gains, and finer label against training label."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from uncollapse.report.charts import look
from uncollapse.report.charts.look import Row, Spec
from uncollapse.report.language import Language


def trial_chart(trials: Sequence[Row], least: float | None, words: Language) -> Spec | None:
    """Gain of each trial over the start with its interval, hollow where it has none.

    Rows hold "name", "role", "called", "estimate", "low", "high" (points) and "task"; vertical
    lines stand at no gain and at the least gain (points).
    """
    if not trials:
        return None
    order = look.ordered(trials, "name")
    x = alt.X("estimate:Q").title(words.say("axis.gain")).axis(format="+~r", tickCount=6)
    x = x.scale(zero=True)
    y, colour = alt.Y("name:N").title(None).sort(order), look.role_colour(trials, words)
    tip = look.tooltips(
        words,
        ("name:N", "column.change"),
        ("estimate:Q", "column.gain", "+.1f"),
        ("low:Q", "page.interval", "+.1f"),
        ("high:Q", "page.interval", "+.1f"),
        ("task:Q", "column.task", ".1%"),
    )
    base = alt.Chart(alt.Data(values=trials)).encode(y=y, color=colour)
    ends = alt.X("low:Q", title=words.say("axis.gain"))
    layers = [base.mark_rule(strokeWidth=2).encode(x=ends, x2="high:Q")]
    for known in (True, False):
        rows = [row for row in trials if (row["low"] is not None) == known]
        dots = alt.Chart(alt.Data(values=rows)).encode(y=y, color=colour, x=x, tooltip=tip)
        layers.append(dots.mark_point(filled=known, size=60, opacity=1, strokeWidth=1.8))
    lines = [{"estimate": 0.0}, *([] if not least else [{"estimate": least}])]
    rule = alt.Chart(alt.Data(values=lines)).mark_rule(color=look.INK)
    dash = alt.condition("datum.estimate == 0", alt.value([1, 0]), alt.value([5, 4]))
    layers.insert(0, rule.encode(x=x, strokeDash=dash))
    height = 40 + 19 * len(order)
    return look.finished(alt.layer(*layers), description=words.say("section.pilot"), height=height)


def trade_chart(points: Sequence[Row], words: Language) -> Spec | None:
    """A dot for each setting at each layer, hollow where it cannot be deployed; a line: the front.

    Rows hold "name", "short", "role", "called", "layer", "objective" and "task" with their
    intervals ("objective_low" ...), "deployable" and "front". Those that a decision is about have
    their names and intervals beside them.
    """
    if len(points) < 2:
        return None
    x = alt.X("task:Q").title(words.say("column.task")).axis(format="%", tickCount=6)
    y = alt.Y("objective:Q").title(words.say("axis.objective")).axis(format="%", tickCount=6)
    x, y = (
        axis.scale(zero=False, nice=False, domain=_domain(points, what))
        for axis, what in ((x, "task"), (y, "objective"))
    )
    colour = look.role_colour(points, words)
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
    marked = _marked(points)
    known = alt.Chart(alt.Data(values=marked)).mark_rule(strokeWidth=1, opacity=0.7)
    low, high = (alt.X(f"task_{end}:Q").title(words.say("column.task")) for end in ("low", "high"))
    layers.append(known.encode(x=low, x2=alt.X2(high.shorthand), y=y, color=colour))
    low = alt.Y("objective_low:Q").title(words.say("axis.objective"))
    layers.append(known.encode(y=low, y2="objective_high:Q", x=x, color=colour))
    layers += [
        alt.Chart(alt.Data(values=[row]))
        .mark_text(align=align, dy=-12 if place % 2 else 14, fontSize=11, fontWeight=600)
        .encode(x=x, y=y, text="short:N", color=alt.value(look.INK))
        for place, (row, align) in enumerate(_aligned(marked, points))
    ]
    chart = alt.layer(*layers)
    return look.finished(chart, description=words.say("section.trade"), height=look.TALL)


def _marked(points: Sequence[Row], most: int = 6) -> list[Row]:
    """The start, what is recommended and the ends and middle of the front, from left to right."""
    first = [row for row in points if row["role"] in ("start", "recommended")]
    front = sorted((r for r in points if r["front"] and r not in first), key=lambda r: r["task"])
    step = max(1, -(-len(front) // max(1, most - len(first))))
    return sorted([*first, *front[::step]], key=lambda row: row["task"])


def _domain(points: Sequence[Row], what: str) -> list[float]:
    """From the least to the most of dots and intervals, with some room, and never above 1."""
    marked = _marked(points)
    ends = [row[what] for row in points]
    ends += [row[f"{what}_{end}"] for row in marked for end in ("low", "high")]
    known = [end for end in ends if end is not None]
    room = 0.06 * (max(known) - min(known)) or 0.01
    return [min(known) - room, min(1.0, max(known) + room)]


def _aligned(marked: Sequence[Row], points: Sequence[Row]) -> list[tuple[Row, str]]:
    """Each with the side of its dot on which its name has room."""
    tasks = [row["task"] for row in points]
    low, high = min(tasks), max(tasks)
    places = [(row["task"] - low) / ((high - low) or 1.0) for row in marked]
    aligns = ["left" if p < 0.3 else "right" if p > 0.7 else "center" for p in places]
    return list(zip(marked, aligns, strict=True))
