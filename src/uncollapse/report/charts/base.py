"""Charts as Vega-Lite, by Altair: how they look, and those of one measurement or run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from uncollapse.report.decide.lookup import MOST_CLASSES, judged
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short

__all__ = [
    "AFTER",
    "BEFORE",
    "SIDES",
    "finished",
    "level_chart",
    "rows_of_classes",
    "training_chart",
    "variance_chart",
]

# Okabe and Ito (2008): told apart by the colour-blind, and by their lightness in grey print.
BEFORE, AFTER = "#D55E00", "#0072B2"
SIDES = [BEFORE, AFTER, "#009E73", "#CC79A7", "#56B4E9", "#E69F00"]
_FONT = (
    "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans JP', 'Hiragino Sans', 'Yu Gothic UI',"
    " 'Noto Sans CJK JP', Meiryo, sans-serif"
)
_INK, _GREY, _LINE = "#1b1f24", "#57606a", "#d8dee4"


def finished(chart: Any, *, description: str, height: int | None = None) -> dict[str, Any]:
    """A chart as a Vega-Lite specification that fills its place and says what it shows."""
    size: dict[str, Any] = {"width": "container", "description": description}
    if height is not None:
        size["height"] = height
    text = {"labelFont": _FONT, "titleFont": _FONT, "labelFontSize": 12, "titleFontSize": 12}
    chart = (
        chart.properties(**size)
        .configure(font=_FONT, background="white", padding=4)
        .configure_view(stroke=None)
        .configure_axis(
            **text,
            labelColor=_INK,
            titleColor=_GREY,
            titleFontWeight="normal",
            gridColor=_LINE,
            domainColor=_GREY,
            tickColor=_GREY,
            labelLimit=150,
        )
        .configure_legend(
            **text, titleColor=_GREY, titleFontWeight="normal", orient="top", labelLimit=220
        )
    )
    return dict(chart.to_dict())


def values(rows: Sequence[dict[str, Any]]) -> alt.Data:
    """Rows inside the specification."""
    return alt.Data(values=list(rows))


def sides(names: Sequence[str], words: Language) -> alt.Color:
    """A colour for each run, in their order."""
    scale = alt.Scale(domain=list(names), range=SIDES[: max(2, len(names))][: len(names)])
    if len(names) == 1:
        scale = alt.Scale(domain=list(names), range=[AFTER])
    legend = alt.Legend(title=None) if len(names) > 1 else None
    return alt.Color("case:N", scale=scale, legend=legend, title=words.say("legend.case"))


def _case_names(cases: Sequence[Case]) -> list[str]:
    return [short(case.name, 40) for case in cases]


def rows_of_classes(cases: Sequence[Case], layer: str | None) -> tuple[list[dict[str, Any]], int]:
    """Measured and predicted variance of each class, of those with the least; and all classes."""
    rows: list[dict[str, Any]] = []
    for case, name in zip(cases, _case_names(cases), strict=True):
        one = judged(case, layer)
        if one is None:
            continue
        found, prediction = one.found, one.found.prediction
        views = found.instance_variance.estimate is not None
        part = "instance_variance" if views else "within_class_variance"
        per_class = () if prediction is None else prediction[f"{part}_per_class"]
        fits = len(per_class) == len(found.classes)
        for number, entry in enumerate(found.classes):
            value = entry.instance_variance if views else entry.within_class_variance
            rows.append(
                {
                    "case": name,
                    "class": short(entry.label),
                    "rows": entry.count,
                    "estimate": value.estimate,
                    "low": value.low,
                    "high": value.high,
                    "predicted": per_class[number] if fits else None,
                    "share": entry.share.estimate,
                    "verdict": entry.verdict,
                }
            )
    least: dict[str, float] = {}
    for row in rows:
        known = float("inf") if row["estimate"] is None else row["estimate"]
        least[row["class"]] = min(least.get(row["class"], float("inf")), known)
    shown = set(sorted(least, key=lambda name: least[name])[:MOST_CLASSES])
    return [row for row in rows if row["class"] in shown], len(least)


def variance_chart(
    cases: Sequence[Case], layer: str | None, words: Language
) -> dict[str, Any] | None:
    """Dots with intervals and ticks of the prediction, a line for each class."""
    rows, _ = rows_of_classes(cases, layer)
    if not rows:
        return None
    names = [name for name in _case_names(cases) if any(row["case"] == name for row in rows)]
    first = next(one for case in cases if (one := judged(case, layer)) is not None)
    views = first.found.instance_variance.estimate is not None
    title = words.say("axis.instance" if views else "axis.within")
    classes = list(dict.fromkeys(row["class"] for row in rows))
    most = max(v for row in rows for v in (row["high"], row["predicted"], 0.01) if v is not None)
    ticks = [0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]
    kept = [t for t in ticks if t == 0 or most / 150 <= t <= most]
    x = alt.X(
        "estimate:Q",
        title=title,
        scale=alt.Scale(type="sqrt", nice=False, zero=True, domainMax=1.03 * most),
        axis=alt.Axis(values=kept, format="~g"),
    )
    y = alt.Y("class:N", title=None, sort=classes)
    offset = alt.YOffset("case:N", sort=names)
    base = alt.Chart(values(rows)).encode(y=y, yOffset=offset, color=sides(names, words))
    tip = [
        alt.Tooltip(f"{field}:{kind}", title=words.say(f"column.{name}"), format=form)
        for field, kind, name, form in (
            ("class", "N", "class", ""),
            ("case", "N", "run", ""),
            ("rows", "Q", "rows", ",d"),
            ("estimate", "Q", "measured", ".3~g"),
            ("low", "Q", "interval", ".3~g"),
            ("high", "Q", "interval", ".3~g"),
            ("predicted", "Q", "predicted", ".3~g"),
        )
    ]
    layers = [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=x, tooltip=tip),
    ]
    if any(row["predicted"] is not None for row in rows):
        tick = base.mark_tick(thickness=3, size=max(8, 16 // len(names) + 4), orient="vertical")
        layers.append(tick.encode(x=alt.X("predicted:Q", title=title), tooltip=tip))
    height = 60 + len(classes) * (14 + 14 * len(names))
    description = words.say("section.variance") + words.say("format.colon") + title
    return finished(alt.layer(*layers), description=description, height=height)


def rows_of_levels(
    cases: Sequence[Case], layer: str | None, words: Language
) -> list[dict[str, Any]]:
    """Parts of the variance as shares, measured and predicted, of each case."""
    rows = []
    for case, name in zip(cases, _case_names(cases), strict=True):
        one = judged(case, layer)
        if one is None:
            continue
        found = one.found
        views = found.instance_variance.estimate is not None
        parts = ("instance", "view") if views else ("within",)
        measured = {
            "between": found.between_class_variance.estimate,
            "instance": found.instance_variance.estimate,
            "view": found.view_variance.estimate,
            "within": found.within_class_variance.estimate,
        }
        entries = [(words.say("page.measured"), measured)]
        if (p := found.prediction) is not None:
            predicted = {
                key: p.get(f"{long}_variance")
                for key, long in (
                    ("between", "between_class"),
                    ("instance", "instance"),
                    ("view", "view"),
                    ("within", "within_class"),
                )
            }
            entries.append((words.say("page.predicted"), predicted))
        for title, numbers in entries:
            kept = {part: max(0.0, numbers[part] or 0.0) for part in ("between", *parts)}
            total = sum(kept.values()) or 1.0
            rows += [
                {
                    "bar": f"{title} · {name}" if len(cases) > 1 else title,
                    "part": words.say(f"level.{part}"),
                    "share": kept[part] / total,
                    "value": numbers[part],
                    "order": number,
                }
                for number, part in enumerate(kept)
            ]
    return rows


def level_chart(cases: Sequence[Case], layer: str | None, words: Language) -> dict[str, Any] | None:
    """Stacked bars of the shares of the total variance."""
    rows = rows_of_levels(cases, layer, words)
    if not rows:
        return None
    bars = list(dict.fromkeys(row["bar"] for row in rows))
    parts = list(dict.fromkeys(row["part"] for row in rows))
    colours = {
        words.say("level.between"): "#8c959f",
        words.say("level.instance"): "#0072B2",
        words.say("level.within"): "#0072B2",
        words.say("level.view"): "#E69F00",
    }
    chart = (
        alt.Chart(values(rows))
        .mark_bar(stroke="white", strokeWidth=1)
        .encode(
            y=alt.Y("bar:N", title=None, sort=bars),
            x=alt.X(
                "share:Q",
                title=words.say("axis.share"),
                axis=alt.Axis(format="%", tickCount=5),
                scale=alt.Scale(domain=[0, 1]),
            ),
            color=alt.Color(
                "part:N",
                title=None,
                scale=alt.Scale(domain=parts, range=[colours[part] for part in parts]),
            ),
            order="order:Q",
            tooltip=[
                alt.Tooltip("bar:N", title=words.say("column.run")),
                alt.Tooltip("part:N", title=words.say("legend.part")),
                alt.Tooltip("share:Q", title=words.say("column.share"), format=".1%"),
                alt.Tooltip("value:Q", title=words.say("legend.variance"), format=".3~g"),
            ],
        )
    )
    return finished(chart, description=words.say("section.levels"), height=40 + 34 * len(bars))


def training_chart(
    cases: Sequence[Case], layer: str | None, words: Language
) -> dict[str, Any] | None:
    """Share of the variance and what is read inside a class, over the epochs."""
    at = layer or "projector"
    rows = []
    for case, name in zip(cases, _case_names(cases), strict=True):
        for line in case.history:
            for key, title in (("share", "quantity.share"), ("within_class", "quantity.knn")):
                value = line.get(f"{at}/{key}")
                if isinstance(value, int | float) and isinstance(line.get("epoch"), int):
                    label = words.say("column.readable" if key == "within_class" else title)
                    rows.append(
                        {"case": name, "epoch": line["epoch"], "what": label, "value": value}
                    )
    if len({row["epoch"] for row in rows}) < 2:
        return None
    names = [name for name in _case_names(cases) if any(row["case"] == name for row in rows)]
    measures = list(dict.fromkeys(row["what"] for row in rows))
    both = alt.Chart(values(rows)).encode(
        x=alt.X(
            "epoch:Q",
            title=words.say("axis.epoch"),
            axis=alt.Axis(tickMinStep=1),
            scale=alt.Scale(zero=True),
        ),
        y=alt.Y("value:Q", title=None, axis=alt.Axis(format="%"), scale=alt.Scale(zero=True)),
        color=sides(names, words),
        tooltip=[
            alt.Tooltip("case:N", title=words.say("column.run")),
            alt.Tooltip("epoch:Q", title=words.say("axis.epoch")),
            alt.Tooltip("what:N", title=words.say("column.measure")),
            alt.Tooltip("value:Q", title=words.say("column.value"), format=".1%"),
        ],
    )
    # Points in a layer of their own: with the line's own points the legend shows no dashes.
    legend = alt.Legend(symbolType="stroke", symbolStrokeColor=_GREY, symbolSize=300)
    dash = alt.StrokeDash("what:N", title=None, sort=measures, legend=legend)
    chart = both.mark_line(strokeWidth=2).encode(strokeDash=dash) + both.mark_point(
        filled=True, opacity=1
    )
    return finished(chart, description=words.say("section.training"), height=240)
