"""Where settings stand between what they keep and what they were trained for, and what is free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from uncollapse.pilot._decide import gain_over, points
from uncollapse.records import (
    Interval,
    PilotOptions,
    PilotReason,
    Recommendation,
    TradePoint,
    Trial,
)


def trade(start: Trial, others: Sequence[Trial], options: PilotOptions) -> tuple[TradePoint, ...]:
    """The start, every free alternative, and every trained setting at each layer where it may be.

    Those with as many runs as the start may lie on the front.
    """
    found = [_point(start, options.layer, deployable=options.layer in options.judged)]
    for trial in others:
        if trial.kind == "free":
            found.append(_point(trial, trial.layer, deployable=trial.deployable))
            continue
        found += [
            _point(trial, layer, deployable=layer in options.judged) for layer in trial.mean or {}
        ]
    known = [point for point in found if point is not None]
    rivals = [p for p in known if p.deployable and p.runs == len(start.runs)]
    return tuple(replace(p, front=p in rivals and _on_front(p, rivals)) for p in known)


def _point(trial: Trial, layer: str, *, deployable: bool) -> TradePoint | None:
    scores = (trial.mean or {}).get(layer, {})
    if not {"objective", "task"} <= scores.keys():
        return None
    return TradePoint(
        trial=trial.name,
        layer=layer,
        kind=trial.kind,
        objective=scores["objective"],
        task=scores["task"],
        runs=len(trial.runs),
        deployable=deployable,
    )


def _on_front(point: TradePoint, rivals: Iterable[TradePoint]) -> bool:
    """Whether no rival is at least as good in both and better in one."""
    own = (point.objective, point.task)
    return not any(
        other.objective >= own[0] and other.task >= own[1] and (other.objective, other.task) != own
        for other in rivals
    )


def best_free(trials: Iterable[Trial], options: PilotOptions) -> Trial | None:
    """The free alternative with the largest objective among those that can be deployed."""
    free = [trial for trial in trials if trial.kind == "free" and trial.deployable]
    return max(_judged(free, options), key=lambda trial: _worth(trial, options), default=None)


def _judged(trials: Iterable[Trial], options: PilotOptions) -> list[Trial]:
    """Those that have an objective: by retention, the base has none."""
    return [trial for trial in trials if "objective" in trial.scores(options.layer)]


def _worth(trial: Trial, options: PilotOptions) -> float:
    return trial.scores(options.layer)["objective"]


def base_is_best(
    bases: Sequence[Trial], trained: Sequence[Trial], options: PilotOptions
) -> PilotReason | None:
    """UC806 where a base is seen to be above every trained setting at every layer; else None.

    The interval is that of the best base over the best trained one, Welch's over seeds.
    """
    every = _judged([replace(t, layer=layer) for t in trained for layer in t.mean or {}], options)
    bases = _judged(bases, options)
    if not bases or not every:
        return None
    base, best = (max(side, key=lambda trial: _worth(trial, options)) for side in (bases, every))
    gain = gain_over([best], [base], options)
    if gain.low is None or gain.low <= 0:
        return None
    task = gain_over([best], [base], options, "task")
    key = "pilot.base-best" if base.deployable else "pilot.base-best-elsewhere"
    return PilotReason.from_key(
        "UC806",
        key,
        base=base.name,
        name=best.name,
        layer=best.layer,
        gain=points(gain),
        task=points(task),
    )


def against_free(
    recommended: Recommendation, rounds: Sequence[tuple[Trial, Trial]], options: PilotOptions
) -> Recommendation:
    """The recommendation with what a trained setting gains over what is free.

    Both in each round, the free alternative first: on validation rows, and on test rows with fresh
    seeds. One of the two is what is recommended.
    """
    free, trained = zip(*rounds, strict=True)

    def gained(count: int, score: str) -> Interval:
        return gain_over(free[:count], trained[:count], options, score)

    judged = recommended.confirmed
    return replace(
        recommended,
        free="" if free[0].name == recommended.trial else free[0].name,
        next="" if trained[0].name == recommended.trial else trained[0].name,
        over_free=gained(1, "objective"),
        task_over_free=gained(1, "task"),
        confirmed=judged
        and replace(judged, over_free=gained(2, "objective"), task_over_free=gained(2, "task")),
    )


def free_reason(recommended: Recommendation) -> PilotReason:
    """UC807: a trained setting against what is free, on the test split."""
    judged = recommended.confirmed
    gain = (judged and judged.over_free) or Interval(0.0)
    task = (judged and judged.task_over_free) or Interval(0.0)
    shown = gain.low is not None and gain.low > 0
    said = {"gain": points(gain), "task": points(task)}
    if recommended.next:
        return PilotReason.from_key("UC807", "pilot.next", name=recommended.next, **said)
    key = "pilot.over-free" if shown else "pilot.not-over-free"
    return PilotReason.from_key("UC807", key, name=recommended.free, **said)
