"""The auditor's part: data, splits, hashes, seeds, versions, commands, conventions, limits."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from uncollapse import __version__
from uncollapse.records import Conditions, Message
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import judged
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import TextTable, table

_DATA = ("source", "licence", "label", "split", "seed", "limit", "fingerprint", "fingerprint_of")
# How the mean of several runs says what its intervals are (`read/settings.py`).
_POOLED = re.compile(r"Student's t over (\d+) runs with different seeds")
Facts = dict[str, str]


def _by_case(
    title: str, cases: Sequence[Case], facts: Callable[[Case], Facts], words: Language, missing: str
) -> TextTable:
    """A row for each fact, a column for each case; all of them where the runs of a case differ."""
    columns = [[facts(run) for run in case.each] for case in cases]
    names = dict.fromkeys(name for runs in columns for run in runs for name in run)
    rows = []
    for name in names:
        cells = [dict.fromkeys(run.get(name, missing) for run in runs) for runs in columns]
        rows.append([name, *(words.listed(list(cell)) for cell in cells)])
    return TextTable([title, *(words.case(case.name) for case in cases)], rows)


def data_rows(report: Content) -> TextTable:
    """What is recorded of data, splits and conditions, a column for each case."""
    words, cases = report.words, report.inputs.shown
    return _by_case("", cases, lambda run: _facts(run, report.layer, words), words, "–")


def _facts(case: Case, layer: str | None, words: Language) -> Facts:
    facts = _run_facts(case, words)
    if "seed" in case.config:
        facts[words.say("audit.training-seed")] = str(case.config["seed"])
    measured = judged(case, layer)
    if measured is not None:
        if measured.columns:
            colon = words.say("format.colon")
            used = [
                f"{words.word('column-role', role)}{colon}{short(name)}"
                for role, name in measured.columns.items()
            ]
            facts[words.say("audit.columns")] = words.listed(used)
        facts |= _conditions(measured.measurement.conditions, words)
    return facts


def _run_facts(case: Case, words: Language) -> Facts:
    run = case.run
    if run is None:
        return {}
    facts: Facts = {}
    for name in _DATA:
        if run.data[name] not in (None, ""):
            title = words.say("column.class" if name == "label" else f"audit.{name}")
            text = str(run.data[name])
            facts[title] = words.each(text) if name in ("split", "fingerprint_of") else text
    for part, count in run.data.rows.items():
        facts[words.say("audit.rows-of", part=part)] = words.count(count)
    if run.coverage:
        facts[words.say("audit.coverage")] = words.each(run.coverage)
    if run.data.notes:
        notes = [words.record(note) for note in run.data.notes]
        facts[words.say("audit.notes")] = words.say("format.semicolon").join(notes)
    facts[words.say("audit.status")] = words.word("status", run.status)
    for name in ("parameters", "steps_per_epoch"):
        if run[name] is not None:
            facts[words.say(f"audit.{name.replace('_', '-')}")] = words.count(run[name])
    return facts


def _interval(conditions: Conditions, words: Language) -> str:
    """How intervals were found; by its English where no message says it."""
    if not conditions.interval:
        return "–"
    if (runs := _POOLED.fullmatch(conditions.interval)) is not None:
        return words.say("audit.over-seeds", count=int(runs[1]))
    kind = "units" if conditions.blocks is None else "blocks"
    said = [Message(f"interval.{kind}{few}", {"blocks": conditions.blocks}) for few in ("", "-few")]
    known = next((one for one in said if str(one) == conditions.interval), None)
    return words.record(conditions.interval, known)


def _conditions(conditions: Conditions, words: Language) -> Facts:
    unknown = words.say("audit.unknown")
    facts = {
        "audit.measured-rows": words.count(conditions.samples),
        "audit.units": words.count(conditions.units or 0),
        "column.dimension": words.count(conditions.dimension),
        "audit.dtype": conditions.dtype,
        "audit.intervals": _interval(conditions, words),
        "audit.measure-seed": "–" if conditions.seed is None else str(conditions.seed),
        "audit.layer": words.word("layer", conditions.layer or unknown),
        "audit.judged-split": words.word("split", conditions.split or unknown),
        "audit.normalised": words.value(conditions.normalised),
        "audit.views": words.value(conditions.views),
        "audit.groups": words.value(conditions.groups),
    }
    if conditions.dropped:
        faults = conditions.dropped.items()
        dropped = [f"{words.word('dropped', fault)} {count}" for fault, count in faults]
        facts["audit.dropped"] = words.listed(dropped)
    return {words.say(title): text for title, text in facts.items()}


def pilot_rows(report: Content) -> TextTable | None:
    """Under which conditions a pilot compared its settings; None without one."""
    pilot, words = report.inputs.pilot, report.words
    if pilot is None:
        return None
    conditions, statistics = pilot.conditions, pilot.statistics
    rows, plan, asked = conditions.rows, conditions.plan, conditions.options
    facts: list[tuple[str, Callable[[Any], str], Any]] = [
        ("rows-share", words.share, rows and rows.share),
        ("half-width", words.share, rows and rows.expected_half_width),
        ("epochs", words.count, plan and plan.epochs),
        ("short-epochs", words.count, plan.short if plan and not plan.searched else None),
        ("searched", words.count, plan.searched if plan and plan.searched else None),
        ("training-seed", words.value, conditions.seeds or None),
        ("fresh-seeds", words.value, conditions.fresh_seeds or None),
        ("least-gain", words.share, asked.get("least_gain")),
        ("margin", words.share, asked.get("margin")),
        ("level", words.share, statistics.level),
        ("family", words.count, statistics.family_size),
        ("method", words.record, statistics.method),
    ]
    cells = [
        [words.say("audit.rows-of", part=part), words.count(rows[f"{part}_rows"])]
        for part in ("train", "validation", "test")
        if rows is not None
    ]
    cells += [[words.say(f"audit.{name}"), said(x)] for name, said, x in facts if x is not None]
    return TextTable(["", words.say("kind.pilot")], cells)


def input_table(report: Content) -> TextTable:
    """Every file that was read, by its path from the report, with its hash."""
    rows = [
        (_relative(file.path, report.folder), file.kind, file.bytes, file.sha256)
        for file in report.inputs.sources
    ]
    columns = "file kind:kind size:bytes sha256"
    return table(report.words, columns, rows, sha256="SHA-256")


def _relative(path: str, folder: str) -> str:
    if not Path(path).exists():  # an address, or rows that were given as a table
        return path
    try:
        return Path(os.path.relpath(path, folder or ".")).as_posix()
    except ValueError:  # on another drive
        return path


def commands_of(report: Content) -> list[str]:
    """The command of each run, as it was given."""
    commands = []
    for case in report.inputs.runs:
        if case.run is not None and case.run.command:
            first, *rest = case.run.command
            plain = "uncollapse" if first.endswith(("__main__.py", "uncollapse")) else first
            commands.append(shlex.join([plain, *rest]))
    return list(dict.fromkeys(commands))


def versions_of(report: Content) -> TextTable:
    """Versions that each run recorded, and that of the report."""
    words = report.words
    cases = [case for case in report.inputs.shown if case.run is not None and case.run.versions]
    title, own = words.say("audit.versions"), words.say("audit.this-report")
    shown = _by_case(title, cases, lambda c: dict(c.run.versions) if c.run else {}, words, "–")
    if not cases:
        rows = [[name, version] for name, version in report.made.versions.items()]
        return TextTable([own, ""], rows)
    last = [own, *[f"uncollapse {__version__}"] * len(cases)]
    return TextTable(shown.titles, [*shown.rows, last])


def setting_table(report: Content) -> TextTable | None:
    """The whole configuration of each run, differences first."""
    words = report.words
    cases = [case for case in report.inputs.shown if case.config]
    if not cases:
        return None
    key, none = words.say("column.key"), words.value(None)
    shown = _by_case(
        key, cases, lambda run: {k: words.value(v) for k, v in run.config.items()}, words, none
    )
    rows = sorted(shown.rows, key=lambda row: (len(set(row[1:])) == 1, row[0]))
    return replace(shown, rows=rows)


def convention_texts(report: Content) -> list[str]:
    """Which of several usual definitions stand behind the numbers."""
    words, cases = report.words, report.inputs.cases
    settings = [case.setting for case in cases if case.setting is not None]
    loss = words.say("conventions.loss-any")
    if settings:
        self_pairs = words.word("self-pairs", settings[-1].self_pairs)
        reduction = words.word("reduction", settings[-1].reduction)
        loss = words.say("conventions.loss", self_pairs=self_pairs, reduction=reduction)
    texts = [words.say("conventions.collapse"), words.say("conventions.sphere")]
    texts += [words.say("conventions.levels"), loss]
    texts += [words.say("conventions.chance"), words.say("conventions.interval")]
    if any(case.runs for case in cases) or report.inputs.pilot is not None:
        texts.append(words.say("conventions.seeds"))
    measured = report.inputs.measured
    margins = measured[-1].measurement.conditions.margins if measured else None
    if margins is not None:
        ends = {name: words.number(margins[name]) for name in ("collapsed", "healthy")}
        texts.append(words.say("conventions.margins", **ends))
    return texts


def limit_texts(report: Content) -> list[str]:
    """What the method cannot say."""
    words, cases = report.words, report.inputs.cases
    pooled = bool(cases) and all(case.runs for case in cases)
    seeds = "seeds-only" if pooled else "seeds"
    seeds = "seeds-pilot" if report.inputs.pilot is not None else seeds
    names = ["optimum", "variance", seeds, "layer"]
    if any(measured.streamed for measured in report.inputs.measured):
        names.append("streamed")
    if any(len(points.x) < points.rows for case in cases for points in case.points.values()):
        names.append("sampled")
    notes = [note for case in cases if case.prediction for note in case.prediction.notes]
    texts = [words.say(f"limits.{name}") for name in names]
    texts.append(words.say("limits.below-zero"))
    return texts + [words.record(note) for note in dict.fromkeys(notes)]
