"""The first screen: verdict, what to change, what it gains and costs, how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from uncollapse import records
from uncollapse.records import Interval, Message, Part, SettingChange, Value
from uncollapse.report.decide import lookup
from uncollapse.report.inputs_model import Case, Measured, known_layer
from uncollapse.report.read.settings import TARGET_VARIANCE, advice, differences, predicted


@dataclass(frozen=True)
class Decision(Part):
    """What the person who decides reads first.

    Attributes:
        basis: "pilot"; "change" (two cases, or a comparison); "state" (one measurement);
            "stress" (a stress test alone); "reading" (nothing that judges collapse).
        verdict: "change", "keep", "cannot-tell" (pilot); "better", "worse", "no-change-seen",
            "cannot-tell" (change); "breaks", "holds", "cannot-tell" (stress); the measurement's; or
            "none".
        headline: One sentence.
        reasons: Of the measurement that is judged.
        changes: Keys that are changed or should be.
        change, gain, cost, certainty: Sentences.
    """

    basis: Literal["pilot", "change", "state", "stress", "reading"]
    verdict: str
    headline: Message
    reasons: tuple[records.Reason | records.PilotReason, ...] = ()
    changes: tuple[SettingChange, ...] = ()
    change: tuple[Message, ...] = ()
    gain: tuple[Message, ...] = ()
    cost: tuple[Message, ...] = ()
    certainty: tuple[Message, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        reasons = [{"anchor": "", "advice": ""} | reason.to_dict() for reason in self.reasons]
        # Under "before" and "after", as a report always had them: a pilot's are "from" and "to".
        changes = [vars(change) for change in self.changes]
        return super().to_dict() | {"reasons": reasons, "changes": changes}


# Names of collapsed classes in a headline that cannot name them all.
MOST_NAMES = 3
# Advice that a training run follows.
_TRAINS = {"raise", "raise-only", "choose", "restore"}
# What the evidence that decided cannot see.
_UNSEEN = {
    "UC403": [Message("change.finer-decide")],
    "UC405": [Message("change.reference-decides")],
}
# What was gained, and from what to what.
_Gain = tuple[Interval | None, Interval | None, Interval | None]


def _of_gains(
    gains: Mapping[str, _Gain], names: Mapping[str, str], shots: int | None = None
) -> Decision:
    """By the first of the gains, the verdict of a change between two that are named."""
    what, (primary, *_) = next(iter(gains.items()), ("share", (None,)))
    if primary is None or primary.low is None or primary.high is None:
        verdict = "cannot-tell"
    elif primary.low > 0:
        verdict = "better"
    else:
        verdict = "worse" if primary.high < 0 else "no-change-seen"
    return Decision(
        "change",
        verdict,
        Message(f"headline.{verdict}-{what}", {"gain": primary, "shots": shots, **names}),
        change=(Message("change.unknown", names),),
        gain=tuple(
            Message(f"gain.{name}", {"gain": gain, "from": before, "to": after, "shots": shots})
            for name, (gain, before, after) in gains.items()
        ),
        cost=(Message("cost.task-unknown"),),
        certainty=(Message("certainty.independent"), Message("certainty.one-seed")),
    )


def comparison_decision(record: records.Comparison) -> Decision:
    """What `uncollapse compare` found, where the two measurements are not given."""
    by_name = {change.name: change for change in record.changes}
    known = {"within": by_name.get("probe_logistic"), "share": by_name.get("share")}
    gains = {
        name: (
            lookup.interval_of(change),
            Interval(change.before),
            Interval(change.after),
        )
        for name, change in known.items()
        if change is not None
    }
    return _of_gains(gains, {"before": "before", "after": "after", "layer": ""})


def change_decision(cases: list[Case], layer: str | None) -> Decision | None:
    """The last case against the first; None where they have no number in common."""
    before, after = cases[0], cases[-1]
    first, last = lookup.judged(before, layer), lookup.judged(after, layer)
    at = (first.layer if first else "") or layer or ""
    shots, recognised = lookup.few_shots(before, after, at)
    within = [lookup.within_reading(side, at) for side in (before, after)]
    shares = [None if side is None else side.measurement.share for side in (first, last)]
    share_gain, paired = lookup.share_change(first, last)
    read = (
        ("shots", lookup.difference(*recognised), recognised),
        ("within", lookup.difference(*within), within),
        ("share", share_gain, shares),
    )
    gains = {
        name: (gain, lookup.interval_of(a), lookup.interval_of(b))
        for name, gain, (a, b) in read
        if gain is not None
    }
    if not gains:
        return None
    paired = paired and list(gains) == ["share"]
    names = {"before": before.name, "after": after.name, "layer": known_layer(at)}
    decision = _of_gains(gains, names, shots)
    if decision.verdict == "worse" and next(iter(gains)) == "share" and _collapses(first, last):
        headline = replace(decision.headline, key="headline.collapses")
        decision = replace(decision, headline=headline)
    changes = tuple(differences(before, after))
    task = lookup.difference(lookup.label_reading(before, at), lookup.label_reading(after, at))
    cost = decision.cost if task is None else _cost_of(task)
    times = {"before": before.seconds, "after": after.seconds}
    if all(times.values()):
        cost += (Message("cost.seconds", times),)
    return replace(
        decision,
        reasons=last.measurement.reasons if last else (),
        changes=changes,
        change=(Message("change.made", names),) if changes else decision.change,
        cost=cost,
        certainty=_certainty_of_change(before, after, next(iter(gains.values()))[0], paired),
    )


def _collapses(before: Measured | None, after: Measured | None) -> bool:
    """Whether the second is collapsed and the first is not."""
    ends = [
        side is not None and side.measurement.verdict == "collapsed" for side in (before, after)
    ]
    return ends == [False, True]


def _cost_of(task: Interval) -> tuple[Message, ...]:
    """What the training label loses, by the end of the interval that a manager must know."""
    said = Message("cost.task", {"change": task})
    if task.low is None:
        return (said,)
    if task.low >= 0:
        return (said, Message("cost.no-loss"))
    return (said, Message("cost.not-ruled-out-undeclared", {"loss": -task.low}))


def _certainty_of_change(
    before: Case, after: Case, gain: Interval, paired: bool
) -> tuple[Message, ...]:
    rows = "certainty.paired" if paired else "certainty.independent"
    messages = [Message("certainty.no-interval" if gain.low is None else rows)]
    if before.runs or after.runs:
        key = "certainty.seeds" if before.runs and after.runs else "certainty.seeds-one-side"
        counts = {"before": len(before.each), "after": len(after.each)}
        messages.append(Message(key, counts))
    elif before.kind == after.kind == "run":
        messages.append(Message("certainty.one-run-each"))
    else:
        messages.append(Message("certainty.one-seed"))
    if any(measured.split == "" for measured in (*before.measured, *after.measured)):
        messages.append(Message("certainty.split-unknown"))
    return tuple(messages)


def state_decision(case: Case, measured: Measured) -> Decision:
    """One measurement: is it collapsed, and what does theory say one could change."""
    measurement = measured.measurement
    ill = measurement.verdict in ("collapsed", "at-risk")
    changes, said, gain = _called_for(case, measurement)
    cost = Message("cost.unmeasured")
    if ill:
        gain.append(Message("gain.unmeasured"))
        if changes or said[-1].key.partition(".")[2] in _TRAINS:
            cost = Message("cost.retrain")
    fine = lookup.within_reading(case, measured.layer)
    if measurement.reference is not None and (probe := measurement.reference.probe) is not None:
        gap: dict[str, Value] = {"there": probe.reference, "difference": probe.difference}
        name = _plain_name(measurement.reference.name)
        gain.append(Message("gain.gap", gap | {"reference": name}))
    elif fine is not None:
        gain.append(Message("gain.readable", {"fine": fine}))
    return Decision(
        "state",
        measurement.verdict,
        headline_of(measured),
        measurement.reasons,
        changes,
        said,
        tuple(gain),
        (cost,),
        _certainty_of_state(case, measurement.conditions),
    )


_Called = tuple[tuple[SettingChange, ...], tuple[Message, ...], list[Message]]


def _called_for(case: Case, measurement: records.Measurement) -> _Called:
    """Which change is called for: its keys, the cheapest and the next in words, what it gains."""
    setting, verdict = case.setting, measurement.verdict
    reason = lookup.deciding(measurement)
    advice_key = reason.messages[2] if reason is not None and reason.messages else None
    to_do = "raise" if advice_key is None else advice_key.key.partition(".")[2]
    if verdict == "cannot-tell":
        return (), (Message("change.measure-more"),), []
    if verdict not in ("collapsed", "at-risk"):
        if not lookup.is_known(measurement):
            return (), (Message("change.reference"),), []
        more = [] if reason is None else _UNSEEN.get(reason.code, [])
        return (), (Message("change.none-called-for"), *more), []
    said: list[Message] = []
    gain: list[Message] = []
    if to_do == "restore" and measurement.reference is not None:
        name = _plain_name(measurement.reference.name)
        said.append(Message("change.instead", {"reference": name}))
        said.append(Message("change.whiten"))
    better = None if setting is None else advice(setting, case.calibration)
    if setting is None or better is None:
        return (), (*said, Message(f"change.{to_do}")), gain
    changes = (SettingChange("loss.alpha", setting.alpha, float(f"{better.setting.alpha:.2g}")),)
    prediction = case.prediction or predicted(setting)
    after, now = lookup.network_of(better.prediction), lookup.network_of(prediction)
    network = "" if after is None else "-network"
    said.append(Message(f"change.advised{network}", {"temperature": setting.temperature}))
    if after is not None and now is not None and now.differs:
        said.append(Message("change.other-conditions"))
    values: dict[str, Value] = {"to": TARGET_VARIANCE}
    values["from"] = None if prediction is None else prediction.instance_variance
    if after is not None:
        values["to"] = str(after.within_class_variance)
        values["from"] = None if now is None else str(now.within_class_variance)
    gain.append(Message(f"gain.predicted{network}", values))
    return changes, tuple(said), gain


def headline_of(measured: Measured) -> Message:
    """The reason that decides as a headline, so that the two never say different things."""
    measurement = measured.measurement
    share, reason = lookup.interval_of(measurement.share), lookup.deciding(measurement)
    values: dict[str, Value] = {
        "share": None if share is None else _not_below_zero(share),
        "layer": lookup.named_layer(measured),
    }
    if reason is None or reason.code not in lookup.HEADLINES:
        state = lookup.BY_SHARE.get(reason.code, "") if reason is not None else ""
        state = state or measurement.verdict
        views = "" if lookup.has_views(measurement) else "-no-views"
        return Message(f"headline.{state}{views}", values)
    if reason.values is None:
        return Message(lookup.BY_REASON, {"verdict": measurement.verdict})
    values = {**reason.values, **values}
    many = ""
    if isinstance(names := values.get("names"), tuple) and "..." in names:
        values["names"], many = names[:MOST_NAMES], "-many"
    if (reference := measurement.reference) is not None:
        kept, probe = reference.retention, reference.probe
        shown = _not_below_zero(Interval(kept.estimate or 0.0, kept.low, kept.high))
        values |= {"kept": shown, "reference": _plain_name(reference.name)}
        if probe is not None:
            seen = {"shots": probe.shots, "here": probe.embedding, "there": probe.reference}
            values |= seen
    if reason.code in lookup.BY_FINER and "shots" not in values:
        return Message(lookup.BY_REASON, {"verdict": measurement.verdict})
    part = "-part" if reason.variant == "part" else ""
    return Message(f"headline.{reason.code}{part}{many}", values)


def _plain_name(reference: str) -> str:
    """A reference without the folders of its file: a manager reads no path."""
    return PurePath(reference).stem if "/" in reference or "\\" in reference else reference


def _not_below_zero(share: Interval) -> Interval:
    """A part as a manager reads it: an unbiased estimate may lie below zero, no part does."""
    ends = (None if end is None else max(0.0, end) for end in (share.low, share.high))
    return Interval(max(0.0, share.estimate), *ends)


def _certainty_of_state(case: Case, conditions: records.Conditions) -> tuple[Message, ...]:
    size = {"rows": conditions.samples, "units": conditions.units or 0}
    seeds = Message("certainty.one-seed")
    if case.runs:
        seeds = Message("certainty.seeds-state", {"count": len(case.runs)})
    unknown = [] if conditions.split else [Message("certainty.split-unknown")]
    rows = Message("certainty.rows", size | {"classes": conditions.classes})
    return (rows, seeds, *unknown)
