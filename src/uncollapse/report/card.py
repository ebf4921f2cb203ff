"""A section of a model card, as Hugging Face has them: metadata, then markdown."""

from __future__ import annotations

import json
import re

from uncollapse.report.decide.lookup import judged, label_reading, within_reading
from uncollapse.report.language import Language, Number
from uncollapse.report.record import Content
from uncollapse.report.sections.audit import (
    commands_of,
    convention_texts,
    data_rows,
    input_table,
    limit_texts,
)
from uncollapse.report.sections.section import TextTable
from uncollapse.report.sections.tables import class_table, level_table, probe_table

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def _plain(text: object) -> str:
    """Text that markdown and HTML show as it is."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(str(text).split()))
    return escaped.replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")


def card(report: Content) -> str:
    """The whole section; its metadata is to be merged into the card's front matter."""
    words, decision = report.words, report.decision
    lines = ["---", *_metadata(report), "---", "", f"## {words.say('page.title')}", ""]
    verdict = words.word("verdict", decision.verdict)
    lines += [f"**{verdict}.** {_plain(report.headline)}", ""]
    for name in ("change", "gain", "cost", "certainty"):
        texts = [words.say(message) for message in getattr(decision, name)]
        if name == "change":
            texts += [words.change(change) for change in decision.changes]
        lines += _headed(words.say(f"decision.{name}"), _bullets(texts))
    for reason in decision.reasons:
        message = reason.messages[0] if reason.messages else None
        lines.append(f"- {reason.code}: {_plain(words.record(reason.text, message))}")
    lines.append("")
    for name, body in _sections(report, words).items():
        lines += _headed(words.say(f"section.{name}"), body)
    return "\n".join(lines).rstrip() + "\n"


def _headed(title: str, body: list[str]) -> list[str]:
    return [f"### {title}", "", *body, ""] if body else []


def _bullets(texts: list[str]) -> list[str]:
    return [f"- {_plain(text)}" for text in texts]


def _metadata(report: Content) -> list[str]:
    """Tags, and the metrics of the last case; a pilot's trial only where nothing else was given."""
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


def _markdown(table: TextTable) -> list[str]:
    rules = ["---:" if place in table.numbers else "---" for place in range(len(table.titles))]
    rows = [[_plain(cell) for cell in row] for row in [table.titles, *table.rows]]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"| {' | '.join(rules)} |", *lines[1:]]


def _sections(report: Content, words: Language) -> dict[str, list[str]]:
    """The lines of each section; none for one without data."""
    cases = report.inputs.cases
    tables = {
        "levels": level_table(cases, report.layer, words),
        "variance": class_table(cases, report.layer, words),
        "probes": probe_table(cases, words),
        "data": data_rows(report),
    }
    return {
        **{name: _markdown(table) for name, table in tables.items() if table.rows},
        "inputs": _markdown(input_table(report)),
        "commands": [f"    {command}" for command in commands_of(report)],
        "conventions": _bullets(convention_texts(report)),
        "limits": _bullets(limit_texts(report)),
        "absent": _bullets([words.say(f"absent.{name}") for name in report.absent]),
    }
