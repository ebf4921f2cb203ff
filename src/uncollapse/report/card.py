"""A section of a model card, as Hugging Face has them: metadata, then markdown."""

from __future__ import annotations

import json
import re

from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import judged, label_reading, within_reading
from uncollapse.report.language import Number
from uncollapse.report.page import template
from uncollapse.report.sections import audit
from uncollapse.report.sections.section import class_table, level_table, probe_table

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def _plain(text: object) -> str:
    """Text that markdown and HTML show as it is."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(str(text).split()))
    return escaped.replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")


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
    text: str = template("card.md", words, escaped=False).render(
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
        json=json.dumps,
    )
    return text.rstrip() + "\n"
