"""Charts of the embedding and its spectrum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import altair as alt

from uncollapse.report.charts.look import TALL, Row, Spec, finished, sides, tooltips
from uncollapse.report.language import Language, short
from uncollapse.report.rows_model import Points

# The style sheet's: distinguished by the colour-blind, and none of them a role's colour.
_LABELS = [f"var(--label-{number})" for number in range(10)]
_OTHER = "#b3bac2"
_SHAPES = ["circle", "triangle-up", "square", "diamond", "cross", "triangle-down"]


def _drawn(names: Sequence[str], first: Sequence[str], other: str) -> list[str]:
    """What each name is drawn as: itself among the first or most frequent ones, else `other`."""
    counts = Counter(names)
    place = {name: number for number, name in enumerate(first)}
    most = sorted(counts, key=lambda name: (place.get(name, len(place)), -counts[name], name))
    kept = set(most if len(most) <= len(_LABELS) else most[: len(_LABELS) - 1])
    return [name if name in kept else other for name in names]


def points_rows(points: Points, worst: Sequence[str], words: Language) -> list[Row]:
    """Rows of the picture: places, class and finer label as drawn (k, g) and in full, name, file.

    Classes of `worst` are those that have a colour where there are more classes than colours.
    """
    other = words.say("legend.other")
    labels = [short(label, 40) for label in points.label]
    fine = [short(label, 40) for label in points.fine]
    columns = {
        **{axis: getattr(points, axis).tolist() for axis in "xyuv"},
        "k": _drawn(labels, [short(label, 40) for label in worst], other),
        "g": _drawn(fine, (), other),
        "c": labels,
        "f": fine,
        "i": [short(name, 48) for name in points.name],
        "p": [short(path, 100) for path in points.path],
        "t": list(points.thumbnail),
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    # What has a colour of its own is drawn over what has none.
    return sorted(rows, key=lambda row: row["k"] != other)


def _domain(names: Sequence[str], other: str) -> list[str]:
    """Labels in order, what is left last."""
    return sorted(set(names), key=lambda name: (name == other, name))


def embedding_chart(
    rows: Sequence[Row], data: str, words: Language, *, inside: bool, reach: float
) -> Spec:
    """One projection of `points_rows`, whose data set it names; both axes run to the reach.

    Classes are colours and finer labels symbols; inside classes, finer labels are colours.
    """
    fine = any(row["f"] for row in rows)
    colour, symbol = ("g", "k") if inside and fine else ("k", "g")
    other = words.say("legend.other")
    names, marks = (_domain([row[key] for row in rows], other) for key in (colour, symbol))
    ranges = [*_LABELS[: len(set(names) - {other})], _OTHER][: len(names)]
    titles = {"k": words.say("legend.class"), "g": words.say("legend.fine")}
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    axis = alt.Axis(tickCount=5, format="~g")
    x, y = ("u", "v") if inside else ("x", "y")
    shown = [("c:N", "legend.class"), *([("f:N", "legend.fine")] if fine else [])]
    for key, title in (("p:N", "legend.path"), ("i:N", "legend.sample")):
        if any(row[key[0]] for row in rows):
            shown.insert(0, (key, title))
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
    return finished(chart, description=words.say(f"description.{key}"), height=TALL)


def spectrum_chart(spectra: Sequence[tuple[str, Sequence[float]]], words: Language) -> Spec | None:
    """Eigenvalues inside classes, largest first, on a log scale."""
    names = [words.case(name) for name, _ in spectra]
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
    chart = alt.Chart(alt.Data(values=rows)).mark_line(point=True, strokeWidth=2)
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
    return finished(chart, description=words.say("section.spectrum"), height=240)
