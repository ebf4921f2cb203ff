"""The trade of a pilot: finer label against training label, of every setting and layer."""

from __future__ import annotations

from uncollapse.records import Message, PilotResult, TradePoint, Trial
from uncollapse.report.charts.trade import trade_chart
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import Figure, Section, table
from uncollapse.statistics import mean_interval


def free_title(name: str, words: Language) -> str:
    """What is to be done to have a free alternative."""
    message = Message(f"free.{name}", {})
    return words.record(str(message), message)


def trade_section(pilot: PilotResult, words: Language) -> Section | None:
    """None in older files. Settings of one run only have no place on the front."""
    if not pilot.trade:
        return None
    trials = {trial.name: trial for trial in pilot.trials}
    seeds = len(pilot.start.runs)
    points = sorted(pilot.trade, key=lambda point: -point.objective)
    rows = [_row(point, trials[point.trial], pilot, words) for point in points]
    whole = [row for row, point in zip(rows, points, strict=True) if point.runs == seeds]
    spec = trade_chart(whole, words)
    keys = ("name", "layer", "called", "objective", "task", "place", "runs")
    columns = "change layer role axis.objective:share task:share deployable runs:count"
    cells = [[row[key] for key in keys] for row in rows]
    return Section(
        "trade",
        [words.say("intro.trade", deploy=words.word("deploy", pilot.deploy))],
        [] if spec is None else [Figure("trade", "", spec)],
        [table(words, columns, cells, role="")],
    )


def _spread(trial: Trial, layer: str) -> dict[str, float | None]:
    """Student's intervals of objective and training label over the runs at a layer."""
    ends: dict[str, float | None] = {}
    for what in ("objective", "task"):
        scores = [run.measured[layer][what] for run in trial.runs if layer in run.measured]
        known = [score for score in scores if score is not None]
        mean = mean_interval(known) if known else None
        for end in ("low", "high"):
            value = None if mean is None else mean[end]
            ends[f"{what}_{end}"] = None if value is None else min(1.0, value)
    return ends


def _row(point: TradePoint, trial: Trial, pilot: PilotResult, words: Language) -> dict[str, object]:
    free = point.kind == "free"
    changes = [words.change(change) for change in trial.change]
    title = free_title(trial.name, words) if free else words.say("format.semicolon").join(changes)
    chosen = pilot.recommendation
    role = "candidate"
    if trial.name == pilot.start.name:
        role = "start"
    elif chosen is not None and (chosen.trial, chosen.layer) == (point.trial, point.layer):
        role = "recommended"
    elif free:
        role = "free"
    layer = words.word("deploy", point.layer)
    place = "" if free or point.layer == pilot.layer else f" ({layer})"
    front = "front" if point.front else "yes" if point.deployable else "no"
    return {
        "name": short(title or words.say("trial.start"), 120),
        "short": _short(words.brief_trial(trial.name) if free else title, role, words) + place,
        "role": role,
        "called": words.say(f"trial.{role}"),
        "layer": "" if free else layer,
        **_spread(trial, point.layer),
        "objective": point.objective,
        "task": point.task,
        "deployable": point.deployable,
        "front": point.front,
        "place": words.say(f"deployable.{front}"),
        "runs": point.runs,
    }


def _short(title: str, role: str, words: Language) -> str:
    """What stands beside a dot: the start by its role, the others by what they change."""
    return words.say("trial.start") if role == "start" else short(title, 34)
