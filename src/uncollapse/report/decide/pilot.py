"""The first screen of a pilot, from its record; what the record lacks is left out."""

from __future__ import annotations

from uncollapse.records import Confirmation, Message, PilotResult
from uncollapse.report.decide.decision import Decision
from uncollapse.report.read.pilot_runs import compared, confirmation


def pilot_decision(pilot: PilotResult) -> Decision:
    """What a pilot recommends, with what it measured."""
    recommended, confirmed = pilot.recommendation, confirmation(pilot)
    gain = None if recommended is None else recommended.gain
    gain = gain if confirmed is None else confirmed.gain
    verdict = "cannot-tell" if pilot.verdict == "change" and gain is None else pilot.verdict
    config = (recommended.config if recommended else "") or "recommended.yaml"
    headline = {"gain": gain, "layer": pilot.layer, "count": len(pilot.trials)}
    return Decision(
        "pilot",
        verdict,
        Message(f"headline.pilot-{verdict}", headline),
        tuple(reason for reason in pilot.reasons if reason.text),
        () if recommended is None else recommended.change,
        (Message(f"change.pilot-{verdict}", {"config": config}),),
        tuple(_gains(pilot, confirmed)),
        tuple(_costs(pilot, confirmed)),
        tuple(_certainty(pilot, confirmed)),
    )


def _gains(pilot: PilotResult, confirmed: Confirmation | None) -> list[Message]:
    messages = []
    if pilot.recommendation is not None and pilot.recommendation.gain is not None:
        messages.append(Message("gain.pilot", {"gain": pilot.recommendation.gain}))
    if confirmed is not None:
        gain, split = confirmed.gain, confirmed.split
        messages.append(Message("gain.confirmed", {"gain": gain, "split": split}))
    if not messages:
        best = next((trial for trial in pilot.trials if trial.name == compared(pilot)), None)
        if best is not None:
            messages.append(Message("gain.best", {"name": best.name, "gain": best.gain}))
    return messages or [Message("gain.none")]


def _costs(pilot: PilotResult, confirmed: Confirmation | None) -> list[Message]:
    messages, recommended = [], pilot.recommendation
    task = None if recommended is None else recommended.task_change
    task = task if confirmed is None else confirmed.task_change
    if task is not None:
        messages.append(Message("cost.task", {"change": task}))
        if recommended is not None and recommended.margin is not None:
            messages.append(Message("cost.margin", {"margin": recommended.margin}))
    if spent := sum(trial.seconds for trial in pilot.trials):
        values = {"seconds": spent, "trials": len(pilot.trials)}
        messages.append(Message("cost.pilot", values))
    return messages


def _certainty(pilot: PilotResult, confirmed: Confirmation | None) -> list[Message]:
    messages, statistics = [], pilot.statistics
    if confirmed is not None:
        seeds, split = len(confirmed.seeds), confirmed.split
        messages.append(Message("certainty.confirmed", {"seeds": seeds, "split": split}))
    if statistics is not None and statistics.family_size:
        family = {"family": statistics.family_size, "level": statistics.level or 0.95}
        messages.append(Message("certainty.family", family))
    return [*messages, Message("certainty.pilot-small")]
