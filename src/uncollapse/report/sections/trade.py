"""The trade of a pilot: finer label against training label, of every setting and layer."""

from __future__ import annotations

from uncollapse.records import Message, PilotResult, TradePoint, Trial
from uncollapse.report.charts.trade import trade_chart
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import MOST_ROWS, Figure, Section, table


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
    keys = ("name", "layer", "role", "objective", "task", "place", "runs")
    columns = "change layer role axis.objective:share task:share deployable runs:count"
    cells = [[row[key] for key in keys] for row in rows]
    return Section(
        "trade",
        [words.say("intro.trade", deploy=words.word("deploy", pilot.deploy))],
        [] if spec is None else [Figure("trade", "", spec)],
        [table(words, columns, cells, most=MOST_ROWS, role="")],
    )


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
    place = "" if free or point.layer == pilot.layer else f" ({point.layer})"
    front = "front" if point.front else "yes" if point.deployable else "no"
    return {
        "name": short(title or words.say("trial.start"), 120),
        "short": short(point.trial, 24) + place,
        "role": words.say(f"trial.{role}"),
        "layer": "" if free else words.word("layer", point.layer),
        "objective": point.objective,
        "task": point.task,
        "deployable": point.deployable,
        "front": point.front,
        "place": words.say(f"deployable.{front}"),
        "runs": point.runs,
    }
