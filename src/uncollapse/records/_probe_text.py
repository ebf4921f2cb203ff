"""The probes' record as a person reads it in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uncollapse.records.estimate import Interval
from uncollapse.records.probe_result import ProbeConditions, ProbeResult, Reading, TargetProbe

_COLUMNS = ("", "accuracy", "balanced", "above chance", "{percent:.3g} % interval", "chosen")
_RIGHT = range(1, 5)
# So that a row stays on one line of a hundred columns.
_SHORT = {"neighbours": "k"}


def show_probe(result: ProbeResult, console: Console) -> None:
    """Print the record, a blank line after each of its parts."""
    for target in result.targets:
        console.print(_table(target, 100 * result.conditions.settings.confidence))
        console.print()
    console.print(_conditions(result.conditions))
    console.print()


def _table(target: TargetProbe, percent: float) -> Table:
    sizes = target.sizes
    missing = f", {sizes.missing} without it" if sizes.missing else ""
    # Notes stand in the caption, so that they cannot be read apart from their numbers.
    table = Table(
        title=f"{target.data + ': ' if target.data else ''}{target.target} ({target.role}) at "
        f"{target.layer}: {target.classes} values; rows {sizes.train} train, "
        f"{sizes.validation} validation, {sizes.test} test{missing}",
        title_justify="left",
        caption="\n".join(f"note: {note}" for note in target.notes) or None,
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for k, column in enumerate(_COLUMNS):
        table.add_column(column.format(percent=percent), justify="right" if k in _RIGHT else "left")
    for reading in target.readings:
        score = reading.score
        forms = (score.accuracy, score.balanced_accuracy, score.chance_corrected)
        numbers = [f"{form.estimate:.3f}" for form in forms]
        ends = _ends(score.chance_corrected)
        table.add_row(_name(reading), *numbers, ends, Text(_chosen(reading)))
    return table


def _name(reading: Reading) -> str:
    if reading.details.shots is None:
        return reading.probe
    return f"{reading.probe.removesuffix('few-shot')}{reading.details.shots}-shot"


def _chosen(reading: Reading) -> str:
    if reading.details.draws is not None:
        return f"{reading.details.draws} draws"
    chosen = reading.chosen.to_dict()
    return ", ".join(f"{_SHORT.get(key, key)} {value:.3g}" for key, value in chosen.items())


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "-"
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def _conditions(conditions: ProbeConditions) -> Text:
    lines = [
        f"above chance: (balanced - 1/K)/(1 - 1/K). chosen by {conditions.chosen_by}, "
        f"fitted on {conditions.fitted_on}, tested once on test; seed {conditions.seed}"
    ]
    for data in conditions.data:
        if data.cut_here:
            whole = "" if data.unit == "row" else f", every {data.unit} in one split"
            named = f" of {data.name}" if data.name else ""
            lines.append(f"cut here{named}: {' and '.join(data.cut_here)}, a fifth each{whole}")
    return Text("\n".join(lines), style="dim")
