"""The pilot: its trials, and what the embeddings let read, before and after."""

from __future__ import annotations

from collections.abc import Mapping

from uncollapse import records
from uncollapse.records import Interval, LayerScores, Message, PilotResult, Trial
from uncollapse.report.charts.look import Row
from uncollapse.report.charts.measured import MOST_LETTERS
from uncollapse.report.charts.trade import trial_chart
from uncollapse.report.inputs_model import compared, confirmation
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import Figure, Section, table
from uncollapse.report.sections.trade import free_title
from uncollapse.statistics import mean_difference


def pilot_section(pilot: PilotResult, words: Language) -> Section:
    """Every trial: change, prediction, measured numbers, runs, time and status; untrained last."""
    objective, colon = pilot.objective, words.say("format.colon")
    named = objective.columns[:1] if objective.by_retention else objective.columns
    message = Message(f"objective.{objective.name}", {"columns": named})
    maximised = words.record(objective.text or objective.name, message)
    layer = words.word("layer", pilot.layer)
    about = words.say("intro.pilot-layer", objective=maximised, layer=layer)
    foretold = any(_expected(trial) is not None for trial in pilot.trials)
    columns = (
        "change role gain:points interval:point_ends axis.objective:share task:share"
        " predicted:number"
        + " network" * foretold
        + " measured:number runs:count time:duration status"
    )
    rows = [_cells(pilot, trial, words, foretold=foretold) for trial in _sorted(pilot)]
    drawn = trial_rows(pilot, words)
    least = _number_of(pilot.conditions.options.get("least_gain"))
    spec = trial_chart(drawn, None if least is None else 100 * least, words)
    noted = [trial for trial in pilot.trials if trial.note]
    notes = [f"{words.trial_name(trial.name)}{colon}{words.record(trial.note)}" for trial in noted]
    notes += [words.record(str(message), message) for message in pilot.conditions.calibration or ()]
    if untrained := sum(not trial.runs for trial in pilot.trials):
        notes.insert(0, words.say("intro.pilot-untrained", count=untrained))
    return Section(
        "pilot",
        [words.say("intro.pilot-searched" if pilot.search else "intro.pilot"), about],
        [] if spec is None else [Figure("pilot", "", spec)],
        [table(words, columns, rows, role="")],
        notes,
    )


def _number_of(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _sorted(pilot: PilotResult) -> list[Trial]:
    """The start, then trials by their gain, the best first, then those without runs."""

    def rank(trial: Trial) -> tuple[bool, bool, float]:
        gain = _gain(pilot, trial)
        return trial is not pilot.start, not trial.runs, -(gain.estimate if gain else -2.0)

    return sorted(pilot.trials, key=rank)


def _gain(pilot: PilotResult, trial: Trial) -> Interval | None:
    """What a trial gains; of one that was not compared the difference alone, without interval."""
    if trial.gain is not None:
        return trial.gain
    start, mean = (t.scores(pilot.layer).get("objective") for t in (pilot.start, trial))
    return None if start is None or mean is None or trial is pilot.start else Interval(mean - start)


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
    tables = [table(words, columns, rows)]
    return Section("search", [words.say("intro.search")], tables=tables, folded=True)


def _title(trial: Trial, words: Language) -> str:
    """What a trial changes, in words, or its name."""
    if trial.kind == "free":
        return free_title(trial.name, words)
    changes = [words.change(change) for change in trial.change]
    return words.say("format.semicolon").join(changes) or words.trial_name(trial.name)


def _role(pilot: PilotResult, trial: Trial) -> str:
    if trial.name == pilot.start.name:
        return "start"
    if pilot.recommendation is not None and trial.name == pilot.recommendation.trial:
        return "recommended"
    if trial.kind == "free":
        return "free"
    return "pruned" if trial.status == "pruned" else "candidate"


def _called(role: str, words: Language) -> str:
    return words.word("status", role) if role == "pruned" else words.say(f"trial.{role}")


def _expected(trial: Trial) -> records.Expected | None:
    """The variance inside classes that is expected of a network like one's own."""
    return None if trial.prediction is None else trial.prediction.network


def _cells(pilot: PilotResult, trial: Trial, words: Language, *, foretold: bool) -> list[object]:
    mean, predicted, gain = trial.scores(pilot.layer), trial.prediction, _gain(pilot, trial)
    status = words.word("status", trial.status)
    # Why it was not trained is what its status says already.
    if trial.reason and trial.status != "predicted-collapse":
        status += words.say("format.colon") + short(words.record(trial.reason), 120)
    return [
        short(_title(trial, words), 120),
        _called(_role(pilot, trial), words),
        None if gain is None else gain.estimate,
        gain,
        mean.get("objective"),
        mean.get("task"),
        None if predicted is None else predicted.instance_variance,
        *([str(_expected(trial) or "–")] if foretold else []),
        mean.get("instance_variance"),
        len(trial.runs),
        trial.seconds,
        status,
    ]


def trial_rows(pilot: PilotResult, words: Language) -> list[Row]:
    """Trials that ran as they are drawn, in points, the best first, with distinct names."""
    rows: list[Row] = []
    seen: set[str] = set()
    for trial in _sorted(pilot):
        gain = _gain(pilot, trial)
        if gain is None:
            continue
        title = words.brief_trial(trial.name) if trial.kind == "free" else _title(trial, words)
        name = short(title, MOST_LETTERS + 8)
        name = short(trial.name, MOST_LETTERS) if name in seen else name
        seen.add(name)
        role = _role(pilot, trial)
        ends = (None if end is None else 100 * end for end in (gain.low, gain.high))
        rows.append(
            {
                "name": name,
                "role": role,
                "called": _called(role, words),
                "estimate": 100 * gain.estimate,
                **dict(zip(("low", "high"), ends, strict=True)),
                "task": trial.scores(pilot.layer).get("task"),
            }
        )
    return rows


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
            spoken = [words.brief_trial(layer) for layer in layers]
            layer = spoken[0] if len({*layers}) == 1 else arrow.join(spoken)
            rows.append((title, layer, *means, change.estimate, change))
    source = words.say(key, seeds=len(before), **values)
    named = words.brief_trial(name)
    text = words.say("intro.transfer", name=named, source=source)
    columns = "quantity layer trial.start:share after:share difference:points interval:point_ends"
    return Section("transfer", [text], tables=[table(words, columns, rows, after=named)])


def _compared_layers(
    place: tuple[str, str], before: Mapping[str, object], after: Mapping[str, object]
) -> list[tuple[str, str]]:
    """Layers of the start and of the other: where each is judged, then those that both have."""
    both = [(layer, layer) for layer in before if layer in after]
    return [place, *(layers for layers in both if layers != place)]


def _number(run: records.TrialRun, layer: str, quantity: str, data: str) -> float:
    value = run.measured.get(layer, LayerScores())[quantity]
    return (value.get(data) if data else value) or 0.0
