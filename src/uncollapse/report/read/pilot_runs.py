"""Which settings and which runs of a pilot are shown side by side."""

from __future__ import annotations

from pathlib import Path

from uncollapse.records import Confirmation, PilotResult


def confirmation(pilot: PilotResult) -> Confirmation | None:
    """What the test split says of the recommended setting; None where there was no such test."""
    return None if pilot.recommendation is None else pilot.recommendation.confirmed


def compared(pilot: PilotResult) -> str | None:
    """The setting that stands beside the start: the recommended one, else the best finished one."""
    if pilot.recommendation is not None:
        return pilot.recommendation.trial
    gains = {trial.name: trial.gain.estimate for trial in pilot.trials if trial.gain is not None}
    return max(gains, key=lambda name: gains[name]) if gains else None


def shown_runs(pilot: PilotResult | None) -> list[Path]:
    """Folders in the pilot's of one run of the start and of the setting beside it.

    They are those of the confirmation where there was one.
    """
    if pilot is None:
        return []
    confirmed, conditions = confirmation(pilot), pilot.conditions
    seeds = confirmed.seeds if confirmed else () if conditions is None else conditions.seeds
    names = (None if pilot.start is None else pilot.start.name, compared(pilot))
    return [
        Path("trials") / Path(name).name / f"seed-{seeds[0]}"
        for name in names
        if name is not None and seeds
    ]
