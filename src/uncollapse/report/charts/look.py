"""How charts look, and what several of them share: colours by role, and tooltips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from uncollapse.report.language import Language

# A Vega-Lite specification, and a row of its data.
Spec = dict[str, Any]
Row = Mapping[str, Any]

# Colours are the style sheet's, which has them for a light and a dark screen and for paper.
BEFORE, AFTER, REFERENCE = "var(--before)", "var(--after)", "var(--reference)"
PREDICTED, CANDIDATE = "var(--predicted)", "var(--candidate)"
INK, GREY, PAPER, _LINE = "var(--ink)", "var(--grey)", "var(--paper)", "var(--line)"
# Height of a chart whose rows do not give it one; it is less on paper.
TALL = 340
# A role has one colour on the whole page: what there is, what is recommended, what needs no
# training and is a reference for it, and the rest.
ROLES = {
    "before": BEFORE,
    "start": BEFORE,
    "after": AFTER,
    "recommended": AFTER,
    "free": REFERENCE,
    "candidate": CANDIDATE,
    "pruned": CANDIDATE,
}
# Runs between the first and the last.
_BETWEEN = ["#CC79A7", "#A07800", "#7B5EA7", "#56B4E9"]
_FONT = (
    "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans JP', 'Hiragino Sans', 'Yu Gothic UI',"
    " 'Noto Sans CJK JP', Meiryo, sans-serif"
)


def finished(chart: Any, *, description: str, height: int) -> Spec:
    """A chart as a Vega-Lite specification that fills its place and says what it shows.

    Labels are shortened where they are written, and never cut by the renderer.
    """
    text = {"labelFont": _FONT, "titleFont": _FONT, "labelFontSize": 12, "titleFontSize": 12}
    text |= {"titleColor": GREY, "titleFontWeight": "normal", "labelColor": INK, "labelLimit": 0}
    lines = {"gridColor": _LINE, "domainColor": GREY, "tickColor": GREY}
    symbols = {"symbolBaseFillColor": INK, "symbolBaseStrokeColor": INK}
    chart = chart.properties(width="container", description=description, height=height)
    chart = chart.configure(font=_FONT, background="transparent", padding=4)
    chart = chart.configure_view(stroke=None).configure_axis(**text, **lines, labelOverlap=True)
    chart = chart.configure_axisY(labelOverlap=False)
    return dict(chart.configure_legend(**text, **symbols, orient="top", titleLimit=0).to_dict())


def ordered(rows: Sequence[Row], field: str) -> list[Any]:
    """The values of a field, each once, in the order of the rows."""
    return list(dict.fromkeys(row[field] for row in rows))


def side_colours(count: int) -> list[str]:
    """Of runs in their order: the first is before, the last is after; one alone is as before."""
    if count < 2:
        return [BEFORE][:count]
    between = [_BETWEEN[k % len(_BETWEEN)] for k in range(count - 2)]
    return [BEFORE, *between, AFTER]


def sides(names: Sequence[str], words: Language) -> alt.Color:
    """A colour for each run, in their order."""
    colour = alt.Color("case:N").title(words.say("legend.case"))
    colour = colour.scale(domain=list(names), range=side_colours(len(names)))
    return colour.legend(None) if len(names) == 1 else colour.legend(title=None)


def role_colour(rows: Sequence[Row], words: Language) -> alt.Color:
    """A colour for each role ("role", with what it is called in "called")."""
    kinds = dict.fromkeys((row["role"], row["called"]) for row in rows)
    named = {called: ROLES[role] for role, called in kinds}
    colour = alt.Color("called:N").title(None)
    return colour.scale(domain=list(named), range=list(named.values()))


def clipped(value: float | None) -> float | None:
    """A share or variance as it is drawn: none lies below zero, though an estimate may."""
    return None if value is None else max(0.0, value)


def tooltips(words: Language, *fields: tuple[str, str] | tuple[str, str, str]) -> list[alt.Tooltip]:
    """What is shown of a mark that is pointed at: field, key of its title, format of its number."""
    return [
        alt.Tooltip(field, title=words.say(title), **({"format": form[0]} if form else {}))
        for field, title, *form in fields
    ]
