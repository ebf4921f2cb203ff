"""The report as one HTML page that needs no network, and as a section of a model card."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from uncollapse import __version__
from uncollapse.errors import InputError, shown, visible
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import judged, label_reading, within_reading
from uncollapse.report.language import Language, Number, need
from uncollapse.report.sections import audit
from uncollapse.report.sections.section import class_table, level_table, probe_table

MOST_BYTES = 3_000_000
# Reasons on the first screen.
REASONS = 4
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
    environment.globals |= {"say": words.say, "word": words.word, "words": words}
    strict = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    environment.policies["json.dumps_kwargs"] = strict
    return environment.from_string(_part(name))


def _visible(value: Any) -> Any:
    """Text without what a terminal obeys or nobody sees; what is markup is ours."""
    return visible(value) if type(value) is str else value


def _page(report: Content, points: int) -> str:
    from markupsafe import Markup

    from uncollapse.report.sections.engineer import engineer

    words = report.words
    locale = {
        "decimal": ".",
        "thousands": ",",
        "grouping": [3],
        "currency": ["", ""],
        "minus": "−",
        "percent": words.say("format.percent", x=""),
    }
    sections = engineer(report, points)
    figures = [figure for part in sections for figure in part.figures]
    specs = {figure.name: figure.spec for figure in figures}
    data = {figure.spec["data"]["name"]: figure.rows for figure in figures if figure.rows}
    scripts = [_bundle(), _part("report.js")]
    page: str = _template("report.html", words, escaped=True).render(
        report=report,
        decision=report.decision,
        reasons=report.decision.reasons[:REASONS],
        sections=sections,
        audit=audit,
        version=__version__,
        created=words.date(report.created),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {' '.join(_hash(script) for script in scripts)}",
        style=Markup(_part("report.css")),
        scripts=[Markup(script) for script in scripts],
        charts={"specs": specs, "data": data, "locale": locale},
    )
    return page


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
        variance=class_table(cases, report.layer, words),
        probes=probe_table(cases, words),
        audit=audit,
        absent=[words.say(f"absent.{name}") for name in report.absent],
        plain=_plain,
        quoted=_quoted,
        fenced=_fenced,
    )
    return text.rstrip() + "\n"
