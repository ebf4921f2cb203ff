"""A section of a model card, as Hugging Face has them: metadata, then markdown."""

from __future__ import annotations

import json
import re

from uncollapse.records import Message
from uncollapse.report.decide.lookup import judged, label_reading, within_reading
from uncollapse.report.intervals import Number
from uncollapse.report.language import Language
from uncollapse.report.record import Content
from uncollapse.report.sections.audit import (
    commands_of,
    convention_texts,
    data_rows,
    input_table,
    limit_texts,
)
from uncollapse.report.sections.tables import Table, class_table, level_table, probe_table

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def _plain(text: object) -> str:
    """Text that markdown and HTML show as it is."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(str(text).split()))
    return escaped.replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")


def card(report: Content) -> str:
    """The whole section; its metadata is to be merged into the card's front matter."""
    words = report.words
    decision = report.decision
    lines = ["---", *_metadata(report), "---", "", f"## {words.say('page.title')}", ""]
    verdict = words.word("verdict", decision.verdict)
    lines += [f"**{verdict}.** {_said(decision.headline, words)}", ""]
    for name in ("change", "gain", "cost", "certainty"):
        messages = getattr(decision, name)
        if not messages:
            continue
        lines += [f"### {words.say(f'decision.{name}')}", ""]
        lines += [f"- {_said(message, words)}" for message in messages]
        if name == "change":
            lines += [f"- {_plain(words.change(change))}" for change in decision.changes]
        lines.append("")
    for reason in decision.reasons:
        message = reason.messages[0] if reason.messages else None
        lines.append(f"- {reason.code}: {_plain(words.record(reason.text, message))}")
    lines += ["", *_tables(report, words), *_audit(report, words)]
    return "\n".join(lines).rstrip() + "\n"


def _said(message: Message, words: Language) -> str:
    return _plain(words.say(message))


def _metadata(report: Content) -> list[str]:
    """Front matter: tags, and the metrics of the model as `model-index` has them.

    The model is the last case that was given; a pilot's trials only where nothing else was.
    """
    given = [case for case in report.inputs.cases if case.kind != "trial"]
    model = next(reversed(given or report.inputs.cases), None)
    lines = ["tags:", "- supervised-contrastive-learning", "- class-collapse"]
    measured = None if model is None else judged(model, report.layer)
    if model is None or measured is None:
        return lines
    measurement, layer = measured.measurement, measured.layer
    data = json.dumps(model.name if model.run is None else model.run.data.source)
    numbers: dict[str, Number | None] = {
        "share of variance inside classes": measurement.share,
        "within-class variance": measurement.within_class_variance,
        "finer labels inside classes, above chance": within_reading(model, layer),
        "accuracy of the training label": label_reading(model, layer),
    }
    lines += [
        "model-index:",
        f"- name: {json.dumps(model.name)}",
        "  results:",
        "  - task: {type: feature-extraction}",
        f"    dataset: {{name: {data}, type: {data}, "
        f"split: {json.dumps(measured.split or 'unknown')}}}",
        "    metrics:",
    ]
    for name, number in numbers.items():
        if number is not None and number.estimate is not None:
            kind = name.replace(",", "").replace(" ", "-")
            lines += [f"    - type: {kind}", f"      name: {json.dumps(name)}"]
            lines.append(f"      value: {number.estimate:.4g}")
    return lines


def _markdown(table: Table) -> list[str]:
    rules = ["---" if table.aligned(k) == "w" else "---:" for k in range(len(table.titles))]
    rows = [[_plain(cell) for cell in row] for row in [table.titles, *table.rows]]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"| {' | '.join(rules)} |", *lines[1:], ""]


def _tables(report: Content, words: Language) -> list[str]:
    cases = report.inputs.cases
    lines: list[str] = []
    for name, table in (
        ("levels", level_table(cases, report.layer, words)),
        ("variance", class_table(cases, report.layer, words)),
        ("probes", probe_table(cases, words)),
    ):
        if table.rows:
            lines += [f"### {words.say(f'section.{name}')}", "", *_markdown(table)]
    return lines


def _audit(report: Content, words: Language) -> list[str]:
    lines: list[str] = []
    if (data := data_rows(report)).rows:
        lines += [f"### {words.say('section.data')}", "", *_markdown(data)]
    lines += [f"### {words.say('section.inputs')}", "", *_markdown(input_table(report))]
    if commands := commands_of(report):
        lines += [f"### {words.say('section.commands')}", ""]
        lines += [f"    {command}" for command in commands] + [""]
    for name, texts in (
        ("conventions", convention_texts(report)),
        ("limits", limit_texts(report)),
        ("absent", [words.say(f"absent.{name}") for name in report.absent]),
    ):
        if texts:
            lines += [f"### {words.say(f'section.{name}')}", ""]
            lines += [*(f"- {_plain(text)}" for text in texts), ""]
    return lines
