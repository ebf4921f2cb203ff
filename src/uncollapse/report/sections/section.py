"""One section of the page: its heading, paragraphs, pictures, tables and notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from uncollapse.report.charts.look import Spec
from uncollapse.report.language import Language
from uncollapse.report.sections.tables import Table


@dataclass(frozen=True)
class Figure:
    """A chart with its title above it."""

    name: str
    title: str
    spec: Spec


@dataclass
class Section:
    """One section of the page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        paragraphs: Before the pictures.
        figures: Side by side where there is room.
        tables: With captions; shown on demand under pictures, else at once.
        notes: After them.
        wide: Whether its figures take the whole width, one below the other.
    """

    name: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[tuple[str, Table]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wide: bool = False


def section(name: str, words: Language, *paragraphs: str, **parts: Any) -> Section:
    """A section with the heading of its name."""
    return Section(name, words.say(f"section.{name}"), list(paragraphs), **parts)


def charted(
    name: str, words: Language, spec: Spec | None, *paragraphs: str, **parts: Any
) -> Section | None:
    """A section of one chart under its introduction; None where there is no chart."""
    if spec is None:
        return None
    intro = paragraphs or (words.say(f"intro.{name}"),)
    return section(name, words, *intro, figures=[Figure(name, "", spec)], wide=True, **parts)
