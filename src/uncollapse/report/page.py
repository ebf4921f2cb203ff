"""The report as one HTML page that needs no network, and as a section of a model card."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from uncollapse import __version__
from uncollapse.errors import InputError, shown, visible
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import judged, label_reading, within_reading
from uncollapse.report.language import Language, need
from uncollapse.report.numbers import Number
from uncollapse.report.read.thumbnails import MOST
from uncollapse.report.read.thumbnails import MOST_BYTES as MOST_THUMBNAILS
from uncollapse.report.sections import audit
from uncollapse.report.sections.section import Section, class_table, level_table, probe_table

MOST_BYTES = 3_000_000
# Classes that a model card lists of each case.
CARD_CLASSES = 24
# Sections whose one chart is small enough to stand beside another one on paper.
HALF = ("variance", "levels", "spectrum", "training")
# Changed keys on the first screen.
MOST_CHANGES = 6
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def page(report: Content) -> str:
    """The page; with fewer points in its pictures where it would be larger than 3 MB."""
    need("altair", "jinja2", "vl_convert")
    points = max([1, *(len(p.x) for case in report.inputs.cases for p in case.points.values())])
    while True:
        text = _page(report, points)
        if len(text.encode()) < MOST_BYTES:
            return text
        if points < 50:
            raise InputError(
                "a report below 3 MB", f"{len(text.encode()):,} bytes", "report fewer runs together"
            )
        points //= 2


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and their embedding as one script, as the renderer's package holds them."""
    import vl_convert

    script: Any = vl_convert.javascript_bundle
    return str(script()).replace("</script", "<\\/script")


@cache
def _part(name: str) -> str:
    return (files("uncollapse.report") / "templates" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _template(name: str, words: Language, *, escaped: bool) -> Any:
    """A template that speaks a language."""
    need("jinja2")
    from jinja2 import Environment

    environment = Environment(
        autoescape=escaped, trim_blocks=True, lstrip_blocks=True, finalize=_visible
    )
    environment.filters["coded"] = _coded
    environment.globals |= {"say": words.say, "word": words.word, "words": words}
    strict = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    environment.policies["json.dumps_kwargs"] = strict
    return environment.from_string(_part(name))


def _coded(text: str) -> Any:
    """Text in which what stands between backticks is code."""
    from markupsafe import Markup, escape

    parts = visible(text).split("`")
    whole = len(parts) % 2 == 1
    tags = [f"<code>{escape(p)}</code>" if n % 2 else str(escape(p)) for n, p in enumerate(parts)]
    return Markup("".join(tags)) if whole else text


def _visible(value: Any) -> Any:
    """Text without what a terminal obeys or nobody sees; what is markup is ours."""
    return visible(value) if type(value) is str else value


def _page(report: Content, points: int) -> str:
    from markupsafe import Markup

    from uncollapse.report.charts.look import TALL
    from uncollapse.report.sections.auditor import auditor
    from uncollapse.report.sections.engineer import engineer

    words = report.words
    sections = engineer(report, points)
    scripts = [_bundle(), _part("report.js")]
    page: str = _template("report.html", words, escaped=True).render(
        report=report,
        decision=report.decision,
        sections=sections,
        audit=auditor(report, [section.name for section in sections]),
        codes=_codes(report),
        version=__version__,
        created=words.date(report.created),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {' '.join(_hash(script) for script in scripts)}",
        style=Markup(_part("report.css")),
        scripts=[Markup(script) for script in scripts],
        charts=_charts(report, sections),
        MOST_CHANGES=MOST_CHANGES,
        HALF=HALF,
        TALL=(TALL,),
    )
    return page


def _codes(report: Content) -> list[tuple[str, str]]:
    """Each code that the page names, and what it means."""
    codes = sorted({reason.code for reason in report.decision.reasons})
    return [(code, report.words.word("codes", code)) for code in codes]


def _charts(report: Content, sections: Sequence[Section]) -> dict[str, Any]:
    """What the page's script draws: specifications, data by columns, pictures, its own words."""
    words = report.words
    figures = [figure for part in sections for figure in part.figures]
    data = {name: rows for figure in figures for name, rows in figure.data.items()}
    small = {name: figure.thumbnails for figure in figures for name in figure.data}
    pictured = [given.pictures for part in sections for given in part.tables if given.pictures]
    small |= {pictures.name: pictures.thumbnails for pictures in pictured}
    small = {name: thumbnails for name, thumbnails in small.items() if thumbnails}
    row = {"i": "legend.sample", "c": "legend.class", "f": "legend.fine", "p": "legend.path"}
    return {
        "specs": {figure.name: figure.spec for figure in figures},
        "uses": {figure.name: list(figure.data) for figure in figures if figure.data},
        "data": {name: _by_column(rows) for name, rows in data.items()},
        "thumbnails": {name: _within(given, len(small)) for name, given in small.items()},
        "words": {
            "row": {key: words.say(title) for key, title in row.items()},
            "narrow": 22 if words.code == "en" else 12,
            **{key: words.say(f"page.{key}") for key in ("keys", "search", "all")},
        },
        "locale": {
            "decimal": ".",
            "thousands": ",",
            "grouping": [3],
            "currency": ["", ""],
            "minus": "−",
            "percent": words.say("format.percent", x=""),
        },
    }


def _within(thumbnails: Sequence[str], sets: int) -> list[str]:
    """Those that fit where several sets share the room of a page."""
    kept: list[str] = []
    size = 0
    for address in thumbnails[: MOST // sets]:
        size += len(address)
        if size > MOST_THUMBNAILS // sets:
            break
        kept.append(address)
    return kept


def _by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows with the same keys as one list for each key, which takes a third of the room."""
    return {key: [row[key] for row in rows] for key in rows[0]} if rows else {}


def _plain(text: object) -> str:
    """Text that markdown and HTML show as it is."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(str(text).split()))
    return escaped.replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")


def _quoted(text: object) -> str:
    """Text in double quotes, as YAML and JSON both read it; emoji are not cut into halves."""
    return json.dumps(shown(text), ensure_ascii=False)


def _fenced(commands: Sequence[str]) -> str:
    """Commands as code, in a fence that none of them can close."""
    lines = "\n".join(shown(command, 2000) for command in commands)
    longest = max((len(run) for run in re.findall("`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{lines}\n{fence}"


def card(report: Content) -> str:
    """The whole section; its metadata is to be merged into the card's front matter.

    Metrics are those of the last case; a pilot's trial only where nothing else was given.
    """
    words, decision, cases = report.words, report.decision, report.inputs.cases
    model = next(reversed(report.inputs.given or cases), None)
    measured = None if model is None else judged(model, report.layer)
    numbers: dict[str, Number | None] = {}
    if model is not None and measured is not None:
        numbers = {
            "share of variance inside classes": measured.measurement.share,
            "within-class variance": measured.measurement.within_class_variance,
            "finer labels inside classes, above chance": within_reading(model, measured.layer),
            "accuracy of the training label": label_reading(model, measured.layer),
        }
    known = ((name, number and number.estimate) for name, number in numbers.items())
    texts = {
        name: [*map(words.say, decision[name])] for name in ("change", "gain", "cost", "certainty")
    }
    texts["change"] += map(words.change, decision.changes)
    text: str = _template("card.md", words, escaped=False).render(
        report=report,
        decision=decision,
        texts=texts,
        model=model,
        measured=measured,
        data=model and (model.run.data.source if model.run else model.name),
        metrics=[(name, f"{value:.4g}") for name, value in known if value is not None],
        levels=level_table(cases, report.layer, words),
        variance=class_table(cases, report.layer, words, CARD_CLASSES * max(1, len(cases))),
        probes=probe_table(cases, words),
        audit=audit,
        absent=[words.say(f"absent.{name}") for name in report.absent],
        plain=_plain,
        quoted=_quoted,
        fenced=_fenced,
    )
    return text.rstrip() + "\n"
