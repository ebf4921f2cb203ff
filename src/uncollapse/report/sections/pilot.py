"""The pilot's trials as a picture and a table."""

from __future__ import annotations

from uncollapse.records import LayerScores, Message, Objective, PilotResult, Trial
from uncollapse.report.charts.look import Row, Spec
from uncollapse.report.charts.pilot import trial_chart
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import Section, charted, section
from uncollapse.report.sections.tables import Table, titles_of


def pilot_section(pilot: PilotResult, words: Language) -> Section:
    """Every trial."""
    objective = pilot.objective
    text = "–" if objective is None else _objective(objective, words)
    layer = words.word("layer", pilot.layer)
    about = words.say("intro.pilot-layer", objective=text, layer=layer)
    notes = [
        f"{short(trial.name)}{words.say('format.colon')}{words.record(trial.note)}"
        for trial in pilot.trials
        if trial.note
    ]
    table = ("", _table(pilot, words))
    paragraphs = (words.say("intro.pilot"), about)
    spec = _chart(pilot, words)
    return charted("pilot", words, spec, *paragraphs, tables=[table], notes=notes) or section(
        "pilot", words, *paragraphs, tables=[table], notes=notes
    )


def _objective(objective: Objective, words: Language) -> str:
    """What was maximised, in words."""
    message = Message(f"objective.{objective.name}", {"columns": objective.columns})
    return words.record(objective.text or objective.name, message)


def _title(trial: Trial, words: Language) -> str:
    """What a trial changes, in words, or its name."""
    changes = [words.change(change) for change in trial.change]
    return words.say("format.semicolon").join(changes) or trial.name


def _role(pilot: PilotResult, trial: Trial, words: Language) -> str:
    if pilot.start is not None and trial.name == pilot.start.name:
        return words.say("trial.start")
    if pilot.recommendation is not None and trial.name == pilot.recommendation.trial:
        return words.say("page.recommended")
    if trial.status == "pruned":
        return words.word("status", "pruned")
    return words.say("trial.candidate")


def _chart(pilot: PilotResult, words: Language) -> Spec | None:
    """Predicted variance against the measured objective."""
    trials: list[Row] = []
    seeds: list[Row] = []
    for trial in pilot.trials:
        if trial.prediction is None:
            continue
        mean = (trial.mean or {}).get(pilot.layer, {})
        row = {
            "name": short(_title(trial, words)),
            "trial": short(trial.name, 24),
            "role": _role(pilot, trial, words),
            "predicted": trial.prediction.instance_variance,
            "objective": mean.get("objective"),
            "task": mean.get("task"),
        }
        trials.append(row)
        scores = [run.measured.get(pilot.layer, LayerScores()) for run in trial.runs]
        seeds += [
            row | {"objective": score.objective} for score in scores if score.objective is not None
        ]
    return trial_chart(trials, seeds, words)


def _table(pilot: PilotResult, words: Language) -> Table:
    """Every trial: change, prediction, measured numbers, runs, time and status."""
    titles = titles_of(words, "change predicted measured task gain interval runs time status")
    titles[1:1] = [""]
    titles[4:4] = [words.say("axis.objective")]
    rows = [_cells(pilot, trial, words) for trial in pilot.trials]
    return Table(titles, rows, left=2, wordy={10}).cut()


def _cells(pilot: PilotResult, trial: Trial, words: Language) -> list[str]:
    mean = (trial.mean or {}).get(pilot.layer, {})
    predicted = trial.prediction
    status = words.word("status", trial.status)
    if trial.reason:
        status += words.say("format.colon") + short(words.record(trial.reason), 120)
    return [
        short(_title(trial, words), 120),
        _role(pilot, trial, words),
        words.number(None if predicted is None else predicted.instance_variance),
        words.number(mean.get("instance_variance")),
        words.share(mean.get("objective")),
        words.share(mean.get("task")),
        words.points(trial.gain.estimate if trial.gain else None),
        words.point_ends(trial.gain),
        words.count(len(trial.runs)),
        words.duration(trial.seconds),
        status,
    ]
