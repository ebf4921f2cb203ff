"""What retention does not know: the doubts of a pilot without finer labels.

It says what is kept of a reference, and not what is useful. So nothing is recommended where another
reference prefers another setting, and no setting is said to be the best possible. Of a setting
whose loss keeps the very reference that judges it, a number that its loss does not raise is looked
at: an instance's other view found first within its class. Where that falls, nothing is recommended.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from uncollapse.pilot._decide import gain_over, points
from uncollapse.pilot.keeping import held_to_itself
from uncollapse.records import Objective, PilotOptions, PilotReason, PilotVerdict, Trial, Value
from uncollapse.statistics import mean_difference
from uncollapse.training import TrainConfig

Decided = tuple[PilotVerdict, list[PilotReason], Trial | None]


def doubted(
    decided: Decided,
    start: Trial,
    finished: Sequence[Trial],
    goal: Objective,
    config: TrainConfig,
    options: PilotOptions,
) -> Decided:
    """A decision by retention after what it cannot know: verdict, reasons, what to recommend."""
    verdict, reasons, chosen = decided
    torn = disagreement([start, *finished], goal.columns, options)
    if torn is not None:
        return "cannot-tell", [torn], None
    if verdict == "keep":
        # It sees what is lost against a reference, and not what training adds to it.
        reference = goal.columns[0]
        retained = PilotReason.from_key("UC808", "pilot.retained", reference=reference)
        return "cannot-tell", [retained], None
    if chosen is not None and held_to_itself(config, chosen, goal):
        loses, reason = by_other_view(start, chosen, goal.columns[0], options)
        if loses:
            return "cannot-tell", [reason], None
        reasons = [*reasons, reason]
    return verdict, reasons, chosen


def disagreement(
    finished: Sequence[Trial], references: Sequence[str], options: PilotOptions
) -> PilotReason | None:
    """UC808 where another reference prefers another setting than the first, by means; else None."""

    def kept(trial: Trial, reference: str) -> list[float]:
        return [each.retention[reference] for each in trial.scores_by_seed(options.layer)]

    def best(trials: Sequence[Trial], reference: str) -> Trial:
        return max(trials, key=lambda trial: fmean(kept(trial, reference)))

    for second in references[1:]:
        both = [
            trial
            for trial in finished
            if all(
                {references[0], second} <= s.retention.keys()
                for s in trial.scores_by_seed(options.layer)
            )
        ]
        if len(both) < 2:
            continue
        one, other = best(both, references[0]), best(both, second)
        gain = mean_difference([kept(one, second)], [kept(other, second)], options.confidence)
        if one.name != other.name:
            return PilotReason.from_key(
                "UC808",
                "pilot.references-disagree",
                first=references[0],
                name=one.name,
                second=second,
                other=other.name,
                gain=points(gain),
            )
    return None


def by_other_view(
    start: Trial, chosen: Trial, reference: str, options: PilotOptions
) -> tuple[bool, PilotReason]:
    """UC809 of a setting that keeps what retention judges it by, and whether another number falls.

    That is how often an instance's other view is found first in its class, on validation rows.
    """
    said: dict[str, Value] = {"name": chosen.name, "reference": reference}
    sides = [trial.scores_by_seed(options.layer) for trial in (start, chosen)]
    if any(scores.other_view is None for side in sides for scores in side):
        return False, PilotReason.from_key("UC809", "pilot.kept-itself", **said)
    change = gain_over([start], [chosen], options, "other_view")
    loses = change.high is not None and change.high < 0
    key = "pilot.kept-contradicted" if loses else "pilot.kept-itself-seen"
    return loses, PilotReason.from_key("UC809", key, **said, views=points(change))
