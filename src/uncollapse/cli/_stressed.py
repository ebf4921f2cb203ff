"""What a stress test found: what breaks first, a row for each damage; every dose on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uncollapse.records import (
    Hanging,
    Interval,
    Row,
    StressDose,
    StressResult,
    decimal,
    verdict_word,
)

_WORDS = {
    "breaks": "{first} breaks first",
    "holds": "no damage breaks it",
    "cannot-tell": "no damage is seen to break it, and not all are seen to hold",
}


def show_stress(result: StressResult, console: Console, *, details: bool = False) -> None:
    """Print the answer, and with `details` every dose."""
    said = _WORDS[result.verdict].format(first=result.first)
    console.print(Text.assemble(verdict_word(result.verdict), f": {said}"))
    console.print(Hanging(*_rows(result)))
    console.print()
    console.print(_table(result.doses if details else _shortened(result.doses)))
    layer, given = result.conditions.layer, result.conditions
    console.print(
        f"means of {len(given.seeds)} seeds on {given.test_rows} {given.split} rows, {layer}; "
        "changes in points against clean, with intervals that hold for all doses at once; W: "
        "variance inside classes, predicted (between instances, at the optimum) and measured"
    )
    if details:
        console.print(_smallest(result.doses))
        notes = [(dose.name, dose.note) for dose in result.doses if dose.note]
        notes += [(d.name, "; ".join(map(str, d.changes))) for d in result.doses if d.changes]
        if notes:
            console.print(Hanging(*notes))
    else:
        console.print(Hanging(("more", "the same command with --details prints every dose")))


def _rows(result: StressResult) -> Iterator[Row]:
    yield "finer", result.objective.text
    for code, reasons in groupby(result.reasons, lambda reason: reason.code):
        for number, reason in enumerate(reasons):
            yield "" if number else code, reason.text
    for remedy in result.remedies:
        if remedy.name == result.first:
            yield "try", f"{remedy.name}: {remedy.text}"


def _shortened(doses: Iterable[StressDose]) -> Iterator[StressDose]:
    """Of every damage the first dose that breaks, else the heaviest."""

    def key(dose: StressDose) -> tuple[str, str]:
        return dose.setting, dose.damage.curve

    for _, group in groupby(doses, key):
        own = list(group)
        yield next((dose for dose in own if dose.state == "breaks"), own[-1])


def _table(doses: Iterable[StressDose]) -> Table:
    """On a narrow terminal names are cut, never numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    widths = {"finer": 5, "change": 21, "training": 8, "W pred.": 7, "W": 6, "verdict": 13}
    for title in ("", "finer", "change", "training", "change", "W pred.", "W", "verdict", ""):
        number = title not in ("", "verdict")
        table.add_column(
            title,
            justify="right" if number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=widths.get(title) if len(table.columns) != 4 else 6,
        )
    for dose in doses:
        predicted = dose.predicted
        training = dose.training_change
        table.add_row(
            dose.name,
            _mean(dose.finer),
            "-" if dose.finer_change is None else dose.finer_change.in_points(),
            _mean(dose.training_label),
            "-" if training is None else f"{100 * training.estimate:+.1f}",
            "-" if predicted is None else decimal(predicted.instance_variance),
            _mean(dose.instance_variance, 4),
            dose.verdict,
            "" if dose.name.endswith("clean") else dose.state,
        )
    return table


def _smallest(doses: Iterable[StressDose]) -> Table:
    """The class with the fewest training rows under every dose."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("smallest class", "class", "rows", "wrong", "recall", "W pred.", "W"):
        table.add_column(title, justify="left" if "class" in title else "right", no_wrap=True)
    for dose in doses:
        predicted = dose.predicted_smallest
        table.add_row(
            dose.name,
            dose.smallest,
            str(dose.rows),
            f"{dose.wrong_labels:.0f}",
            _mean(dose.smallest_class),
            "-" if predicted is None else decimal(predicted),
            _mean(dose.smallest_variance, 4),
        )
    return table


def _mean(interval: Interval | None, digits: int = 3) -> str:
    return "-" if interval is None else f"{interval.estimate:.{digits}f}"
