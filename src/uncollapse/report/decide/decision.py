"""The first screen: verdict, what to change, what it gains and costs, how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from uncollapse.metrics import Reason
from uncollapse.report.decide.lookup import judged, label_reading, seconds, within_reading
from uncollapse.report.decide.pilot import pilot_parts
from uncollapse.report.inputs_model import Case, Change, Inputs
from uncollapse.report.messages import Message, difference, estimate
from uncollapse.report.read.setting_diff import (
    TARGET_VARIANCE,
    advice,
    differences,
    of_record,
    predicted,
)

__all__ = ["Decision", "decide"]

Basis = Literal["pilot", "change", "state", "reading"]


@dataclass(frozen=True)
class Decision:
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
    reasons: tuple[Reason, ...] = ()
    changes: tuple[Change, ...] = ()
    change: tuple[Message, ...] = ()
    gain: tuple[Message, ...] = ()
    cost: tuple[Message, ...] = ()
    certainty: tuple[Message, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        found: dict[str, Any] = {
            "basis": self.basis,
            "verdict": self.verdict,
            "headline": self.headline.to_dict(),
            "reasons": [reason.to_dict() for reason in self.reasons],
            "changes": [vars(change) for change in self.changes],
        }
        for name in ("change", "gain", "cost", "certainty"):
            found[name] = [message.to_dict() for message in getattr(self, name)]
        return found


def decide(inputs: Inputs, layer: str | None) -> Decision:
    """The strongest thing that the inputs can say: a pilot, a change, a state, or a reading."""
    if inputs.pilot is not None:
        return Decision("pilot", **pilot_parts(inputs.pilot))
    measured = [case for case in inputs.cases if case.measured]
    if len(inputs.cases) > 1 and (decision := _of_change(inputs.cases, layer)) is not None:
        return decision
    if inputs.comparisons and not measured:
        return _of_comparison(inputs.comparisons[-1])
    if measured:
        return _of_state(measured[-1], layer)
    return Decision("reading", "none", Message("headline.reading"))


def _side(gain: dict[str, float | None] | None) -> str:
    if gain is None or gain["low"] is None or gain["high"] is None:
        return "cannot-tell"
    if gain["low"] > 0:
        return "better"
    return "worse" if gain["high"] < 0 else "no-change-seen"


def _of_change(cases: list[Case], layer: str | None) -> Decision | None:
    """The last case against the first."""
    before, after = cases[0], cases[-1]
    a, b = judged(before, layer), judged(after, layer)
    at = (a.layer if a else "") or layer or ""
    within = difference(within_reading(before, at), within_reading(after, at))
    share = difference(a.found.share, b.found.share) if a and b else None
    if within is None and share is None:
        return None
    primary = within or share
    verdict = _side(primary)
    what = "within" if within else "share"
    names = {"before": before.name, "after": after.name, "layer": at}
    gain = []
    if within is not None:
        ends = {"from": within_reading(before, at), "to": within_reading(after, at)}
        gain.append(Message("gain.within", {"gain": within, **ends}))
    if a and b and share is not None:
        ends = {"from": estimate(a.found.share), "to": estimate(b.found.share)}
        gain.append(Message("gain.share", {"gain": share, **ends}))
    changes = tuple(differences(before, after))
    return Decision(
        "change",
        verdict,
        Message(f"headline.{verdict}-{what}", {"gain": primary, **names}),
        b.found.reasons if b else (),
        changes,
        (Message("change.made" if changes else "change.unknown", names),),
        tuple(gain),
        _costs(before, after, at),
        _certainty_of_change(before, after, primary),
    )


def _costs(before: Case, after: Case, layer: str) -> tuple[Message, ...]:
    found = []
    task = difference(label_reading(before, layer), label_reading(after, layer))
    if task is not None:
        found.append(Message("cost.task", {"change": task}))
    else:
        found.append(Message("cost.task-unknown"))
    times = seconds(before), seconds(after)
    if times[0] and times[1]:
        found.append(Message("cost.seconds", {"before": times[0], "after": times[1]}))
    return tuple(found)


def _certainty_of_change(
    before: Case, after: Case, gain: dict[str, float | None] | None
) -> tuple[Message, ...]:
    found = []
    if gain is not None and gain["low"] is None:
        found.append(Message("certainty.no-interval"))
    else:
        found.append(Message("certainty.independent"))
    if before.runs or after.runs:
        counts = {"before": len(before.each), "after": len(after.each)}
        found.append(
            Message(
                "certainty.seeds" if before.runs and after.runs else "certainty.seeds-one-side",
                counts,
            )
        )
    elif before.kind == after.kind == "run":
        found.append(Message("certainty.one-run-each"))
    else:
        found.append(Message("certainty.one-seed"))
    if any(one.split == "" for case in (before, after) for one in case.measured):
        found.append(Message("certainty.split-unknown"))
    return tuple(found)


def _of_comparison(record: dict[str, Any]) -> Decision:
    """What `uncollapse compare` found, where the two measurements are not given."""
    changes = {one.get("name"): one for one in record.get("changes") or ()}
    within, share = changes.get("probe_logistic"), changes.get("share")
    primary = estimate(within or share)
    what = "within" if within else "share"
    gain = []
    for name, one in (("within", within), ("share", share)):
        if one is not None:
            ends = {
                "from": {"estimate": one["before"], "low": None, "high": None},
                "to": {"estimate": one["after"], "low": None, "high": None},
            }
            gain.append(Message(f"gain.{name}", {"gain": estimate(one), **ends}))
    verdict = _side(primary)
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


def _of_state(case: Case, layer: str | None) -> Decision:
    """One measurement: is it collapsed, and what does theory say one could change."""
    one = judged(case, layer)
    if one is None:
        return Decision("reading", "none", Message("headline.reading"))
    found = one.found
    has_views = found.instance_variance.estimate is not None
    values = {"share": estimate(found.share), "layer": one.layer, "case": case.name}
    key = f"headline.{found.verdict}" + ("" if has_views else "-no-views")
    setting = of_record(case.setting)
    changes: tuple[Change, ...] = ()
    change, gain, cost = [], [], []
    fine = within_reading(case, one.layer)
    ill = found.verdict in ("collapsed", "at-risk")
    better = advice(setting) if setting is not None and ill else None
    if setting is not None and better is not None:
        changes = (Change("loss.alpha", setting.alpha, float(f"{better.alpha:.2g}")),)
        rises = {
            "from": (case.prediction or predicted(setting) or {}).get("instance_variance"),
            "to": TARGET_VARIANCE,
        }
        change.append(Message("change.advised", {"temperature": setting.temperature}))
        gain += [Message("gain.predicted", rises), Message("gain.unmeasured")]
        cost.append(Message("cost.retrain"))
    elif ill:
        change.append(Message("change.by-reason"))
        gain.append(Message("gain.unmeasured"))
        cost.append(Message("cost.retrain"))
    elif found.verdict == "cannot-tell":
        change.append(Message("change.measure-more"))
    else:
        change.append(Message("change.keep"))
        cost.append(Message("cost.nothing"))
    if fine is not None:
        gain.append(Message("gain.readable", {"fine": fine}))
    return Decision(
        "state",
        found.verdict,
        Message(key, values),
        found.reasons,
        changes,
        tuple(change),
        tuple(gain),
        tuple(cost),
        _certainty_of_state(case, found.conditions.to_dict()),
    )


def _certainty_of_state(case: Case, conditions: dict[str, Any]) -> tuple[Message, ...]:
    size = {
        "rows": conditions.get("samples") or 0,
        "units": conditions.get("units") or 0,
        "classes": conditions.get("classes") or 0,
    }
    seeds = Message("certainty.one-seed")
    if case.runs:
        seeds = Message("certainty.seeds-state", {"count": len(case.runs)})
    found = [Message("certainty.rows", size), seeds]
    if not conditions.get("split"):
        found.append(Message("certainty.split-unknown"))
    return tuple(found)
