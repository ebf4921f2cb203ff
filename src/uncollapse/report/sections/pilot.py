"""The pilot: its trials, and what the embeddings let read, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uncollapse.records import (
    Confirmation,
    Interval,
    LayerScores,
    Message,
    Objective,
    PilotResult,
    Trial,
    TrialRun,
)
from uncollapse.report.charts.look import Row, Spec
from uncollapse.report.charts.measured import trial_chart
from uncollapse.report.inputs_model import compared, confirmation
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import Section, charted, section
from uncollapse.report.sections.tables import Table, titles_of
from uncollapse.statistics import mean_interval


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


@dataclass(frozen=True)
class _Sides:
    """Runs of the start and of the named setting, a run per seed; the split of a confirmation."""

    name: str
    before: Sequence[TrialRun]
    after: Sequence[TrialRun]
    judged: Confirmation | Trial
    split: str | None


def _sides(pilot: PilotResult) -> _Sides | None:
    name, start, confirmed = compared(pilot), pilot.start, confirmation(pilot)
    if name is None or start is None:
        return None
    trials = {trial.name: trial for trial in pilot.trials}
    runs = {key: trial.runs for key, trial in trials.items()}
    judged: Confirmation | Trial = trials[name]
    split = None
    if confirmed is not None and confirmed.runs:
        runs, judged, split = dict(confirmed.runs), confirmed, confirmed.split
    before, after = runs.get(start.name, ()), runs.get(name, ())
    if not before or len(before) != len(after):
        return None
    return _Sides(name, before, after, judged, split)


def transfer_section(pilot: PilotResult, words: Language) -> Section | None:
    """A row for each quantity and layer; None where no setting was trained to the end."""
    sides = _sides(pilot)
    if sides is None:
        return None
    seeds, name = len(sides.before), short(sides.name)
    if sides.split is None:
        source = words.say("intro.transfer-chosen", seeds=seeds)
    else:
        source = words.say("intro.transfer-confirmed", seeds=seeds, split=sides.split)
    first = sides.before[0].measured
    rows = [
        _row(*quantity, layer, sides, layer == pilot.layer, words)
        for layer in sorted(first, key=lambda layer: layer != pilot.layer)
        for quantity in _quantities(first[layer])
    ]
    titles = titles_of(words, "quantity layer difference interval")
    titles[2:2] = [words.say("trial.start"), name]
    text = words.say("intro.transfer", name=name, source=source)
    return section("transfer", words, text, tables=[("", Table(titles, rows, left=2))])


def _quantities(scores: LayerScores) -> list[tuple[str, str]]:
    """What is compared, as the name of an attribute and of the data in it."""
    return [("objective", ""), ("task", ""), *(("downstream", data) for data in scores.downstream)]


def _number(run: TrialRun, layer: str, quantity: str, data: str) -> float:
    value = run.measured.get(layer, LayerScores())[quantity]
    return (value.get(data) if data else value) or 0.0


def _row(
    quantity: str, data: str, layer: str, sides: _Sides, judged: bool, words: Language
) -> list[str]:
    ends = [
        [_number(run, layer, quantity, data) for run in side]
        for side in (sides.before, sides.after)
    ]
    difference = mean_interval([b - a for a, b in zip(*ends, strict=True)])
    # The record itself has the interval of the layer that was judged.
    recorded = {"objective": sides.judged.gain, "task": sides.judged.task_change}.get(quantity)
    if judged and recorded is not None:
        difference = recorded
    elif sides.split is None:
        # Chosen among several on these very rows: an interval of one comparison would be too short.
        difference = Interval(difference.estimate)
    return [
        short(data) if data else words.word("quantity", quantity),
        words.word("layer", layer),
        *(words.share(sum(values) / len(values)) for values in ends),
        words.points(difference.estimate),
        words.point_ends(difference),
    ]
