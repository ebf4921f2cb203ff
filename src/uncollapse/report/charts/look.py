"""How charts look, and what several of them share: colours and tooltips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from uncollapse.report.language import Language

# A Vega-Lite specification, and a row of its data.
Spec = dict[str, Any]
Row = Mapping[str, Any]

# Okabe and Ito (2008): told apart by the colour-blind, and by their lightness in grey print.
BEFORE, AFTER = "#D55E00", "#0072B2"
SIDES = [BEFORE, AFTER, "#009E73", "#CC79A7", "#56B4E9", "#E69F00"]
INK, GREY = "#1b1f24", "#57606a"
_LINE = "#d8dee4"
_FONT = (
    "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans JP', 'Hiragino Sans', 'Yu Gothic UI',"
    " 'Noto Sans CJK JP', Meiryo, sans-serif"
)


def finished(chart: Any, *, description: str, height: int) -> Spec:
    """A chart as a Vega-Lite specification that fills its place and says what it shows."""
    text = {"labelFont": _FONT, "titleFont": _FONT, "labelFontSize": 12, "titleFontSize": 12}
    text |= {"titleColor": GREY, "titleFontWeight": "normal"}
    lines = {"gridColor": _LINE, "domainColor": GREY, "tickColor": GREY}
    chart = chart.properties(width="container", description=description, height=height)
    chart = chart.configure(font=_FONT, background="white", padding=4).configure_view(stroke=None)
    chart = chart.configure_axis(**text, **lines, labelColor=INK, labelLimit=150)
    return dict(chart.configure_legend(**text, orient="top", labelLimit=220).to_dict())


def ordered(rows: Sequence[Row], field: str) -> list[Any]:
    """The values of a field, each once, in the order of the rows."""
    return list(dict.fromkeys(row[field] for row in rows))


def sides(names: Sequence[str], words: Language) -> alt.Color:
    """A colour for each run, in their order."""
    alone = len(names) == 1
    colour = alt.Color("case:N").title(words.say("legend.case"))
    colour = colour.scale(domain=list(names), range=[AFTER] if alone else SIDES[: len(names)])
    return colour.legend(None) if alone else colour.legend(title=None)


def tooltips(words: Language, *fields: tuple[str, str] | tuple[str, str, str]) -> list[alt.Tooltip]:
    """What is shown of a mark that is pointed at: field, key of its title, format of its number."""
    return [
        alt.Tooltip(field, title=words.say(title), **({"format": form[0]} if form else {}))
        for field, title, *form in fields
    ]
