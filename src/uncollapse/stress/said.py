"""What a stress test says: what breaks first, the least change against it, what is open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from uncollapse.records import (
    Estimate,
    Interval,
    Objective,
    PilotReason,
    Remedy,
    StressConditions,
    StressDose,
    StressOptions,
    StressResult,
    Value,
)
from uncollapse.stress.data import test_part
from uncollapse.stress.foretold import remedy
from uncollapse.stress.judge import METHOD, first_of, phase_agrees
from uncollapse.stress.planned import Planned
from uncollapse.training import Problem


def said_of(
    doses: Sequence[StressDose],
    planned: Sequence[Planned],
    problem: Problem,
    goal: Objective,
    options: StressOptions,
    epochs: int,
) -> StressResult:
    """The result of all doses."""
    clean, *own = [dose for dose in doses if dose.setting == "start"]
    others = [dose for dose in doses if dose.setting == "against"]
    first = first_of(own)
    if first is not None:
        verdict = "breaks"
    else:
        verdict = "holds" if all(dose.state == "holds" for dose in own) else "cannot-tell"
    phases = [agrees for dose in doses if (agrees := phase_agrees(dose)) is not None]
    part = test_part(problem.data)
    conditions = StressConditions(
        setting=next((p.foretold.setting for p in planned), None),
        layer=options.layer,
        split=part,
        test_rows=len(problem.data.rows(part)),
        seeds=tuple(run.seed for run in clean.runs),
        epochs=epochs,
        margin=options.margin,
        confidence=options.confidence,
        family=len(own),
        interval=METHOD,
        agreed=sum(phases),
        compared=len(phases),
        seconds=round(sum(r.seconds for d in doses if d.damage.kind != "corrupt" for r in d.runs)),
    )
    reasons = tuple(_reasons(clean, own, others, first, conditions))
    return StressResult(
        verdict=verdict,  # type: ignore[arg-type]
        reasons=reasons,
        objective=goal,
        first="" if first is None else first.name,
        doses=tuple(doses),
        remedies=tuple(_remedies(own, planned, problem)),
        conditions=conditions,
    )


def _reasons(
    clean: StressDose,
    own: Sequence[StressDose],
    others: Sequence[StressDose],
    first: StressDose | None,
    conditions: StressConditions,
) -> Iterator[PilotReason]:
    broken = [dose.name for dose in own if dose.state == "breaks"]
    if first is not None:
        finer, training = map(_points, (first.finer_change, first.training_change))
        said: dict[str, Value] = {"damage": first.name, "count": len(broken), "doses": len(own)}
        key = "stress.first"
        if finer is None or training is None:
            key, training = "stress.first-of-one", finer or training
        else:
            said["finer"] = finer
        yield PilotReason.from_key("UC901", key, **said, training=training)
    margin = 100 * conditions.margin
    holds = sum(dose.state == "holds" for dose in own)
    if holds == len(own):
        yield PilotReason.from_key("UC902", "stress.holds", doses=len(own), margin=margin)
    open_ = tuple(dose.name for dose in own if dose.state == "cannot-tell")
    if open_:
        yield PilotReason.from_key("UC903", "stress.open", names=open_, margin=margin)
    if clean.verdict == "collapsed":
        yield PilotReason.from_key("UC906", "stress.collapsed")
    if conditions.compared:
        agreed, compared = conditions.agreed, conditions.compared
        yield PilotReason.from_key("UC904", "stress.phase", agreed=agreed, compared=compared)
    if others:
        more = sum(dose.state == "breaks" for dose in others[1:])
        yield PilotReason.from_key(
            "UC905", "stress.against", count=len(broken), other=more, doses=len(own)
        )


def _points(change: Interval | None) -> Estimate | None:
    """A change of shares in percentage points; None where it has no interval."""
    if change is None or change.low is None or change.high is None:
        return None
    return Estimate(100 * change.estimate, 100 * change.low, 100 * change.high)


def _remedies(
    own: Sequence[StressDose], planned: Sequence[Planned], problem: Problem
) -> Iterator[Remedy]:
    """Against the first dose of every damage that breaks."""
    seen: set[str] = set()
    mine = {p.damage.name: p.foretold for p in planned if p.setting == "start"}
    clean = mine["clean"]
    for dose in own:
        if dose.state != "breaks" or dose.damage.curve in seen:
            continue
        seen.add(dose.damage.curve)
        under = mine.get(dose.damage.name, clean)
        # Of the same class on clean data.
        same = replace(clean, smallest=min(under.smallest, len(problem.data.label_names) - 1))
        yield remedy(dose, same, under, problem.config)
