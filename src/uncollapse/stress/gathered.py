"""From the results of runs to doses with their scores, changes and states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uncollapse.errors import InputError
from uncollapse.pilot import Outcome
from uncollapse.records import (
    Damage,
    SettingChange,
    StressDose,
    StressFile,
    StressOptions,
    StressRun,
)
from uncollapse.stress.jobs import StressJob
from uncollapse.stress.judge import compared, state_of, summed_up
from uncollapse.stress.planned import CLEAN, Planned


def doses_of(
    planned: Sequence[Planned],
    damages: Sequence[Damage],
    jobs: Sequence[StressJob],
    outcomes: Sequence[Outcome[StressFile]],
    options: StressOptions,
) -> list[StressDose]:
    """Every dose with scores, changes and state; of each setting the clean one first."""
    files: dict[tuple[str, str], list[StressFile]] = {}
    why: dict[tuple[str, str], str] = {}
    changes: dict[tuple[str, str], tuple[SettingChange, ...]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        key = job.setting, job.damage.name
        changes[key] = job.changes
        if outcome.result is None:
            why.setdefault(key, f"seed {job.seed}: {outcome.reason}")
        else:
            files.setdefault(key, []).append(outcome.result)

    def dose(one: Planned, damage: Damage, test: str) -> StressDose:
        key = one.setting, one.damage.name
        if key in why and one.damage == CLEAN:
            raise InputError("a setting that can be trained", why[key], "fix it")
        results = [] if key in why else files[key]
        known = one.damage != CLEAN or damage == CLEAN  # else the clean run on other rows
        prefix = "" if one.setting == "start" else "against-"
        found = StressDose(
            name=prefix + damage.name,
            dose=damage.dose,
            damage=damage,
            setting="start" if one.setting == "start" else "against",
            test=test,
            changes=changes[key],
            runs=tuple(
                StressRun(seed=r.seed, scores=r.measured[test][options.layer], seconds=r.seconds)
                for r in results
            ),
            smallest=one.smallest,
            predicted=one.foretold.record if known else None,
            predicted_smallest=one.foretold.variance if known else None,
            note=why.get(key, one.foretold.note if known else ""),
            rows=one.rows,
            wrong_labels=sum(r.wrong_labels for r in results) / max(1, len(results)),
        )
        return summed_up(found, options.confidence)

    found: list[StressDose] = []
    for setting in dict.fromkeys(one.setting for one in planned):
        own = {one.damage: one for one in planned if one.setting == setting}
        clean = dose(own[CLEAN], CLEAN, "clean")
        pairs = []
        for damage in damages:
            if damage.kind == "corrupt":
                pairs.append((clean, dose(own[CLEAN], damage, damage.name)))
            elif damage in own:
                apart = damage.kind in ("shift", "classes")
                test = damage.name if apart else "clean"
                before = dose(own[CLEAN], damage, test) if apart else clean
                pairs.append((before, dose(own[damage], damage, test)))
        done = compared(pairs, options.confidence)
        judged = [
            replace(after, state=state_of(after, before, options.margin))
            for (before, _), after in zip(pairs, done, strict=True)
        ]
        found += [replace(clean, state="holds"), *judged]
    return found
