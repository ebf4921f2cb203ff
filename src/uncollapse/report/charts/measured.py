"""Charts of what was measured: shares with their margins, levels, probes, training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from uncollapse.report.charts import look
from uncollapse.report.charts.look import Row, Spec, clipped
from uncollapse.report.decide import lookup
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short
from uncollapse.statistics import mean_interval

_TICKS = [0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]
# Characters of a label beside a row of a chart.
MOST_LETTERS = 34


def _interval_dots(
    rows: Sequence[Row], y: alt.Y, x: alt.X, names: Sequence[str], words: Language, tip: list[Any]
) -> tuple[alt.Chart, list[Any]]:
    """A line for each thing and in it one for each case: a dot at the estimate, low to high.

    What they are drawn on comes first.
    """
    offset = alt.YOffset("case:N").sort(list(names))
    base = alt.Chart(alt.Data(values=rows))
    base = base.encode(y=y.title(None), yOffset=offset, color=look.sides(names, words))
    ends = alt.X("low:Q", title=x.to_dict()["title"])
    line = base.mark_rule(strokeWidth=2).encode(x=ends, x2="high:Q")
    dot = base.mark_point(filled=True, size=60, opacity=1).encode(x=x, tooltip=tip)
    return base, [line, dot]


def share_rows(rows: Sequence[lookup.ClassRow], words: Language) -> list[Row]:
    """Measured and predicted shares of classes as they are drawn, none of them below zero."""
    return [
        {
            "case": words.case(row.case.name),
            "name": short(row.measured.label, MOST_LETTERS),
            "rows": row.measured.count,
            **_drawn(row.measured.share),
            "predicted": row.predicted_share,
        }
        for row in rows
    ]


def _drawn(estimate: Any) -> dict[str, float | None]:
    return {end: clipped(estimate[end]) for end in ("estimate", "low", "high")}


def interval_chart(
    rows: Sequence[Row],
    words: Language,
    *,
    title: str,
    section: str,
    margins: Sequence[float] = (),
) -> Spec | None:
    """Dots with intervals, ticks of the prediction, and lines at the margins of the verdict.

    Rows hold "name", "case", "estimate", "low", "high" and "predicted", none below zero.
    """
    if not rows:
        return None
    names, things = look.ordered(rows, "case"), look.ordered(rows, "name")
    ends = [row[end] for row in rows for end in ("estimate", "high", "predicted")]
    most = max([0.01, *(end for end in ends if end is not None), *(1.2 * m for m in margins)])
    ticks = [t for t in _TICKS if t == 0 or most / 150 <= t <= most]
    x = alt.X("estimate:Q").title(title).axis(values=ticks, format="~g")
    x = x.scale(type="sqrt", nice=False, zero=True, domainMin=0, domainMax=1.03 * most)
    counted = [("rows:Q", "column.rows", ",d")] if "rows" in rows[0] else []
    tip = look.tooltips(
        words,
        ("name:N", "column.class" if counted else "column.quantity"),
        ("case:N", "column.run"),
        *counted,
        ("estimate:Q", "column.measured", ".3~g"),
        ("low:Q", "column.interval", ".3~g"),
        ("high:Q", "column.interval", ".3~g"),
        ("predicted:Q", "column.predicted", ".3~g"),
    )
    base, layers = _interval_dots(rows, alt.Y("name:N").sort(things), x, names, words, tip)
    if any(row["predicted"] is not None for row in rows):
        tick = base.mark_tick(thickness=3, size=max(8, 16 // len(names) + 4), orient="vertical")
        colour = alt.value(look.PREDICTED)
        layers.append(tick.encode(x=alt.X("predicted:Q", title=title), color=colour, tooltip=tip))
    layers += _foretold(rows, base, title, tip)
    lines = [{"estimate": margin} for margin in dict.fromkeys(margins)]
    if lines:
        rule = alt.Chart(alt.Data(values=lines)).mark_rule(strokeDash=[5, 4], color=look.INK)
        layers.insert(0, rule.encode(x=alt.X("estimate:Q", title=title)))
    height = 40 + len(things) * (12 + 11 * len(names))
    description = words.say(f"section.{section}") + words.say("format.colon") + title
    return look.finished(alt.layer(*layers), description=description, height=height)


def _foretold(rows: Sequence[Row], base: alt.Chart, title: str, tip: list[Any]) -> list[Any]:
    """What is predicted for a network like this, where it is: a diamond with its interval."""
    if all(row.get("network_estimate") is None for row in rows):
        return []
    colour = alt.value(look.PREDICTED)
    low, at = (alt.X(f"network_{end}:Q", title=title) for end in ("low", "estimate"))
    diamond = base.mark_point(shape="diamond", filled=False, size=90, opacity=1)
    return [
        base.mark_rule(strokeWidth=1).encode(x=low, x2="network_high:Q", color=colour),
        diamond.encode(x=at, color=colour, tooltip=tip),
    ]


def dot_chart(rows: Sequence[Row], names: Sequence[str], words: Language, *, title: str) -> Spec:
    """Shares with intervals: rows of "name", "case", "estimate", "low", "high"."""
    order = look.ordered(rows, "name")
    tip = look.tooltips(
        words,
        ("name:N", "column.quantity"),
        ("case:N", "column.run"),
        ("estimate:Q", "page.estimate", ".1%"),
        ("low:Q", "page.interval", ".1%"),
        ("high:Q", "page.interval", ".1%"),
    )
    x = alt.X("estimate:Q").title(words.say("axis.above-chance"))
    x = x.axis(format="%", tickCount=5).scale(zero=True)
    height = 50 + len(order) * (12 + 12 * len(names))
    _, layers = _interval_dots(rows, alt.Y("name:N").sort(order), x, names, words, tip)
    return look.finished(alt.layer(*layers), description=title, height=height)


def level_rows(cases: Sequence[Case], layer: str | None, words: Language) -> list[Row]:
    """Parts of the variance, measured and predicted, as they are drawn."""
    rows: list[Row] = []
    for case, measurement in lookup.judged_cases(cases, layer):
        views = lookup.has_views(measurement)
        for part in ("between", "instance", "view") if views else ("between", "within"):
            predicted = lookup.predicted_level(measurement.prediction, part)
            about = {"case": words.case(case.name), "name": words.say(f"level.{part}")}
            drawn = _drawn(measurement[lookup.LEVELS[part]])
            network = lookup.network_of(measurement.prediction)
            foretold = network and network.get(lookup.LEVELS[part])
            ends = {end: foretold and foretold[end] for end in ("estimate", "low", "high")}
            named = {f"network_{end}": value for end, value in ends.items()}
            rows.append(about | drawn | {"predicted": predicted} | named)
    return rows


def _epochs(case: Case, titles: dict[str, str], words: Language) -> list[Row]:
    """A row for each epoch and number; over several runs the mean with Student's interval."""
    rows: list[Row] = []
    for lines in zip(*(run.history for run in case.each), strict=False):
        for name, title in titles.items():
            if all(name in line.numbers for line in lines):
                mean = mean_interval([line.numbers[name] for line in lines])
                about = {"case": words.case(case.name), "epoch": lines[0].epoch}
                rows.append(about | {"what": words.say(title), **_drawn(mean)})
    return rows


def training_chart(cases: Sequence[Case], layer: str | None, words: Language) -> Spec | None:
    """Share of the variance and what is predicted inside a class, over the epochs."""
    at = layer or "projector"
    titles = {f"{at}/share": "quantity.share", f"{at}/within_class": "column.readable"}
    rows = [row for case in cases for row in _epochs(case, titles, words)]
    if len(look.ordered(rows, "epoch")) < 2:
        return None
    both = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("epoch:Q").title(words.say("axis.epoch")).axis(tickMinStep=1).scale(zero=True),
        y=alt.Y("estimate:Q").title(None).axis(format="%").scale(zero=True),
        color=look.sides(look.ordered(rows, "case"), words),
        tooltip=look.tooltips(
            words,
            ("case:N", "column.run"),
            ("epoch:Q", "axis.epoch"),
            ("what:N", "column.measure"),
            ("estimate:Q", "column.value", ".1%"),
            ("low:Q", "page.interval", ".1%"),
            ("high:Q", "page.interval", ".1%"),
        ),
    )
    # Points in a layer of their own: with the line's own points the legend shows no dashes.
    dash = alt.StrokeDash("what:N").title(None).scale(domain=look.ordered(rows, "what"))
    dash = dash.legend(symbolType="stroke", symbolStrokeColor=look.GREY, symbolSize=300)
    layers = [both.mark_line(strokeWidth=2).encode(strokeDash=dash)]
    if any(row["low"] is not None for row in rows):
        band = both.mark_area(opacity=0.18).encode(y=alt.Y("low:Q").title(None), y2="high:Q")
        layers.insert(0, band.encode(detail="what:N"))
    chart = alt.layer(*layers, both.mark_point(filled=True, opacity=1))
    return look.finished(chart, description=words.say("section.training"), height=240)
