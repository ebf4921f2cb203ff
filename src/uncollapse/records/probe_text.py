"""The probes' record as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from uncollapse.records.probe_result import ProbeResult, Reading, TargetProbe
from uncollapse.records.score import Interval

__all__ = ["show_probe"]

# So that a row stays on one line of a hundred columns.
_SHORT = {"neighbours": "k"}


def show_probe(found: ProbeResult, console: Console) -> None:
    """Print the record, a blank line between its parts."""
    for part in _parts(found):
        console.print(part)
        console.print()


def _parts(found: ProbeResult) -> Iterator[RenderableType]:
    for one in found.targets:
        yield _table(one, found.conditions)
    yield _conditions(found.conditions)


def _table(one: TargetProbe, conditions: dict[str, Any]) -> Table:
    sizes = ", ".join(f"{one.sizes[name]} {name}" for name in ("train", "validation", "test"))
    missing = f", {one.sizes['missing']} without it" if one.sizes["missing"] else ""
    title = f"{one.data + ': ' if one.data else ''}{one.target} ({one.role}) at {one.layer}: "
    # Notes stand in the caption, so that they cannot be read apart from their numbers.
    table = Table(
        title=f"{title}{one.classes} values; rows {sizes}{missing}",
        title_justify="left",
        caption="\n".join(f"note: {note}" for note in one.notes) or None,
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    percent = f"{100 * conditions['settings']['confidence']:.3g} % interval"
    for k, column in enumerate(("", "accuracy", "balanced", "above chance", percent, "chosen")):
        table.add_column(column, justify="left" if k in (0, 5) else "right")
    for reading in one.readings:
        score = reading.score
        table.add_row(
            _name(reading),
            f"{score.accuracy.estimate:.3f}",
            f"{score.balanced_accuracy.estimate:.3f}",
            f"{score.chance_corrected.estimate:.3f}",
            _interval(score.chance_corrected),
            Text(_chosen(reading)),
        )
    return table


def _name(reading: Reading) -> str:
    if "shots" in reading.details:
        return f"{reading.probe.removesuffix('few-shot')}{reading.details['shots']}-shot"
    return reading.probe


def _chosen(reading: Reading) -> str:
    if "draws" in reading.details:
        return f"{reading.details['draws']} draws"
    return ", ".join(f"{_SHORT.get(key, key)} {value:.3g}" for key, value in reading.chosen.items())


def _interval(of: Interval) -> str:
    if of.low is None or of.high is None:
        return "-"
    return f"[{of.low:.3f}, {of.high:.3f}]"


def _conditions(conditions: dict[str, Any]) -> Text:
    lines = [
        f"above chance: (balanced - 1/K)/(1 - 1/K). chosen by {conditions['chosen_by']}, "
        f"fitted on {conditions['fitted_on']}, tested once on test; seed {conditions['seed']}"
    ]
    for data in conditions["data"]:
        if data["cut_here"]:
            whole = "" if data["unit"] == "row" else f", every {data['unit']} in one split"
            named = f" of {data['name']}" if data["name"] else ""
            lines.append(f"cut here{named}: {' and '.join(data['cut_here'])}, a fifth each{whole}")
    return Text("\n".join(lines), style="dim")
