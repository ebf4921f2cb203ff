"""Charts of the embedding and its spectrum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import altair as alt

from uncollapse.report.charts.look import Row, Spec, finished, sides, tooltips, values
from uncollapse.report.inputs_model import Points
from uncollapse.report.language import Language, short

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


def _drawn(names: Sequence[str], other: str) -> list[str]:
    """What each name is drawn as: itself among the most frequent ones, else `other`."""
    counts = Counter(names)
    most = sorted(sorted(counts), key=lambda name: -counts[name])
    kept = set(most if len(most) <= len(_LABELS) else most[: len(_LABELS) - 1])
    return [name if name in kept else other for name in names]


def points_rows(points: Points, words: Language) -> list[Row]:
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
    domain = [*known, *([other] if other in names else [])]
    return domain, [*_LABELS[: len(known)], "#9aa3ad"][: len(domain)]


def embedding_chart(
    rows: Sequence[Row], data: str, words: Language, *, inside: bool, reach: float
) -> Spec:
    """One projection; classes as colours and finer labels as symbols, or finer labels as colours.

    Args:
        rows: Of `points_rows`; the chart names their data set and does not hold them.
        data: Name of the data set.
        words: The language.
        inside: Whether residuals from the class means are shown.
        reach: Both axes run from minus this to this.
    """
    fine = any(row["f"] for row in rows)
    colour, symbol = ("g", "k") if inside and fine else ("k", "g")
    other = words.say("legend.other")
    names, ranges = _domain([row[colour] for row in rows], other)
    marks, _ = _domain([row[symbol] for row in rows], other)
    titles = {"k": words.say("legend.class"), "g": words.say("legend.fine")}
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    axis = alt.Axis(tickCount=5, format="~g")
    x, y = ("u", "v") if inside else ("x", "y")
    shown = [("c:N", "legend.class"), *([("f:N", "legend.fine")] if fine else [])]
    if any(row["i"] for row in rows):
        shown.insert(0, ("i:N", "legend.sample"))
    chart = alt.Chart(alt.NamedData(name=data)).mark_point(filled=True, size=28, opacity=0.7)
    chart = chart.encode(
        x=alt.X(f"{x}:Q", title=words.say("axis.component1"), scale=scale, axis=axis),
        y=alt.Y(f"{y}:Q", title=words.say("axis.component2"), scale=scale, axis=axis),
        color=alt.Color(f"{colour}:N").title(titles[colour]).scale(domain=names, range=ranges),
        tooltip=tooltips(words, *shown),
    )
    if fine and 1 < len(marks) <= len(_SHAPES):
        shape = alt.Shape(f"{symbol}:N").title(titles[symbol])
        chart = chart.encode(shape=shape.scale(domain=marks, range=_SHAPES[: len(marks)]))
    key = "inside" if inside else "classes"
    return finished(chart, description=words.say(f"description.{key}"), height=340)


def spectrum_chart(spectra: Sequence[tuple[str, Sequence[float]]], words: Language) -> Spec | None:
    """Eigenvalues inside classes, largest first, on a log scale."""
    names = [short(name, 40) for name, _ in spectra]
    rows: list[Row] = [
        {"case": name, "rank": rank, "value": value}
        for name, (_, eigenvalues) in zip(names, spectra, strict=True)
        for rank, value in enumerate(eigenvalues, 1)
        if value > 1e-12
    ]
    if not rows:
        return None
    lowest = min(row["value"] for row in rows)
    decades = [10.0**k for k in range(-12, 1) if 10.0**k >= lowest / 10]
    y = alt.Y("value:Q").title(words.say("axis.eigenvalue")).axis(values=decades, format="~g")
    chart = alt.Chart(values(rows)).mark_line(point=True, strokeWidth=2)
    chart = chart.encode(
        x=alt.X("rank:Q").title(words.say("axis.rank")).axis(tickMinStep=1),
        y=y.scale(type="log"),
        color=sides(names, words),
        tooltip=tooltips(
            words,
            ("case:N", "column.run"),
            ("rank:Q", "column.dimension"),
            ("value:Q", "legend.variance", ".3~g"),
        ),
    )
    return finished(chart, description=words.say("section.spectrum"), height=260)
