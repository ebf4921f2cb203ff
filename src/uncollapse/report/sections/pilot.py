"""The pilot's trials as a picture and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uncollapse.report.charts.rows import trial_chart
from uncollapse.report.language import Language, short
from uncollapse.report.read.pilot_parts import changes_of, trials_of
from uncollapse.report.sections.section import Section, charted, section
from uncollapse.report.sections.tables import Table

__all__ = ["number_at", "pilot_section"]

MOST_TRIALS = 60


def number_at(record: Any, *path: str) -> float | None:
    """A number inside a record, or its estimate; None where there is none."""
    for part in path:
        record = record.get(part) if isinstance(record, Mapping) else None
    if isinstance(record, Mapping):
        record = record.get("estimate")
    return float(record) if isinstance(record, int | float) else None


def pilot_section(pilot: Mapping[str, Any] | None, words: Language) -> Section | None:
    """Every trial; None without a pilot."""
    if pilot is None:
        return None
    objective = pilot.get("objective") or {}
    about = words.say(
        "intro.pilot-layer",
        objective=words.record(str(objective.get("text") or objective.get("name") or "–")),
        layer=words.word("layer", pilot.get("layer")),
    )
    notes = [
        f"{short(trial.get('name'))}{words.say('format.colon')}{words.record(str(trial['note']))}"
        for trial in trials_of(pilot)
        if trial.get("note")
    ]
    parts = {"tables": [("", pilot_table(pilot, words))], "notes": notes}
    paragraphs = (words.say("intro.pilot"), about)
    drawn = charted("pilot", words, pilot_chart(pilot, words), *paragraphs, **parts)
    return drawn or section("pilot", words, *paragraphs, **parts)


def trial_text(trial: Mapping[str, Any], words: Language) -> str:
    """What a trial changes, in words."""
    changes = [
        words.say(
            "decision.from-to",
            name=words.key(change.key),
            before=words.value(change.before),
            after=words.value(change.after),
        )
        for change in changes_of(trial)
    ]
    return words.say("format.semicolon").join(changes)


def _role(pilot: Mapping[str, Any], trial: Mapping[str, Any], words: Language) -> str:
    recommended = (pilot.get("recommendation") or {}).get("trial")
    if trial.get("name") == (pilot.get("start") or {}).get("name"):
        return words.say("trial.start")
    if recommended is not None and trial.get("name") == recommended:
        return words.say("page.recommended")
    if trial.get("status") == "pruned":
        return words.word("status", "pruned")
    return words.say("trial.candidate")


def pilot_chart(pilot: Mapping[str, Any], words: Language) -> dict[str, Any] | None:
    """Predicted variance against the measured objective."""
    layer = str(pilot.get("layer") or "projector")
    rows = []
    for trial in trials_of(pilot):
        predicted = number_at(trial, "prediction", "instance_variance")
        if predicted is None:
            continue
        seeds = [number_at(run, "measured", layer, "objective") for run in trial.get("runs") or ()]
        rows.append(
            {
                "name": short(trial_text(trial, words) or trial.get("name")),
                "trial": short(trial.get("name"), 24),
                "role": _role(pilot, trial, words),
                "predicted": predicted,
                "objective": number_at(trial, "mean", layer, "objective"),
                "task": number_at(trial, "mean", layer, "task"),
                "seeds": [seed for seed in seeds if seed is not None],
            }
        )
    return trial_chart(rows, words)


def pilot_table(pilot: Mapping[str, Any], words: Language) -> Table:
    """Every trial: change, prediction, measured numbers, runs, time and status."""
    layer = str(pilot.get("layer") or "projector")
    rows = []
    for trial in trials_of(pilot):
        reason = str(trial.get("reason") or "")
        status = words.word("status", trial.get("status"))
        rows.append(
            [
                short(trial_text(trial, words) or trial.get("name"), 120),
                _role(pilot, trial, words),
                words.number(number_at(trial, "prediction", "instance_variance")),
                words.number(number_at(trial, "mean", layer, "instance_variance")),
                words.share(number_at(trial, "mean", layer, "objective")),
                words.share(number_at(trial, "mean", layer, "task")),
                words.points(number_at(trial, "gain")),
                words.point_ends(trial.get("gain")),
                words.count(len(trial.get("runs") or ())),
                words.duration(trial.get("seconds") or 0),
                status
                + (
                    f"{words.say('format.colon')}{short(words.record(reason), 120)}"
                    if reason
                    else ""
                ),
            ]
        )
    titles = [
        words.say("column.change"),
        "",
        words.say("column.predicted"),
        words.say("column.measured"),
        words.say("axis.objective"),
        *(
            words.say(f"column.{name}")
            for name in ("task", "gain", "interval", "runs", "time", "status")
        ),
    ]
    more = max(0, len(rows) - MOST_TRIALS)
    return Table(titles, rows[:MOST_TRIALS], left=2, more=more, wordy={10})
