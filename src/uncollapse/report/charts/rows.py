"""Charts of probes, slices, trials, the embedding and its spectrum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair as alt

from uncollapse.report.charts.base import SIDES, finished, sides, values
from uncollapse.report.inputs_model import Points
from uncollapse.report.language import Language, short

__all__ = ["dot_chart", "embedding_chart", "points_rows", "spectrum_chart", "trial_chart"]

# Told apart by the colour-blind: Okabe and Ito (2008), and grey for what is left.
_LABELS = [
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#7A6A00",
    "#882255",
    "#44AA99",
    "#000000",
]
_SHAPES = ["circle", "triangle-up", "square", "diamond", "cross", "triangle-down"]


def dot_chart(
    rows: Sequence[dict[str, Any]], names: Sequence[str], words: Language, *, title: str, axis: str
) -> dict[str, Any] | None:
    """Estimates with intervals: rows of "name", "case", "estimate", "low", "high"."""
    if not rows:
        return None
    order = list(dict.fromkeys(row["name"] for row in rows))
    base = alt.Chart(values(rows)).encode(
        y=alt.Y("name:N", title=None, sort=order, axis=alt.Axis(labelLimit=260)),
        yOffset=alt.YOffset("case:N", sort=list(names)),
        color=sides(names, words),
    )
    tip = [
        alt.Tooltip("name:N", title=words.say("column.quantity")),
        alt.Tooltip("case:N", title=words.say("column.run")),
        alt.Tooltip("estimate:Q", title=words.say("page.estimate"), format=".1%"),
        alt.Tooltip("low:Q", title=words.say("page.interval"), format=".1%"),
        alt.Tooltip("high:Q", title=words.say("page.interval"), format=".1%"),
    ]
    x = alt.X(
        "estimate:Q",
        title=axis,
        axis=alt.Axis(format="%", tickCount=5),
        scale=alt.Scale(zero=True),
    )
    chart = alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=axis), x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=x, tooltip=tip),
    )
    height = 50 + len(order) * (12 + 12 * len(names))
    return finished(chart, description=title, height=height)


def trial_chart(rows: Sequence[dict[str, Any]], words: Language) -> dict[str, Any] | None:
    """Predicted variance against the objective; single seeds as small dots."""
    if not any(row["objective"] is not None for row in rows):
        return None
    x = alt.X(
        "predicted:Q",
        title=words.say("axis.predicted-variance"),
        axis=alt.Axis(tickCount=6, format="~g"),
    )
    y = alt.Y(
        "objective:Q",
        title=words.say("axis.objective"),
        axis=alt.Axis(format="%", tickCount=6),
        scale=alt.Scale(zero=False, padding=14),
    )
    kinds = list(dict.fromkeys(row["role"] for row in rows))
    colour = alt.Color(
        "role:N", title=None, scale=alt.Scale(domain=kinds, range=SIDES[: len(kinds)])
    )
    tip = [
        alt.Tooltip("name:N", title=words.say("column.change")),
        alt.Tooltip("predicted:Q", title=words.say("axis.predicted-variance"), format=".3~g"),
        alt.Tooltip("objective:Q", title=words.say("axis.objective"), format=".1%"),
        alt.Tooltip("task:Q", title=words.say("column.task"), format=".1%"),
    ]
    single = [row | {"objective": seed} for row in rows for seed in row["seeds"]]
    known = [row for row in rows if row["objective"] is not None]
    layers = [
        alt.Chart(values(single)).mark_point(filled=True, size=18, opacity=0.7),
        alt.Chart(values(known)).mark_point(filled=True, size=110, opacity=1, stroke="white"),
    ]
    # Names stand above and below their dots in turn, so that neighbours meet less often.
    ranked = sorted(known, key=lambda row: row["predicted"])
    names = [
        alt.Chart(values(ranked[side::2])).mark_text(align="left", dx=6, dy=dy, fontSize=11)
        for side, dy in ((0, -12), (1, 14))
    ]
    chart = alt.layer(
        *(layer.encode(x=x, y=y, color=colour, tooltip=tip) for layer in layers),
        *(layer.encode(x=x, y=y, text="trial:N") for layer in names),
    )
    return finished(chart, description=words.say("section.pilot"), height=300)


def _drawn(names: Sequence[str], other: str) -> list[str]:
    """What each name is drawn as: itself among the most frequent ones, else `other`."""
    counts = Counter(names)
    most = sorted(sorted(counts), key=lambda name: -counts[name])
    kept = set(most if len(most) <= len(_LABELS) else most[: len(_LABELS) - 1])
    return [name if name in kept else other for name in names]


def points_rows(points: Points, words: Language) -> list[dict[str, Any]]:
    """Rows of the picture: places, class and finer label as drawn (k, g) and in full, and name."""
    other = words.say("legend.other")
    labels = [short(label, 40) for label in points.label]
    fine = [short(label, 40) for label in points.fine]
    drawn = zip(_drawn(labels, other), _drawn(fine, other), strict=True)
    return [
        {
            "x": float(points.x[row]),
            "y": float(points.y[row]),
            "u": float(points.u[row]),
            "v": float(points.v[row]),
            "k": label,
            "g": finer,
            "c": labels[row],
            "f": fine[row],
            "i": short(points.name[row], 48),
        }
        for row, (label, finer) in enumerate(drawn)
    ]


def _domain(names: Sequence[str], other: str) -> tuple[list[str], list[str]]:
    """Labels in order, what is left last and grey."""
    known = sorted(set(names) - {other})
    found = [*known, *([other] if other in names else [])]
    return found, [*_LABELS[: len(known)], "#9aa3ad"][: len(found)]


def embedding_chart(
    rows: Sequence[dict[str, Any]], data: str, words: Language, *, inside: bool, reach: float
) -> dict[str, Any]:
    """One projection; classes as colours and finer labels as symbols, or finer labels as colours.

    Args:
        rows: Of `points_rows`; the chart names their data set and does not hold them.
        data: Name of the data set.
        words: The language.
        inside: Whether residuals from the class means are shown.
        reach: Both axes run from minus this to this.
    """
    fine = any(row["f"] for row in rows)
    named = any(row["i"] for row in rows)
    colour, symbol = ("g", "k") if inside and fine else ("k", "g")
    other = words.say("legend.other")
    names, ranges = _domain([row[colour] for row in rows], other)
    marks, _ = _domain([row[symbol] for row in rows], other)
    titles = {"k": words.say("legend.class"), "g": words.say("legend.fine")}
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    axis = alt.Axis(tickCount=5, format="~g")
    axes = ("u", "v") if inside else ("x", "y")
    chart = alt.Chart(alt.NamedData(name=data)).mark_point(filled=True, size=28, opacity=0.7)
    encoded: dict[str, Any] = {
        "x": alt.X(f"{axes[0]}:Q", title=words.say("axis.component1"), scale=scale, axis=axis),
        "y": alt.Y(f"{axes[1]}:Q", title=words.say("axis.component2"), scale=scale, axis=axis),
        "color": alt.Color(
            f"{colour}:N", title=titles[colour], scale=alt.Scale(domain=names, range=ranges)
        ),
        "tooltip": [
            *([alt.Tooltip("i:N", title=words.say("legend.sample"))] if named else []),
            alt.Tooltip("c:N", title=titles["k"]),
            *([alt.Tooltip("f:N", title=titles["g"])] if fine else []),
        ],
    }
    if fine and 1 < len(marks) <= len(_SHAPES):
        encoded["shape"] = alt.Shape(
            f"{symbol}:N",
            title=titles[symbol],
            scale=alt.Scale(domain=marks, range=_SHAPES[: len(marks)]),
        )
    key = "inside" if inside else "classes"
    chart = chart.encode(**encoded)
    return finished(chart, description=words.say(f"description.{key}"), height=340)


def spectrum_chart(
    spectra: Sequence[tuple[str, Sequence[float]]], words: Language
) -> dict[str, Any] | None:
    """Eigenvalues inside classes, largest first, on a log scale."""
    names = [short(name, 40) for name, _ in spectra]
    rows: list[dict[str, Any]] = [
        {"case": name, "rank": rank, "value": value}
        for name, (_, eigenvalues) in zip(names, spectra, strict=True)
        for rank, value in enumerate(eigenvalues, 1)
        if value > 1e-12
    ]
    if not rows:
        return None
    lowest = min(row["value"] for row in rows)
    decades = [10.0**k for k in range(-12, 1) if 10.0**k >= lowest / 10]
    chart = (
        alt.Chart(values(rows))
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=alt.X("rank:Q", title=words.say("axis.rank"), axis=alt.Axis(tickMinStep=1)),
            y=alt.Y(
                "value:Q",
                title=words.say("axis.eigenvalue"),
                scale=alt.Scale(type="log"),
                axis=alt.Axis(values=decades, format="~g"),
            ),
            color=sides(names, words),
            tooltip=[
                alt.Tooltip("case:N", title=words.say("column.run")),
                alt.Tooltip("rank:Q", title=words.say("column.dimension")),
                alt.Tooltip("value:Q", title=words.say("legend.variance"), format=".3~g"),
            ],
        )
    )
    return finished(chart, description=words.say("section.spectrum"), height=260)
