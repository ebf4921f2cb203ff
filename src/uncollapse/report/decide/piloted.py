"""A pilot on the first screen: what is lost, the cheapest change and the next, what may be lost."""

from __future__ import annotations

from uncollapse.records import Interval, Message, PilotResult, Recommendation, Trial, Value
from uncollapse.report.decide.decision import Decision
from uncollapse.report.inputs_model import compared, confirmation
from uncollapse.statistics import mean_difference

_OTHER = {"projector": "backbone", "backbone": "projector"}


def pilot_decision(pilot: PilotResult) -> Decision:
    """What a pilot recommends, with what it measured; the test split's word comes first."""
    recommended, confirmed = pilot.recommendation, confirmation(pilot)
    gain = (confirmed or recommended).gain if recommended is not None else None
    verdict = "cannot-tell" if pilot.verdict == "change" and gain is None else pilot.verdict
    return Decision(
        "pilot",
        verdict,
        _headline(pilot, verdict, gain),
        tuple(reason for reason in pilot.reasons if reason.text),
        () if recommended is None else recommended.change,
        _changes(pilot, verdict),
        _gains(pilot),
        _costs(pilot),
        _certainty(pilot),
    )


def _headline(pilot: PilotResult, verdict: str, gain: Interval | None) -> Message:
    """What is recognised at the layer that is deployed, and before the head; else the gain."""
    here = _reached(pilot, "start", pilot.layer)
    if pilot.objective.name != "within-class" or here is None:
        values = {"gain": gain, "layer": pilot.layer, "count": len(pilot.trials)}
        return Message(f"headline.pilot-{verdict}", values)
    other = _OTHER.get(pilot.layer, "")
    there = _reached(pilot, "start", other)
    key = "headline.pilot-within" if pilot.objective.kinds is None else "headline.pilot-kinds"
    if there is None or there <= here:
        key += "-alone"
    elif not _loses(pilot.start, pilot.layer, other):
        key += "-beside"
    return Message(
        key,
        {
            "kinds": pilot.objective.kinds,
            "columns": pilot.objective.columns,
            "here": here,
            "there": there,
            "layer": pilot.layer,
            "other": other,
        },
    )


def _reached(pilot: PilotResult, which: str, layer: str) -> float | None:
    """Mean objective of the start or of what is recommended, on the last rows it was read on."""
    confirmed = confirmation(pilot)
    means = None if confirmed is None else getattr(confirmed, which)
    if means is None and which == "start":
        means = pilot.start.mean
    return None if means is None else means.get(layer, {}).get("objective")


def _loses(start: Trial, layer: str, other: str) -> bool:
    """Whether the other layer of the same runs is shown to recognise more, over their seeds."""
    pairs = [
        (first, second)
        for run in start.runs
        if layer in run.measured and other in run.measured
        if (first := run.measured[layer].objective) is not None
        and (second := run.measured[other].objective) is not None
    ]
    if len(pairs) < 2:
        return False
    here, there = [first for first, _ in pairs], [second for _, second in pairs]
    low = mean_difference([here], [there], same_runs=True).low
    return low is not None and low > 0


def _cheapest(pilot: PilotResult) -> Trial | None:
    """What needs no training, can be deployed and gained most; None where nothing did."""
    free = [
        trial
        for trial in pilot.candidates
        if trial.kind == "free" and trial.deployable and trial.gain is not None
    ]
    best = max(free, key=lambda trial: trial.gain.estimate if trial.gain else 0.0, default=None)
    return best if best is not None and best.gain is not None and best.gain.estimate > 0 else None


def _changes(pilot: PilotResult, verdict: str) -> tuple[Message, ...]:
    """The cheapest change first, then the next, or what to do while nothing is recommended."""
    chosen, free, said = pilot.recommendation, _cheapest(pilot), list[Message]()
    if chosen is not None and not chosen.change:
        to_do = Message("change.pilot-free", {"name": chosen.trial})
        return (to_do, Message("change.pilot-map")) if chosen.map else (to_do,)
    if free is not None:
        said.append(Message("change.pilot-cheapest", {"name": free.name, "gain": free.gain}))
    elif any(trial.kind == "free" for trial in pilot.candidates):
        said.append(Message("change.pilot-no-free", {"deploy": pilot.deploy or pilot.layer}))
    key = "pilot-next" if verdict == "change" and free is not None else f"pilot-{verdict}"
    return (*said, Message(f"change.{key}"))


def _gains(pilot: PilotResult) -> tuple[Message, ...]:
    chosen, confirmed = pilot.recommendation, confirmation(pilot)
    if chosen is None or chosen.gain is None:
        best = next((trial for trial in pilot.trials if trial.name == compared(pilot)), None)
        if best is None:
            return (Message("gain.none"),)
        return (Message("gain.best", {"name": best.name, "gain": best.gain}),)
    if confirmed is None:
        return (Message("gain.pilot", {"gain": chosen.gain}),)
    on: dict[str, Value] = {"split": confirmed.split, "seeds": len(confirmed.seeds)}
    said = [Message("gain.confirmed", {"gain": confirmed.gain, **on})]
    layer = chosen.layer or pilot.layer
    reached = _reached(pilot, "recommended", layer)
    if reached is not None and pilot.objective.name == "within-class" and layer in _OTHER:
        said.append(Message("gain.reached", {"layer": layer, "to": reached}))
    if confirmed.over_free is not None:
        said.append(_over_free(pilot, chosen, confirmed.over_free, on))
    elif not chosen.change:
        said.append(_beyond(pilot, chosen.gain))
    if (better := pilot.better_elsewhere()) is not None:
        name, here, to = better
        said.append(Message("gain.elsewhere", {"name": name, "here": here, "to": to}))
    return tuple(said)


def _beyond(pilot: PilotResult, gain: Interval) -> Message:
    """The trained setting that gained most, where that is more than what is free and recommended.

    It was not recommended because of what it costs, or not confirmed.
    """
    trained = [
        (trial.gain, trial.task_change, trial)
        for trial in pilot.candidates
        if trial.kind == "setting" and trial.deployable and trial.gain is not None
    ]
    most, task, trial = max(trained, key=lambda one: one[0].estimate, default=(None, None, None))
    if most is None or trial is None or most.estimate <= gain.estimate:
        return Message("gain.next-none")
    changes = tuple(map(str, trial.change)) or (trial.name,)
    key = "gain.next-refused" if task is not None else "gain.next-unconfirmed"
    return Message(key, {"changes": changes, "gain": most, "task": task})


def _over_free(
    pilot: PilotResult, chosen: Recommendation, gain: Interval, on: dict[str, Value]
) -> Message:
    """What training gains over the best that is free, whichever of the two is recommended."""
    shown = gain.low is not None and gain.low > 0
    if not chosen.next:
        key = "gain.over-free" if shown else "gain.not-over-free"
        return Message(key, {"gain": gain, "name": chosen.free, **on})
    trained = next((trial for trial in pilot.trials if trial.name == chosen.next), None)
    changes = (chosen.next,) if trained is None else tuple(map(str, trained.change))
    values: dict[str, Value] = {"gain": gain, "changes": changes, **on}
    return Message("gain.next" if shown else "gain.next-unshown", values)


def _costs(pilot: PilotResult) -> tuple[Message, ...]:
    """Accuracy of the training label, judged by the lower end, and the pilot's own time."""
    chosen, confirmed = pilot.recommendation, confirmation(pilot)
    task = None if chosen is None else (confirmed or chosen).task_change
    said = []
    if chosen is not None and task is not None:
        said.append(Message("cost.task", {"change": task}))
        if chosen.margin is not None:
            low = task.estimate if task.low is None else task.low
            values: dict[str, Value] = {"loss": -low, "margin": chosen.margin}
            said.append(Message("cost.not-ruled-out" if low < 0 else "cost.no-loss", values))
        elif task.low is not None and task.low < 0:
            said.append(Message("cost.not-ruled-out-undeclared", {"loss": -task.low}))
    if spent := sum(trial.seconds for trial in pilot.trials):
        said.append(Message("cost.pilot", {"seconds": spent, "trials": len(pilot.trials)}))
    return tuple(said)


def _certainty(pilot: PilotResult) -> tuple[Message, ...]:
    confirmed, said = confirmation(pilot), []
    if confirmed is not None:
        values: dict[str, Value] = {"seeds": len(confirmed.seeds), "split": confirmed.split}
        said.append(Message("certainty.confirmed", values))
    if family := pilot.statistics.family_size:
        level = pilot.statistics.level or 0.95
        said.append(Message("certainty.family", {"family": family, "level": level}))
    return (*said, Message("certainty.pilot-small"))
