"""In what the runs of a calibration were made under other conditions than what they foretell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from uncollapse.records import Calibration, Circumstance, Message, Setting, Value

# Shares of classes up to this factor apart are like each other, and so are numbers of steps.
LIKE = 1.25


def differing(
    calibration: Calibration,
    setting: Setting,
    steps: int | None,
    circumstances: Mapping[Circumstance, str],
) -> Iterator[Message]:
    """One sentence for each condition that none of the runs was made under."""
    settings = [run.setting for run in calibration.runs]
    if not _alike(settings[0], setting):
        yield Message("text.calibration-differs.classes")
    tried = {at.temperature for at in settings}
    low, high, tau = min(tried), max(tried), setting.temperature
    if not low * (1 - 1e-9) <= tau <= high * (1 + 1e-9):
        values: dict[str, Value] = {"temperature": tau, "low": low, "high": high}
        yield Message("text.calibration-differs.temperature", values)
    views = sorted({at.views for at in settings})
    if setting.views not in views:
        values = {"views": setting.views, "known": ", ".join(map(str, views))}
        yield Message("text.calibration-differs.views", values)
    conventions = {(at.self_pairs, at.reduction) for at in settings}
    if (setting.self_pairs, setting.reduction) not in conventions:
        yield Message("text.calibration-differs.loss")
    trained = [run.steps for run in calibration.runs]
    if steps is not None and not min(trained) / LIKE <= steps <= max(trained) * LIKE:
        values = {"steps": steps, "low": min(trained), "high": max(trained)}
        yield Message("text.calibration-differs.steps", values)
    for name, value in circumstances.items():
        known = {run.circumstances[name] for run in calibration.runs if name in run.circumstances}
        if known and value not in known:
            yield Message(f"text.calibration-differs.{name}")


def _alike(one: Setting, other: Setting) -> bool:
    """Whether their classes are as many, and of about the same shares."""
    first, second = (np.sort(s.counts) / s.instances for s in (one, other))
    same = len(first) == len(second)
    return same and bool(np.abs(np.log(first / second)).max() <= np.log(LIKE))
