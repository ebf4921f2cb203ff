"""Lines with a word in front and a hanging indent, and verdicts, as terminals show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

Row = tuple[str, str | Text]
COLOURS = {
    "healthy": "green",
    "not-collapsed": "blue",
    "at-risk": "yellow",
    "collapsed": "red",
    "cannot-tell": "cyan",
    "change": "yellow",
    "keep": "green",
    "breaks": "red",
    "holds": "green",
}


class Hanging:
    """Rows of a word and a text, which is broken between words and stays in its column."""

    indent = 10

    def __init__(self, *rows: Row) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """A line each, without blanks at its end."""
        for word, text in self.rows:
            whole = text if isinstance(text, Text) else Text(text)
            room = max(20, options.max_width - self.indent)
            for number, line in enumerate(whole.wrap(console, room)):
                line.rstrip()
                lead = "" if number else word
                yield Text.assemble((lead.ljust(self.indent), "dim"), line)


def verdict_word(verdict: str) -> Text:
    """A verdict as JSON and options spell it; its colour says nothing more."""
    return Text(verdict, style=f"bold {COLOURS.get(verdict, '')}".strip())
