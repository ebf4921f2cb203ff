"""Charts of what was measured: variance of each class, levels, probes, training, trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from uncollapse.records import Measurement
from uncollapse.report.charts import look
from uncollapse.report.charts.look import Row, Spec
from uncollapse.report.decide import lookup
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short

_TICKS = [0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]
_PARTS = {"between": "#8c959f", "instance": "#0072B2", "within": "#0072B2", "view": "#E69F00"}


def least_classes(rows: Sequence[lookup.ClassRow]) -> list[lookup.ClassRow]:
    """Those of the classes with the least variance."""
    least: dict[str, float] = {}
    for row in rows:
        name = short(row.measured.label)
        least[name] = min(least.get(name, float("inf")), row.rank)
    shown = set(sorted(least, key=lambda name: least[name])[: lookup.MOST_CLASSES])
    return [row for row in rows if short(row.measured.label) in shown]


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


def variance_chart(rows: Sequence[lookup.ClassRow], views: bool, words: Language) -> Spec | None:
    """Dots with intervals and ticks of the prediction, a line for each of `least_classes`."""
    if not rows:
        return None
    data = [
        {
            "case": short(row.case.name, 40),
            "class": short(row.measured.label),
            "rows": row.measured.count,
            **{end: row.value[end] for end in ("estimate", "low", "high")},
            "predicted": row.predicted,
            "share": row.measured.share.estimate,
            "verdict": row.measured.verdict,
        }
        for row in rows
    ]
    names, classes = look.ordered(data, "case"), look.ordered(data, "class")
    title = words.say("axis.instance" if views else "axis.within")
    ends = [n for row in rows for n in (row.value.estimate, row.value.high, row.predicted)]
    most = max([0.01, *(end for end in ends if end is not None)])
    ticks = [t for t in _TICKS if t == 0 or most / 150 <= t <= most]
    x = alt.X("estimate:Q").title(title).axis(values=ticks, format="~g")
    x = x.scale(type="sqrt", nice=False, zero=True, domainMax=1.03 * most)
    tip = look.tooltips(
        words,
        ("class:N", "column.class", ""),
        ("case:N", "column.run", ""),
        ("rows:Q", "column.rows", ",d"),
        ("estimate:Q", "column.measured", ".3~g"),
        ("low:Q", "column.interval", ".3~g"),
        ("high:Q", "column.interval", ".3~g"),
        ("predicted:Q", "column.predicted", ".3~g"),
    )
    base, layers = _interval_dots(data, alt.Y("class:N").sort(classes), x, names, words, tip)
    if any(row.predicted is not None for row in rows):
        tick = base.mark_tick(thickness=3, size=max(8, 16 // len(names) + 4), orient="vertical")
        layers.append(tick.encode(x=alt.X("predicted:Q", title=title), tooltip=tip))
    height = 60 + len(classes) * (14 + 14 * len(names))
    description = words.say("section.variance") + words.say("format.colon") + title
    return look.finished(alt.layer(*layers), description=description, height=height)


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
    y = alt.Y("name:N").sort(order).axis(labelLimit=260)
    height = 50 + len(order) * (12 + 12 * len(names))
    _, layers = _interval_dots(rows, y, x, names, words, tip)
    return look.finished(alt.layer(*layers), description=title, height=height)


def _level_data(name: str, measurement: Measurement, words: Language) -> list[Row]:
    """Parts of the variance as shares, measured and predicted."""
    parts = (
        ("between", "instance", "view") if lookup.has_views(measurement) else ("between", "within")
    )
    prediction = measurement.prediction
    bars = {"measured": {part: measurement[lookup.LEVELS[part]].estimate for part in parts}}
    if prediction is not None:
        bars["predicted"] = {part: lookup.predicted_level(prediction, part) for part in parts}
        if (network := prediction.network) is not None:
            bars["network"] = {
                "between": network.between_class_variance.estimate,
                "within": network.within_class_variance.estimate,
            }
    rows: list[Row] = []
    for title, numbers in bars.items():
        kept = {part: max(0.0, number or 0.0) for part, number in numbers.items()}
        total = sum(kept.values()) or 1.0
        bar = words.say(f"page.{title}") + (f" · {name}" if name else "")
        for order, (part, number) in enumerate(numbers.items()):
            row = {"bar": bar, "part": words.say(f"level.{part}"), "share": kept[part] / total}
            rows.append(row | {"value": number, "order": order})
    return rows


def level_chart(cases: Sequence[Case], layer: str | None, words: Language) -> Spec | None:
    """Stacked bars of the shares of the total variance."""
    rows: list[Row] = []
    for case, measurement in lookup.judged_cases(cases, layer):
        rows += _level_data(short(case.name, 40) if len(cases) > 1 else "", measurement, words)
    if not rows:
        return None
    bars, parts = look.ordered(rows, "bar"), look.ordered(rows, "part")
    colours = {words.say(f"level.{part}"): colour for part, colour in _PARTS.items()}
    part = alt.Color("part:N").title(None)
    x = alt.X("share:Q").title(words.say("axis.share")).axis(format="%", tickCount=5)
    chart = alt.Chart(alt.Data(values=rows)).mark_bar(stroke="white", strokeWidth=1)
    chart = chart.encode(
        y=alt.Y("bar:N").title(None).sort(bars),
        x=x.scale(domain=[0, 1]),
        color=part.scale(domain=parts, range=[colours[name] for name in parts]),
        order="order:Q",
        tooltip=look.tooltips(
            words,
            ("bar:N", "column.run"),
            ("part:N", "legend.part"),
            ("share:Q", "column.share", ".1%"),
            ("value:Q", "legend.variance", ".3~g"),
        ),
    )
    return look.finished(chart, description=words.say("section.levels"), height=40 + 34 * len(bars))


def training_chart(cases: Sequence[Case], layer: str | None, words: Language) -> Spec | None:
    """Share of the variance and what is read inside a class, over the epochs."""
    at = layer or "projector"
    titles = {f"{at}/share": "quantity.share", f"{at}/within_class": "column.readable"}
    rows: list[Row] = [
        {
            "case": short(case.name, 40),
            "epoch": line.epoch,
            "what": words.say(title),
            "value": line.numbers[name],
        }
        for case in cases
        for line in case.history
        for name, title in titles.items()
        if name in line.numbers
    ]
    if len(look.ordered(rows, "epoch")) < 2:
        return None
    both = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("epoch:Q").title(words.say("axis.epoch")).axis(tickMinStep=1).scale(zero=True),
        y=alt.Y("value:Q").title(None).axis(format="%").scale(zero=True),
        color=look.sides(look.ordered(rows, "case"), words),
        tooltip=look.tooltips(
            words,
            ("case:N", "column.run"),
            ("epoch:Q", "axis.epoch"),
            ("what:N", "column.measure"),
            ("value:Q", "column.value", ".1%"),
        ),
    )
    # Points in a layer of their own: with the line's own points the legend shows no dashes.
    dash = alt.StrokeDash("what:N").title(None).sort(look.ordered(rows, "what"))
    dash = dash.legend(symbolType="stroke", symbolStrokeColor=look.GREY, symbolSize=300)
    lines = both.mark_line(strokeWidth=2).encode(strokeDash=dash)
    chart = lines + both.mark_point(filled=True, opacity=1)
    return look.finished(chart, description=words.say("section.training"), height=240)


def trial_chart(trials: Sequence[Row], seeds: Sequence[Row], words: Language) -> Spec | None:
    """Predicted variance against the objective; single seeds as small dots.

    Rows hold "name", "trial", "role", "predicted", "objective" (None without runs) and "task".
    """
    means = [row for row in trials if row["objective"] is not None]
    if not means:
        return None
    x = alt.X("predicted:Q").title(words.say("axis.predicted-variance"))
    x = x.axis(tickCount=6, format="~g")
    y = alt.Y("objective:Q").title(words.say("axis.objective"))
    y = y.axis(format="%", tickCount=6).scale(zero=False, padding=14)
    kinds = look.ordered(trials, "role")
    colour = alt.Color("role:N").title(None).scale(domain=kinds, range=look.SIDES[: len(kinds)])
    tip = look.tooltips(
        words,
        ("name:N", "column.change"),
        ("predicted:Q", "axis.predicted-variance", ".3~g"),
        ("objective:Q", "axis.objective", ".1%"),
        ("task:Q", "column.task", ".1%"),
    )
    dots = [
        alt.Chart(alt.Data(values=seeds)).mark_point(filled=True, size=18, opacity=0.7),
        alt.Chart(alt.Data(values=means)).mark_point(
            filled=True, size=110, opacity=1, stroke="white"
        ),
    ]
    # Names stand above and below their dots in turn, so that neighbours meet less often.
    ranked = sorted(means, key=lambda row: row["predicted"])
    names = [
        alt.Chart(alt.Data(values=ranked[side::2])).mark_text(
            align="left", dx=6, dy=dy, fontSize=11
        )
        for side, dy in ((0, -12), (1, 14))
    ]
    chart = alt.layer(
        *(layer.encode(x=x, y=y, color=colour, tooltip=tip) for layer in dots),
        *(layer.encode(x=x, y=y, text="trial:N") for layer in names),
    )
    return look.finished(chart, description=words.say("section.pilot"), height=300)
