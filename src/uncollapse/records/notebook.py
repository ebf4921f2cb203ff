"""Records where they are worked with: one line, a small page in a notebook, a frame, a picture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from uncollapse.errors import InputError, shown
from uncollapse.records.codec import Document
from uncollapse.records.scalars import WithEnds

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

Cell = str | int | float | bool | None
_MOST_ROWS = 12  # of the table in a notebook
_MOST_BARS = 30  # of the picture, the first ones
_COLOUR = "#0072B2"
_INSTALL = "pip install 'uncollapse[notebook]'"


@dataclass(frozen=True)
class Bar:
    """A number of the picture with the ends of its interval, and what it is of."""

    name: str
    estimate: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, name: object, value: WithEnds | None) -> Bar:
        """Of an estimate; none where there is none."""
        if value is None:
            return cls(shown(name, 60), None)
        return cls(shown(name, 60), value.estimate, value.low, value.high)


def columns(name: str, value: WithEnds | None) -> dict[str, Cell]:
    """An estimate as three columns of a frame."""
    found = (None,) * 3 if value is None else (value.estimate, value.low, value.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


@dataclass(frozen=True)
class Card:
    """What a record shows of itself.

    Attributes:
        title: What it is and its verdict, in one line.
        lines: What that rests on, a sentence each.
        rows: The rows of its frame.
        axis: What the numbers of the picture are.
        bars: The picture: a point for each, with its interval.
    """

    title: str
    lines: tuple[str, ...]
    rows: Sequence[Mapping[str, Cell]]
    axis: str
    bars: tuple[Bar, ...]


class InNotebook(Document):
    """A record with a card."""

    @abstractmethod
    def card(self) -> Card:
        """What it shows of itself."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.card().title}>"

    def _repr_html_(self) -> str:
        """The title, what it rests on, one small picture and the first rows of the frame."""
        card = self.card()
        lines = "".join(f"<p>{_text(line, 600)}</p>" for line in card.lines)
        picture = f"<div>{_svg(card)}</div>" if card.bars and _drawable() else ""
        return (
            f"<div><p><strong>{_text(card.title)}</strong></p>{lines}{picture}{_table(card)}</div>"
        )

    def to_frame(self) -> pd.DataFrame:
        """Its rows as a data frame.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise InputError("pandas, for a data frame", str(error), _INSTALL) from None
        return pd.DataFrame(list(self.card().rows))

    def plot(self) -> alt.Chart:
        """Its picture: every number with its interval. A notebook shows it; `save` writes it.

        Raises:
            InputError: The packages of the report are not installed.
        """
        if not _drawable():
            raise InputError(
                "the packages that draw a chart",
                "an environment without altair or vl-convert-python",
                _INSTALL,
            )
        return _chart(self.card())


def _text(text: object, most: int = 300) -> str:
    return escape(shown(text, most))


def _table(card: Card) -> str:
    """The first rows, and how many there are."""
    if not card.rows:
        return ""
    names = [name for name in card.rows[0] if not name.endswith(("_low", "_high"))]
    head = "".join(f"<th>{_text(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_text(_cell(row, name), 60)}</td>' for name in names)}</tr>"
        for row in card.rows[:_MOST_ROWS]
    )
    left = len(card.rows) - _MOST_ROWS
    more = f"<p>{left} more rows: <code>.to_frame()</code></p>" if left > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(row: Mapping[str, Cell], name: str) -> str:
    """A value, with the ends of its interval where the row has them."""
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    ends = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{value:.3g}{ends}"


def _drawable() -> bool:
    return find_spec("altair") is not None and find_spec("vl_convert") is not None


def _chart(card: Card) -> Any:
    import altair as alt

    bars = [bar for bar in card.bars if bar.estimate is not None][:_MOST_BARS]
    rows = [vars(bar) for bar in bars]
    order = [bar.name for bar in bars]
    x = alt.X("estimate:Q", title=card.axis).scale(zero=False)
    y = alt.Y("name:N", title=None, sort=order)
    base = alt.Chart(alt.Data(values=rows), title=shown(card.title, 60))
    ends = base.mark_rule(color=_COLOUR).encode(x=alt.X("low:Q", title=card.axis), x2="high:Q", y=y)
    points = base.mark_point(filled=True, size=50, color=_COLOUR).encode(
        x=x, y=y, tooltip=["name:N", "estimate:Q", "low:Q", "high:Q"]
    )
    return (ends + points).properties(width=360, height=alt.Step(20))


def _svg(card: Card) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(_chart(replace(card, title="")).to_dict()))
