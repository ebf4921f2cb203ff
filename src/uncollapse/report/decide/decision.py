"""The first screen: verdict, what to change, what it gains and costs, how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from uncollapse import records
from uncollapse.records import Interval, Message, Part, SettingChange, Value
from uncollapse.report.decide import lookup
from uncollapse.report.inputs_model import Case, Measured
from uncollapse.report.read.settings import TARGET_VARIANCE, advice, differences, predicted


@dataclass(frozen=True)
class Decision(Part):
    """What the person who decides reads first.

    Attributes:
        basis: "pilot"; "change" (two cases, or a comparison); "state" (one measurement); "reading"
            (nothing that judges collapse).
        verdict: "change", "keep", "cannot-tell" (pilot); "better", "worse", "no-change-seen",
            "cannot-tell" (change); the measurement's; or "none".
        headline: One sentence.
        reasons: Of the measurement that is judged.
        changes: Keys that are changed or should be.
        change, gain, cost, certainty: Sentences.
    """

    basis: Literal["pilot", "change", "state", "reading"]
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
    return _of_gains(gains, {"before": "1", "after": "2", "layer": ""})


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
    names = {"before": before.name, "after": after.name, "layer": lookup.known_layer(at)}
    decision = _of_gains(gains, names, shots)
    changes = tuple(differences(before, after))
    task = lookup.difference(lookup.label_reading(before, at), lookup.label_reading(after, at))
    cost = decision.cost if task is None else (Message("cost.task", {"change": task}),)
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
    measurement, setting = measured.measurement, case.setting
    verdict = measurement.verdict
    ill = verdict in ("collapsed", "at-risk")
    better = advice(setting) if setting is not None and ill else None
    changes: tuple[SettingChange, ...] = ()
    gain, cost = [], []
    if setting is not None and better is not None:
        changes = (SettingChange("loss.alpha", setting.alpha, float(f"{better.alpha:.2g}")),)
        change = Message("change.advised", {"temperature": setting.temperature})
        prediction = case.prediction or predicted(setting)
        now = None if prediction is None else prediction.instance_variance
        gain.append(Message("gain.predicted", {"from": now, "to": TARGET_VARIANCE}))
    elif ill:
        change = Message("change.by-reason")
    elif verdict == "cannot-tell":
        change = Message("change.measure-more")
    elif lookup.is_known(measurement):
        change = Message("change.none-called-for")
    else:
        change = Message("change.reference")
    if not ill:
        cost.append(Message("cost.unmeasured"))
    else:
        gain.append(Message("gain.unmeasured"))
        cost.append(Message("cost.retrain"))
    fine = lookup.within_reading(case, measured.layer)
    if measurement.reference is not None and (probe := measurement.reference.probe) is not None:
        gap: dict[str, Value] = {"there": probe.reference, "difference": probe.difference}
        gain.append(Message("gain.gap", gap | {"reference": measurement.reference.name}))
    elif fine is not None:
        gain.append(Message("gain.readable", {"fine": fine}))
    values = {
        "share": lookup.interval_of(measurement.share),
        "layer": measured.layer,
        "case": case.name,
    }
    headline = Message(
        f"headline.{verdict}" + ("" if lookup.has_views(measurement) else "-no-views"), values
    )
    if lookup.is_by_reason(measurement):
        headline = _by_reason(measured)
    return Decision(
        "state",
        verdict,
        headline,
        measurement.reasons,
        changes,
        (change,),
        tuple(gain),
        tuple(cost),
        _certainty_of_state(case, measurement.conditions),
    )


def _by_reason(measured: Measured) -> Message:
    """The first reason as a headline: against a reference, in what is recognised or kept."""
    measurement = measured.measurement
    reference, code = measurement.reference, measurement.reasons[0].code
    if reference is None or code not in lookup.BY_REFERENCE:
        return Message(lookup.BY_REASON, {"verdict": measurement.verdict})
    values = {"layer": lookup.known_layer(measured.layer), "reference": reference.name}
    if (probe := reference.probe) is None or code not in lookup.BY_FINER:
        kept = reference.retention
        shown = Interval(kept.estimate or 0.0, kept.low, kept.high)
        return Message("headline.kept", {"kept": shown, **values})
    seen = {"shots": probe.shots, "here": probe.embedding, "there": probe.reference}
    return Message("headline.lost", {**seen, **values})


def _certainty_of_state(case: Case, conditions: records.Conditions) -> tuple[Message, ...]:
    size = {"rows": conditions.samples, "units": conditions.units or 0}
    seeds = Message("certainty.one-seed")
    if case.runs:
        seeds = Message("certainty.seeds-state", {"count": len(case.runs)})
    unknown = [] if conditions.split else [Message("certainty.split-unknown")]
    rows = Message("certainty.rows", size | {"classes": conditions.classes})
    return (rows, seeds, *unknown)
