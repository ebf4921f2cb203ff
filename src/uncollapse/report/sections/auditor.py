"""The auditor's part: its sections, and which headings of other documents they answer."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from uncollapse import __version__
from uncollapse.records import Environment, Margins
from uncollapse.report.decide.decide import Content
from uncollapse.report.language import Language
from uncollapse.report.sections import audit
from uncollapse.report.sections.section import Section, TextTable

# Power that the estimate of energy assumes, in watts: one busy desktop processor.
WATTS = 65
_JOULES_PER_KWH = 3.6e6
# Headings of a Hugging Face model card and points of the EU AI Act's Annex IV (Regulation (EU)
# 2024/1689), and the sections that have something to say on them.
HEADINGS: dict[str, tuple[str, ...]] = {
    "hf-description": ("settings", "data"),
    "hf-direct-use": ("responsibility",),
    "hf-out-of-scope": (),
    "hf-risks": ("slices", "limits"),
    "hf-get-started": ("commands",),
    "hf-training-data": ("data", "inputs"),
    "hf-training-procedure": ("settings", "commands", "cost"),
    "hf-testing": ("data", "slices", "conventions", "margins"),
    "hf-results": ("decision", "variance", "levels", "probes", "pilot"),
    "hf-environment": ("cost",),
    "hf-technical": ("made", "settings"),
    "hf-authors": ("responsibility",),
    "ai-1": ("responsibility", "made"),
    "ai-2": ("settings", "data", "conventions", "probes", "pilot-conditions"),
    "ai-3": ("variance", "slices", "limits"),
    "ai-4": ("conventions", "margins"),
    "ai-5": (),
    "ai-6": ("comparison", "pilot"),
    "ai-7": (),
    "ai-8": (),
    "ai-9": (),
}


def auditor(report: Content, engineer: Collection[str]) -> list[Section]:
    """Sections for the auditor, beside those for the engineer of these names."""
    words = report.words
    sections = [
        _table_section("responsibility", [_responsibility(report, words)]),
        Section("absent", notes=[words.say(f"absent.{name}") for name in report.absent]),
        _table_section("made", [_made(report, words)]),
        Section("commands", commands=audit.commands_of(report)),
        _table_section("data", [audit.data_rows(report)], words.say("intro.data")),
        _table_section("margins", [_margins(report, words)]),
        _table_section("pilot-conditions", [audit.pilot_rows(report)]),
        _table_section("cost", [_cost(report, words)]),
        _table_section("settings", [audit.versions_of(report)]),
        Section("inputs", tables=[audit.input_table(report)], folded=True, printed=True),
        _configuration(report),
        Section("conventions", notes=audit.convention_texts(report)),
        Section("limits", notes=audit.limit_texts(report)),
    ]
    kept = [s for s in sections if s.notes or s.commands or any(t.rows for t in s.tables)]
    known = {*engineer, *(section.name for section in kept), "decision"}
    return [*kept, _headings(known, words)]


def _table_section(name: str, tables: Sequence[TextTable | None], *texts: str) -> Section:
    return Section(name, list(texts), tables=[given for given in tables if given is not None])


def _configuration(report: Content) -> Section:
    """The whole configuration of each run, on demand."""
    setting = audit.setting_table(report)
    return Section("configuration", tables=[] if setting is None else [setting], folded=True)


def _responsibility(report: Content, words: Language) -> TextTable:
    """What must be declared by people; a line to write on where nothing was."""
    rows = [
        [words.say(f"audit.{name.replace('_', '-')}"), said or _LINE]
        for name, said in vars(report.use).items()
    ]
    return TextTable(["", ""], [*rows, [words.say("audit.signature"), _LINE]])


_LINE = "_" * 40


def _made(report: Content, words: Language) -> TextTable:
    """Command, code and machine of this page and of each run."""
    runs = [case for case in report.inputs.runs if case.run is not None and case.run.environment]
    columns = [report.made, *(r.run.environment for r in runs if r.run and r.run.environment)]
    titles = ["", words.say("audit.this-report"), *(words.case(run.name) for run in runs)]
    facts = [_facts(made, words) for made in columns]
    rows = [[name, *(column[name] for column in facts)] for name in facts[0]]
    return TextTable(titles, rows)


def _facts(made: Environment, words: Language) -> dict[str, str]:
    unknown = words.say("audit.unknown")
    threads = words.listed([f"{name}={count}" for name, count in made.threads.items()])
    named = {
        "command": shlex.join(made.command) or unknown,
        "commit": made.commit or unknown,
        "os": made.system or unknown,
        "cpu": made.processor or unknown,
        "cores": words.count(made.cores) if made.cores else unknown,
        "threads": threads if made.threads else unknown,
        "gpu": made.gpu or words.say("audit.no-gpu"),
        "python": made.versions.get("python", unknown),
    }
    return {words.say(f"audit.{name}"): text for name, text in named.items()}


def _margins(report: Content, words: Language) -> TextTable | None:
    """Every margin that a verdict was held to, where it was declared and when."""
    rows = []
    for case in report.inputs.shown:
        for measured in case.measured[:1]:
            margins = measured.measurement.conditions.margins or Margins()
            where = "margins-default" if margins == Margins() else "margins-own"
            shown = [
                f"{words.word('margin', name)} {value:g}" for name, value in vars(margins).items()
            ]
            said = words.say(f"audit.{where}", version=__version__)
            together = words.say("format.semicolon").join(shown)
            rows.append([words.case(case.name), together, said])
    if (pilot := report.inputs.pilot) is not None:
        options = pilot.conditions.options
        shown = [
            f"{words.say(f'audit.{title}')} {words.share(float(options[name]))}"
            for name, title in (("least_gain", "least-gain"), ("margin", "margin"))
            if name in options
        ]
        if shown:
            declared = words.say("audit.margins-pilot")
            rows.append([words.say("kind.pilot"), words.listed(shown), declared])
    titles = ["", words.say("legend.margin"), words.say("audit.margins-when")]
    return TextTable(titles, rows) if rows else None


def _cost(report: Content, words: Language) -> TextTable | None:
    """Recorded time, and energy as a rough estimate that says so."""
    runs = [case for case in report.inputs.shown for case in case.each if case.seconds]
    rows = [[words.case(run.name), *_spent(run.seconds or 0.0, words)] for run in runs]
    if (pilot := report.inputs.pilot) is not None:
        seconds = sum(trial.seconds for trial in pilot.trials)
        if seconds:
            rows.append([words.say("kind.pilot"), *_spent(seconds, words)])
    titles = ["", words.say("audit.time-recorded"), words.say("audit.energy")]
    return TextTable(titles, rows) if rows else None


def _spent(seconds: float, words: Language) -> list[str]:
    kwh = seconds * WATTS / _JOULES_PER_KWH
    return [words.duration(seconds), words.say("audit.energy-value", kwh=kwh, watts=WATTS)]


def _headings(known: Collection[str], words: Language) -> Section:
    """Which headings of other documents this page answers, and where; a table for each document."""
    tables = []
    for document in ("hf", "ai"):
        rows = []
        for key, names in HEADINGS.items():
            if key.startswith(document):
                titles = [
                    "page.decision" if n == "decision" else f"section.{n}"
                    for n in names
                    if n in known
                ]
                where = words.say("format.semicolon").join(map(words.say, titles))
                rows.append([words.say(f"headings.{key}"), where or words.say("headings.none")])
        tables.append(
            TextTable([words.say(f"headings.{document}"), words.say("column.answered")], rows)
        )
    text = words.say("intro.headings")
    return Section("headings", [text], tables=tables, folded=True, printed=True)
