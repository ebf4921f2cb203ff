"""The pilot: its trials, and what the embeddings let read, before and after."""

from __future__ import annotations

from collections.abc import Mapping

from uncollapse import records
from uncollapse.records import Interval, LayerScores, Message, PilotResult, Trial
from uncollapse.report.charts.look import Row, Spec
from uncollapse.report.charts.measured import trial_chart
from uncollapse.report.inputs_model import compared, confirmation
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import MOST_ROWS, Figure, Section, table
from uncollapse.report.sections.trade import free_title
from uncollapse.statistics import mean_difference


def pilot_section(pilot: PilotResult, words: Language) -> Section:
    """Every trial: change, prediction, measured numbers, runs, time and status."""
    objective, colon = pilot.objective, words.say("format.colon")
    named = objective.columns[:1] if objective.by_retention else objective.columns
    message = Message(f"objective.{objective.name}", {"columns": named})
    maximised = words.record(objective.text or objective.name, message)
    layer = words.word("layer", pilot.layer)
    about = words.say("intro.pilot-layer", objective=maximised, layer=layer)
    noted = [trial for trial in pilot.trials if trial.note]
    foretold = any(_expected(trial) is not None for trial in pilot.trials)
    columns = (
        "change role predicted:number"
        + " network" * foretold
        + " measured:number axis.objective:share task:share gain:points"
        " interval:point_ends runs:count time:duration status"
    )
    rows = [_cells(pilot, trial, words, foretold=foretold) for trial in pilot.trials]
    spec = _chart(pilot, words)
    notes = [f"{short(trial.name)}{colon}{words.record(trial.note)}" for trial in noted]
    notes += [words.record(str(message), message) for message in pilot.conditions.calibration or ()]
    return Section(
        "pilot",
        [words.say("intro.pilot-searched" if pilot.search else "intro.pilot"), about],
        [] if spec is None else [Figure("pilot", "", spec)],
        [table(words, columns, rows, most=MOST_ROWS, role="")],
        notes,
    )


def search_section(pilot: PilotResult, words: Language) -> Section | None:
    """Every run of a search, and the best so far with its gain; None where nothing was searched."""
    if not pilot.search:
        return None
    first = words.say("trial.start")
    numbers = {step.trial: number for number, step in enumerate(pilot.search)}
    rows = [
        (
            number,
            words.say("format.semicolon").join(map(words.change, step.change)) or first,
            step.objective,
            step.task,
            numbers.get(step.best),
            step.gain,
        )
        for number, step in enumerate(pilot.search)
    ]
    columns = "number:count change axis.objective:share task:share best:count gain:points"
    tables = [table(words, columns, rows, most=MOST_ROWS)]
    return Section("search", [words.say("intro.search")], tables=tables)


def _title(trial: Trial, words: Language) -> str:
    """What a trial changes, in words, or its name."""
    if trial.kind == "free":
        return free_title(trial.name, words)
    changes = [words.change(change) for change in trial.change]
    return words.say("format.semicolon").join(changes) or trial.name


def _role(pilot: PilotResult, trial: Trial, words: Language) -> str:
    if trial.name == pilot.start.name:
        return words.say("trial.start")
    if pilot.recommendation is not None and trial.name == pilot.recommendation.trial:
        return words.say("page.recommended")
    if trial.kind == "free":
        return words.say("trial.free")
    if trial.status == "pruned":
        return words.word("status", "pruned")
    return words.say("trial.candidate")


def _expected(trial: Trial) -> records.Expected | None:
    """The variance inside classes that is expected of a network like one's own."""
    return None if trial.prediction is None else trial.prediction.network


def _cells(pilot: PilotResult, trial: Trial, words: Language, *, foretold: bool) -> list[object]:
    mean, predicted = trial.scores(pilot.layer), trial.prediction
    status = words.word("status", trial.status)
    if trial.reason:
        status += words.say("format.colon") + short(words.record(trial.reason), 120)
    return [
        short(_title(trial, words), 120),
        _role(pilot, trial, words),
        None if predicted is None else predicted.instance_variance,
        *([str(_expected(trial) or "–")] if foretold else []),
        *(mean.get(name) for name in ("instance_variance", "objective", "task")),
        None if trial.gain is None else trial.gain.estimate,
        trial.gain,
        len(trial.runs),
        trial.seconds,
        status,
    ]


def _chart(pilot: PilotResult, words: Language) -> Spec | None:
    """Predicted variance against the measured objective."""
    trials: list[Row] = []
    seeds: list[Row] = []
    for trial in pilot.trials:
        if trial.prediction is None:
            continue
        mean = trial.scores(pilot.layer)
        row = {
            "name": short(_title(trial, words)),
            "trial": short(trial.name, 24),
            "role": _role(pilot, trial, words),
            "predicted": trial.prediction.instance_variance,
            "objective": mean.get("objective"),
            "task": mean.get("task"),
        }
        trials.append(row)
        scores = [each.objective for each in trial.scores_by_seed(pilot.layer)]
        seeds += [row | {"objective": score} for score in scores if score is not None]
    return trial_chart(trials, seeds, words)


def transfer_section(pilot: PilotResult, words: Language) -> Section | None:
    """A row for each quantity and layer, of the start and the setting that is named beside it.

    None where no setting was trained to the end. Runs are those of the confirmation, if there was.
    """
    name, confirmed = compared(pilot), confirmation(pilot)
    runs = {trial.name: trial.runs for trial in pilot.trials}
    if name is None or name not in runs:
        return None
    chosen = {trial.name: trial for trial in pilot.trials}[name]
    judged: Trial | records.Confirmation = chosen
    key, values = "intro.transfer-chosen", {}
    if confirmed is not None and confirmed.runs:
        runs, judged = confirmed.runs, confirmed
        key, values = "intro.transfer-confirmed", {"split": confirmed.split}
    before, after = runs.get(pilot.start.name, ()), runs.get(name, ())
    if not before or len(before) != len(after):
        return None
    # Of the layer that was judged, the record itself has the intervals.
    recorded = {"objective": judged.gain, "task": judged.task_change}
    rows = []
    first, place = before[0].measured, (pilot.layer, chosen.layer or pilot.layer)
    for layers in _compared_layers(place, first, after[0].measured):
        downstream = [("downstream", data) for data in first[layers[0]].downstream]
        for quantity, data in [("objective", ""), ("task", ""), *downstream]:
            ends = [
                [_number(run, layer, quantity, data) for run in side]
                for layer, side in zip(layers, (before, after), strict=True)
            ]
            change = mean_difference(ends[:1], ends[1:], same_runs=chosen.kind == "free")
            known = recorded.get(quantity) if layers == place else None
            if known is not None:
                change = known
            elif not values:
                # Chosen among several on these very rows: an interval of one comparison would be
                # too short.
                change = Interval(change.estimate)
            title = short(data) if data else words.word("quantity", quantity)
            means = (sum(numbers) / len(numbers) for numbers in ends)
            arrow = words.say("format.arrow")
            layer = layers[0] if len({*layers}) == 1 else arrow.join(layers)
            rows.append((title, layer, *means, change.estimate, change))
    source = words.say(key, seeds=len(before), **values)
    text = words.say("intro.transfer", name=short(name), source=source)
    columns = (
        "quantity layer:layer trial.start:share after:share difference:points interval:point_ends"
    )
    return Section("transfer", [text], tables=[table(words, columns, rows, after=short(name))])


def _compared_layers(
    place: tuple[str, str], before: Mapping[str, object], after: Mapping[str, object]
) -> list[tuple[str, str]]:
    """Layers of the start and of the other: where each is judged, then those that both have."""
    both = [(layer, layer) for layer in before if layer in after]
    return [place, *(layers for layers in both if layers != place)]


def _number(run: records.TrialRun, layer: str, quantity: str, data: str) -> float:
    value = run.measured.get(layer, LayerScores())[quantity]
    return (value.get(data) if data else value) or 0.0
