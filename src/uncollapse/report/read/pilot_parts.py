"""Parts of a pilot's record that several places look up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uncollapse.report.inputs_model import Change
from uncollapse.report.messages import estimate

__all__ = ["changes_of", "compared_of", "shown_runs", "trials_of"]


def trials_of(pilot: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The start and the candidates, those that are records."""
    given = [pilot.get("start"), *(pilot.get("candidates") or ())]
    return [dict(one) for one in given if isinstance(one, Mapping)]


def changes_of(record: Mapping[str, Any] | None) -> tuple[Change, ...]:
    """The keys that a trial or a recommendation changes."""
    given = (record or {}).get("change") or ()
    return tuple(
        Change(str(one["key"]), one.get("from"), one.get("to"))
        for one in given
        if isinstance(one, Mapping) and "key" in one
    )


def compared_of(pilot: Mapping[str, Any]) -> str | None:
    """The setting that stands beside the start: the recommended one, else the best finished one."""
    recommended = (pilot.get("recommendation") or {}).get("trial")
    if recommended is not None:
        return str(recommended)
    gains = {
        str(one.get("name")): gain["estimate"] or 0.0
        for one in trials_of(pilot)
        if (gain := estimate(one.get("gain"))) is not None
    }
    return max(gains, key=lambda name: gains[name]) if gains else None


def shown_runs(pilot: Mapping[str, Any]) -> list[Path]:
    """Folders in the pilot's of one run of the start and of the setting beside it.

    They are those of the confirmation where there was one.
    """
    confirmed = (pilot.get("recommendation") or {}).get("confirmed") or {}
    seeds = confirmed.get("seeds") or (pilot.get("conditions") or {}).get("seeds") or ()
    names = ((pilot.get("start") or {}).get("name"), compared_of(pilot))
    return [
        Path("trials") / Path(str(name)).name / Path(f"seed-{seeds[0]}").name
        for name in names
        if name is not None and seeds
    ]
