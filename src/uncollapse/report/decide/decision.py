"""The first screen: verdict, what to change, what it gains and costs, how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from uncollapse.records import (
    Comparison,
    Conditions,
    Interval,
    Message,
    Part,
    PilotReason,
    Reason,
    SettingChange,
)
from uncollapse.report.decide.lookup import (
    has_views,
    judged,
    label_reading,
    seconds,
    within_reading,
)
from uncollapse.report.inputs_model import Case, Measured
from uncollapse.report.intervals import Number, difference, interval_of
from uncollapse.report.read.setting_diff import TARGET_VARIANCE, advice, differences, predicted

Basis = Literal["pilot", "change", "state", "reading"]


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

    basis: Basis
    verdict: str
    headline: Message
    reasons: tuple[Reason | PilotReason, ...] = ()
    changes: tuple[SettingChange, ...] = ()
    change: tuple[Message, ...] = ()
    gain: tuple[Message, ...] = ()
    cost: tuple[Message, ...] = ()
    certainty: tuple[Message, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        reasons = [{"anchor": "", "advice": ""} | reason.to_dict() for reason in self.reasons]
        changes = [vars(change) for change in self.changes]
        return super().to_dict() | {"reasons": reasons, "changes": changes}


def _direction(gain: Interval | None) -> str:
    if gain is None or gain.low is None or gain.high is None:
        return "cannot-tell"
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "no-change-seen"


def change_decision(cases: list[Case], layer: str | None) -> Decision | None:
    """The last case against the first; None where they have no number in common."""
    before, after = cases[0], cases[-1]
    first, last = judged(before, layer), judged(after, layer)
    at = (first.layer if first else "") or layer or ""
    ends: dict[str, list[Number | None]] = {
        "within": [within_reading(side, at) for side in (before, after)],
        "share": [None if side is None else side.measurement.share for side in (first, last)],
    }
    gains = {
        name: Message(f"gain.{name}", {"gain": gain, "from": interval_of(a), "to": interval_of(b)})
        for name, (a, b) in ends.items()
        if (gain := difference(a, b)) is not None
    }
    if not gains:
        return None
    what = next(iter(gains))
    primary = difference(ends[what][0], ends[what][1])
    verdict = _direction(primary)
    names = {"before": before.name, "after": after.name, "layer": at}
    changes = tuple(differences(before, after))
    return Decision(
        "change",
        verdict,
        Message(f"headline.{verdict}-{what}", {"gain": primary, **names}),
        last.measurement.reasons if last else (),
        changes,
        (Message("change.made" if changes else "change.unknown", names),),
        tuple(gains.values()),
        _costs(before, after, at),
        _certainty_of_change(before, after, primary),
    )


def _costs(before: Case, after: Case, layer: str) -> tuple[Message, ...]:
    task = difference(label_reading(before, layer), label_reading(after, layer))
    times = {"before": seconds(before), "after": seconds(after)}
    return (
        Message("cost.task", {"change": task}) if task else Message("cost.task-unknown"),
        *([Message("cost.seconds", times)] if all(times.values()) else []),
    )


def _certainty_of_change(before: Case, after: Case, gain: Interval | None) -> tuple[Message, ...]:
    unsure = gain is not None and gain.low is None
    messages = [Message("certainty.no-interval" if unsure else "certainty.independent")]
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


def comparison_decision(record: Comparison) -> Decision:
    """What `uncollapse compare` found, where the two measurements are not given."""
    by_name = {change.name: change for change in record.changes}
    known = {"within": by_name.get("probe_logistic"), "share": by_name.get("share")}
    gain = [
        Message(
            f"gain.{name}",
            {
                "gain": interval_of(change),
                "from": Interval(change.before),
                "to": Interval(change.after),
            },
        )
        for name, change in known.items()
        if change is not None
    ]
    what = "within" if known["within"] else "share"
    primary = interval_of(known[what])
    verdict = _direction(primary)
    names = {"before": "1", "after": "2", "layer": ""}
    return Decision(
        "change",
        verdict,
        Message(f"headline.{verdict}-{what}", {"gain": primary, **names}),
        change=(Message("change.unknown", names),),
        gain=tuple(gain),
        cost=(Message("cost.task-unknown"),),
        certainty=(Message("certainty.independent"), Message("certainty.one-seed")),
    )


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
    else:
        cannot = verdict == "cannot-tell"
        change = Message("change.measure-more" if cannot else "change.keep")
        cost += [] if cannot else [Message("cost.nothing")]
    if ill:
        gain.append(Message("gain.unmeasured"))
        cost.append(Message("cost.retrain"))
    fine = within_reading(case, measured.layer)
    if fine is not None:
        gain.append(Message("gain.readable", {"fine": fine}))
    values = {"share": interval_of(measurement.share), "layer": measured.layer, "case": case.name}
    key = f"headline.{verdict}" + ("" if has_views(measurement) else "-no-views")
    return Decision(
        "state",
        verdict,
        Message(key, values),
        measurement.reasons,
        changes,
        (change,),
        tuple(gain),
        tuple(cost),
        _certainty_of_state(case, measurement.conditions),
    )


def _certainty_of_state(case: Case, conditions: Conditions) -> tuple[Message, ...]:
    size = {
        "rows": conditions.samples,
        "units": conditions.units or 0,
        "classes": conditions.classes,
    }
    seeds = Message("certainty.one-seed")
    if case.runs:
        seeds = Message("certainty.seeds-state", {"count": len(case.runs)})
    unknown = [] if conditions.split else [Message("certainty.split-unknown")]
    return (Message("certainty.rows", size), seeds, *unknown)
