"""The auditor's part: data, splits, hashes, seeds, versions, commands, conventions, limits."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from uncollapse import __version__
from uncollapse.report.decide.lookup import judged
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short
from uncollapse.report.record import Content
from uncollapse.report.sections.tables import Table

__all__ = [
    "commands_of",
    "convention_texts",
    "data_rows",
    "input_table",
    "limit_texts",
    "pilot_rows",
    "versions_of",
]

_DATA = ("source", "licence", "label", "split", "seed", "limit", "fingerprint", "fingerprint_of")
MOST_INPUTS = 60
PARTS = ("train", "validation", "test")


def data_rows(report: Content) -> Table:
    """What is recorded of data, splits and conditions, a column for each case."""
    words = report.words
    cases = report.inputs.cases
    facts = [
        _agreed([_facts(run, report.layer, words) for run in case.each], words) for case in cases
    ]
    names = list(dict.fromkeys(name for one in facts for name in one))
    rows = [[name, *(one.get(name, "–") for one in facts)] for name in names]
    titles = ["", *(short(case.name, 40) for case in cases)]
    return Table(titles, rows, left=1 + len(cases))


def _agreed(facts: list[dict[str, str]], words: Language) -> dict[str, str]:
    """Facts of several runs of a setting: each once, and all of them where they differ."""
    names = dict.fromkeys(name for one in facts for name in one)
    return {
        name: words.listed(list(dict.fromkeys(one.get(name, "–") for one in facts)))
        for name in names
    }


def _facts(case: Case, layer: str | None, words: Language) -> dict[str, str]:
    run = case.run or {}
    data = run.get("data") or {}
    found: dict[str, str] = {}
    for name in _DATA:
        if data.get(name) not in (None, "", []):
            title = words.say(f"audit.{name}") if name != "label" else words.say("column.class")
            text = str(data[name])
            found[title] = words.each(text) if name in ("split", "fingerprint_of") else text
    for part, count in (data.get("rows") or {}).items():
        found[words.say("audit.rows-of", part=words.word("split", part))] = words.count(count)
    for name in ("coverage", "status", "parameters", "steps_per_epoch"):
        if run.get(name) is not None:
            value = run[name]
            text = words.count(value) if isinstance(value, int) else str(value)
            text = words.word("status", value) if name == "status" else text
            text = words.each(text) if name == "coverage" else text
            found[words.say(f"audit.{name.replace('_', '-')}")] = text
    if "seed" in case.config:
        found[words.say("audit.training-seed")] = str(case.config["seed"])
    one = judged(case, layer)
    if one is not None:
        found |= _conditions(one.found.conditions.to_dict(), words)
    return found


def _conditions(given: dict[str, Any], words: Language) -> dict[str, str]:
    found = {
        words.say("audit.measured-rows"): words.count(given.get("samples") or 0),
        words.say("audit.units"): words.count(given.get("units") or 0),
        words.say("column.dimension"): words.count(given.get("dimension") or 0),
        words.say("audit.dtype"): str(given.get("dtype", "–")),
        words.say("audit.intervals"): words.record(str(given["interval"]))
        if given.get("interval")
        else "–",
        words.say("audit.measure-seed"): str(given.get("seed", "–")),
    }
    for name in ("layer", "split"):
        title = words.say("audit.layer" if name == "layer" else "audit.judged-split")
        found[title] = words.word(name, given.get(name) or words.say("audit.unknown"))
    for name in ("normalised", "views", "groups"):
        found[words.say(f"audit.{name}")] = words.value(bool(given.get(name)))
    dropped = given.get("dropped") or {}
    if dropped:
        found[words.say("audit.dropped")] = ", ".join(f"{k} {v}" for k, v in dropped.items())
    return found


def pilot_rows(report: Content) -> Table | None:
    """Under which conditions a pilot compared its settings; None without one."""
    pilot, words = report.inputs.pilot, report.words
    if pilot is None:
        return None
    conditions, statistics = pilot.get("conditions") or {}, pilot.get("statistics") or {}
    rows, plan = conditions.get("rows") or {}, conditions.get("plan") or {}
    asked = conditions.get("options") or {}
    parts = [
        (words.say("audit.rows-of", part=words.part(part)), words.count, rows.get(f"{part}_rows"))
        for part in PARTS
    ]
    facts: list[tuple[str, Callable[[Any], str], Any]] = [
        ("rows-share", words.share, rows.get("share")),
        ("half-width", words.share, rows.get("expected_half_width")),
        ("epochs", words.count, plan.get("epochs")),
        ("short-epochs", words.count, plan.get("short")),
        ("training-seed", words.value, conditions.get("seeds")),
        ("fresh-seeds", words.value, conditions.get("fresh_seeds")),
        ("least-gain", words.share, asked.get("least_gain")),
        ("margin", words.share, asked.get("margin")),
        ("level", words.share, statistics.get("level")),
        ("family", words.count, statistics.get("family_size")),
        ("method", words.record, statistics.get("method")),
    ]
    named = [(words.say(f"audit.{name}"), said, value) for name, said, value in facts]
    cells = [[name, said(value)] for name, said, value in [*parts, *named] if value is not None]
    return Table(["", words.say("kind.pilot")], cells, left=2)


def input_table(report: Content) -> Table:
    """Every file that was read, with its hash."""
    words = report.words
    rows = [
        [source.path, words.word("kind", source.kind), words.bytes(source.bytes), source.sha256]
        for source in report.inputs.sources
    ]
    titles = [words.say(f"column.{name}") for name in ("file", "kind", "size")]
    more = max(0, len(rows) - MOST_INPUTS)
    return Table([*titles, "SHA-256"], rows[:MOST_INPUTS], left=2, more=more, wordy={3})


def commands_of(report: Content) -> list[str]:
    """The command of each run, as it was given."""
    found = []
    for run in report.inputs.runs:
        given = (run.run or {}).get("command")
        if isinstance(given, list) and given:
            first = str(given[0])
            plain = "uncollapse" if first.endswith(("__main__.py", "uncollapse")) else first
            found.append(shlex.join([plain, *map(str, given[1:])]))
    return list(dict.fromkeys(found))


def versions_of(report: Content) -> Table:
    """Versions that each run recorded, and that of the report."""
    words = report.words
    cases = [case for case in report.inputs.cases if (case.run or {}).get("versions")]
    columns = [
        _agreed([dict((run.run or {}).get("versions") or {}) for run in case.each], words)
        for case in cases
    ]
    names = list(dict.fromkeys(name for one in columns for name in one))
    rows = [[name, *(str(one.get(name, "–")) for one in columns)] for name in names]
    rows.append(
        [words.say("audit.this-report"), *([f"uncollapse {__version__}"] * max(1, len(cases)))]
    )
    titles = [words.say("audit.versions"), *(short(case.name, 40) for case in cases)]
    return Table(titles if cases else [titles[0], ""], rows, left=1 + max(1, len(cases)))


def setting_table(report: Content) -> Table | None:
    """The whole configuration of each run, differences first."""
    words = report.words
    cases = [case for case in report.inputs.cases if case.config]
    if not cases:
        return None
    columns = [
        _agreed([{k: words.value(v) for k, v in run.config.items()} for run in case.each], words)
        for case in cases
    ]
    rows = []
    for key in sorted({key for one in columns for key in one}):
        cells = [one.get(key, words.value(None)) for one in columns]
        rows.append((len(set(cells)) == 1, [key, *cells]))
    rows.sort(key=lambda row: row[0])
    titles = [words.say("column.key"), *(short(case.name, 40) for case in cases)]
    return Table(titles, [cells for _, cells in rows], left=1 + len(cases))


def convention_texts(report: Content) -> list[str]:
    """Which of several usual definitions stand behind the numbers."""
    words = report.words
    settings = [case.setting for case in report.inputs.cases if case.setting]
    found = [words.say("conventions.sphere"), words.say("conventions.levels")]
    if settings:
        chosen = settings[-1]
        found.append(
            words.say(
                "conventions.loss",
                self_pairs=words.word("self-pairs", chosen.get("self_pairs", "exclude")),
                reduction=words.word("reduction", chosen.get("reduction", "anchors")),
            )
        )
    else:
        found.append(words.say("conventions.loss-any"))
    found += [words.say("conventions.chance"), words.say("conventions.interval")]
    if any(case.runs for case in report.inputs.cases) or report.inputs.pilot is not None:
        found.append(words.say("conventions.seeds"))
    measured = [one for case in report.inputs.cases for one in case.measured]
    margins = measured[-1].found.conditions.get("margins") if measured else None
    if margins:
        ends = {name: words.number(margins[name]) for name in ("collapsed", "healthy")}
        found.append(words.say("conventions.margins", **ends))
    return found


def limit_texts(report: Content) -> list[str]:
    """What the method cannot say."""
    words = report.words
    cases = report.inputs.cases
    pooled = bool(cases) and all(case.runs for case in cases)
    seeds = "seeds-only" if pooled else "seeds"
    seeds = "seeds-pilot" if report.inputs.pilot is not None else seeds
    names = ["optimum", "variance", seeds, "layer"]
    if any(one.streamed for case in cases for one in case.measured):
        names.append("streamed")
    if any(len(points.x) < points.rows for case in cases for points in case.points.values()):
        names.append("sampled")
    found = [words.say(f"limits.{name}") for name in names]
    notes = [note for case in cases for note in (case.prediction or {}).get("notes") or ()]
    return found + [words.record(note) for note in dict.fromkeys(map(str, notes))]
