"""Every dose before it is trained: checked, fitted to its rows, predicted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from uncollapse.records import (
    Calibration,
    Damage,
    SettingChange,
    StressOptions,
    changed_config,
)
from uncollapse.stress import doses
from uncollapse.stress.data import damaged
from uncollapse.stress.foretold import Foretold, foretell
from uncollapse.training import Problem, build_problem, parse_config

CLEAN = Damage()


@dataclass(frozen=True)
class Planned:
    """A setting under a damage, before it is trained."""

    setting: str
    damage: Damage
    changes: tuple[SettingChange, ...]
    steps: int  # of an epoch
    foretold: Foretold
    smallest: str
    rows: int


@dataclass(frozen=True)
class Entry:
    """A setting that is stressed."""

    name: str  # "start" or "against"
    problem: Problem


def plans_of(
    entry: Entry, damage: Damage, options: StressOptions, calibration: Calibration | None
) -> Iterator[Planned]:
    """A dose that is trained; none of a corruption, and of what the setting is already."""
    problem, config = entry.problem, entry.problem.config
    if damage.kind == "corrupt":
        return
    changes = doses.changes_of(problem, damage)
    if changes and all(change.before == change.after for change in changes):
        return
    found = damaged(problem.data, damage, options, config.seed)
    labels = found.data.labels[found.data.rows("train")]
    changes += doses.fitting(config, labels)
    under = problem
    if damage != CLEAN:
        block = changed_config(config.plain(), changes)
        under = build_problem(
            parse_config(block, source=f"the configuration under {damage.name}"),
            base=problem.base,
            data=found.data,
        )
    foretold = foretell(under, found, damage, calibration)
    names = found.data.label_names
    yield Planned(
        entry.name,
        damage,
        changes,
        under.sampler.steps,
        foretold,
        names[foretold.smallest],
        len(labels),
    )
