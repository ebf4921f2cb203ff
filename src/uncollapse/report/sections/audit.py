"""The auditor's part: data, splits, hashes, seeds, versions, commands, conventions, limits."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from uncollapse import __version__
from uncollapse.records import Conditions, Message, PilotConditions, PilotRows
from uncollapse.report.decide.lookup import judged
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short
from uncollapse.report.record import Content
from uncollapse.report.sections.tables import Table, titles_of

_DATA = ("source", "licence", "label", "split", "seed", "limit", "fingerprint", "fingerprint_of")
MOST_INPUTS = 60
Facts = dict[str, str]


def _by_case(
    cases: Sequence[Case], facts: Callable[[Case], Facts], missing: str, words: Language
) -> dict[str, list[str]]:
    """Facts by name, a cell for each case; all of them where the runs of a case differ."""
    columns = [[facts(run) for run in case.each] for case in cases]
    names = dict.fromkeys(name for runs in columns for run in runs for name in run)
    return {
        name: [
            words.listed(list(dict.fromkeys(run.get(name, missing) for run in runs)))
            for runs in columns
        ]
        for name in names
    }


def _names(cases: Sequence[Case]) -> list[str]:
    return [short(case.name, 40) for case in cases]


def data_rows(report: Content) -> Table:
    """What is recorded of data, splits and conditions, a column for each case."""
    words, cases = report.words, report.inputs.cases
    facts = _by_case(cases, lambda run: _facts(run, report.layer, words), "–", words)
    rows = [[name, *cells] for name, cells in facts.items()]
    return Table(["", *_names(cases)], rows, left=1 + len(cases))


def _facts(case: Case, layer: str | None, words: Language) -> Facts:
    facts = _run_facts(case, words)
    if "seed" in case.config:
        facts[words.say("audit.training-seed")] = str(case.config["seed"])
    measured = judged(case, layer)
    if measured is not None:
        facts |= _conditions(measured.measurement.conditions, words)
    return facts


def _run_facts(case: Case, words: Language) -> Facts:
    run = case.run
    if run is None:
        return {}
    facts: Facts = {}
    for name in _DATA:
        if run.data[name] not in (None, ""):
            title = words.say(f"audit.{name}") if name != "label" else words.say("column.class")
            text = str(run.data[name])
            facts[title] = words.each(text) if name in ("split", "fingerprint_of") else text
    for part, count in run.data.rows.items():
        facts[words.say("audit.rows-of", part=part)] = words.count(count)
    if run.coverage:
        facts[words.say("audit.coverage")] = words.each(run.coverage)
    facts[words.say("audit.status")] = words.word("status", run.status)
    for name in ("parameters", "steps_per_epoch"):
        if run[name] is not None:
            facts[words.say(f"audit.{name.replace('_', '-')}")] = words.count(run[name])
    return facts


def _interval(conditions: Conditions) -> Message | None:
    """How intervals were found, as a message; None where only its English is known."""
    if conditions.blocks is not None:
        return Message("interval.blocks", {"blocks": conditions.blocks})
    units = Message("interval.units")
    return units if conditions.interval == str(units) else None


def _conditions(conditions: Conditions, words: Language) -> Facts:
    interval = conditions.interval
    seed = "–" if conditions.seed is None else str(conditions.seed)
    unknown = words.say("audit.unknown")
    facts = {
        "audit.measured-rows": words.count(conditions.samples),
        "audit.units": words.count(conditions.units or 0),
        "column.dimension": words.count(conditions.dimension),
        "audit.dtype": conditions.dtype,
        "audit.intervals": words.record(interval, _interval(conditions)) if interval else "–",
        "audit.measure-seed": seed,
        "audit.layer": words.word("layer", conditions.layer or unknown),
        "audit.judged-split": words.word("split", conditions.split or unknown),
        "audit.normalised": words.value(conditions.normalised),
        "audit.views": words.value(conditions.views),
        "audit.groups": words.value(conditions.groups),
    }
    if conditions.dropped:
        dropped = [f"{fault} {count}" for fault, count in conditions.dropped.items()]
        facts["audit.dropped"] = ", ".join(dropped)
    return {words.say(title): text for title, text in facts.items()}


def pilot_rows(report: Content) -> Table | None:
    """Under which conditions a pilot compared its settings; None without one."""
    pilot, words = report.inputs.pilot, report.words
    if pilot is None:
        return None
    conditions, statistics = pilot.conditions or PilotConditions(), pilot.statistics
    rows, plan, asked = conditions.rows, conditions.plan, conditions.options
    facts: list[tuple[str, Callable[[Any], str], Any]] = [
        ("rows-share", words.share, rows and rows.share),
        ("half-width", words.share, rows and rows.expected_half_width),
        ("epochs", words.count, plan and plan.epochs),
        ("short-epochs", words.count, plan and plan.short),
        ("training-seed", words.value, conditions.seeds or None),
        ("fresh-seeds", words.value, conditions.fresh_seeds or None),
        ("least-gain", words.share, asked.get("least_gain")),
        ("margin", words.share, asked.get("margin")),
        ("level", words.share, statistics and statistics.level),
        ("family", words.count, statistics and statistics.family_size),
        ("method", words.record, statistics and statistics.method),
    ]
    cells = [] if rows is None else _split_sizes(rows, words)
    cells += [[words.say(f"audit.{name}"), said(x)] for name, said, x in facts if x is not None]
    return Table(["", words.say("kind.pilot")], cells, left=2)


def _split_sizes(rows: PilotRows, words: Language) -> list[list[str]]:
    counts = {"train": rows.train_rows, "validation": rows.validation_rows, "test": rows.test_rows}
    return [[words.say("audit.rows-of", part=p), words.count(n)] for p, n in counts.items()]


def input_table(report: Content) -> Table:
    """Every file that was read, with its hash."""
    words = report.words
    rows = [
        [source.path, words.word("kind", source.kind), words.bytes(source.bytes), source.sha256]
        for source in report.inputs.sources
    ]
    titles = [*titles_of(words, "file kind size"), "SHA-256"]
    return Table(titles, rows, left=2, wordy={3}).cut(MOST_INPUTS)


def commands_of(report: Content) -> list[str]:
    """The command of each run, as it was given."""
    commands = []
    for case in report.inputs.runs:
        if case.run is not None and case.run.command:
            first, *rest = case.run.command
            plain = "uncollapse" if first.endswith(("__main__.py", "uncollapse")) else first
            commands.append(shlex.join([plain, *rest]))
    return list(dict.fromkeys(commands))


def versions_of(report: Content) -> Table:
    """Versions that each run recorded, and that of the report."""
    words = report.words
    cases = [case for case in report.inputs.cases if case.run is not None and case.run.versions]
    versions = _by_case(cases, lambda run: dict(run.run.versions) if run.run else {}, "–", words)
    count = max(1, len(cases))
    this = [words.say("audit.this-report"), *([f"uncollapse {__version__}"] * count)]
    rows = [*([name, *cells] for name, cells in versions.items()), this]
    return Table([words.say("audit.versions"), *(_names(cases) or [""])], rows, left=1 + count)


def setting_table(report: Content) -> Table | None:
    """The whole configuration of each run, differences first."""
    words = report.words
    cases = [case for case in report.inputs.cases if case.config]
    if not cases:
        return None
    none = words.value(None)
    values = _by_case(cases, lambda run: _values(run.config, words), none, words)
    rows = [[key, *values[key]] for key in sorted(values)]
    rows.sort(key=lambda row: len(set(row[1:])) == 1)
    return Table([words.say("column.key"), *_names(cases)], rows, left=1 + len(cases))


def _values(config: Mapping[str, object], words: Language) -> Facts:
    return {key: words.value(value) for key, value in config.items()}


def convention_texts(report: Content) -> list[str]:
    """Which of several usual definitions stand behind the numbers."""
    words, cases = report.words, report.inputs.cases
    settings = [case.setting for case in cases if case.setting is not None]
    texts = [words.say("conventions.sphere"), words.say("conventions.levels")]
    if settings:
        chosen = {
            "self_pairs": words.word("self-pairs", settings[-1].self_pairs),
            "reduction": words.word("reduction", settings[-1].reduction),
        }
        texts.append(words.say("conventions.loss", **chosen))
    else:
        texts.append(words.say("conventions.loss-any"))
    texts += [words.say("conventions.chance"), words.say("conventions.interval")]
    if any(case.runs for case in cases) or report.inputs.pilot is not None:
        texts.append(words.say("conventions.seeds"))
    measured = [measured.measurement for case in cases for measured in case.measured]
    margins = measured[-1].conditions.margins if measured else None
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
    if any(measured.streamed for case in cases for measured in case.measured):
        names.append("streamed")
    if any(len(points.x) < points.rows for case in cases for points in case.points.values()):
        names.append("sampled")
    notes = [note for case in cases if case.prediction for note in case.prediction.notes]
    texts = [words.say(f"limits.{name}") for name in names]
    return texts + [words.record(note) for note in dict.fromkeys(notes)]
