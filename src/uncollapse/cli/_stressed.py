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

# What the columns beside the names take.
_NUMBERS = 65
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
    doses = result.doses if details else _shortened(result.doses)
    console.print(_table(doses, names=console.width - _NUMBERS))
    layer, given = result.conditions.layer, result.conditions
    console.print(
        f"means of {len(given.seeds)} seeds on {given.test_rows} {given.split} rows, {layer}; "
        "label: accuracy of the training label; changes in points against clean, of the finer "
        "label with intervals that hold for all doses at once; W: variance inside classes on test "
        "rows, beside the one between instances that theory predicts at the optimum"
    )
    if details:
        console.print(_smallest(result.doses))
        notes = [("note", f"{dose.name}: {dose.note}") for dose in result.doses if dose.note]
        notes += [
            ("changed", f"{dose.name}: {'; '.join(map(str, dose.changes))}")
            for dose in result.doses
            if dose.changes
        ]
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


def _table(doses: Iterable[StressDose], names: int) -> Table:
    """Within 80 columns: on a narrow terminal names are cut, never numbers and states."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title, width in (
        *(("", None), ("", 11), ("finer", 5), ("change", 20), ("label", 5), ("change", 6)),
        *(("pred.", 5), ("W", 4)),
    ):
        table.add_column(
            title,
            justify="right" if title else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=width,
            max_width=None if width else max(8, names),
        )
    for dose in doses:
        predicted, label = dose.predicted, dose.training_change
        table.add_row(
            dose.name,
            "" if dose.name.endswith("clean") else dose.state.replace("-", " "),
            _mean(dose.finer),
            "-" if dose.finer_change is None else dose.finer_change.in_points(),
            _mean(dose.training_label),
            "-" if label is None else f"{100 * label.estimate:+.1f}",
            "-" if predicted is None else f"{predicted.instance_variance:.2f}",
            _mean(dose.instance_variance, 2),
        )
    return table


def _smallest(doses: Iterable[StressDose]) -> Table:
    """The verdict of every dose, and the class with the fewest training rows under it."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("smallest class", "verdict", "class", "rows", "wrong", "recall", "pred.", "W"):
        number = title in ("rows", "wrong", "recall", "pred.", "W")
        width = {"verdict": 13, "pred.": 6, "W": 6}.get(title)
        table.add_column(
            title,
            justify="right" if number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=width,
        )
    for dose in doses:
        predicted = dose.predicted_smallest
        table.add_row(
            dose.name,
            dose.verdict,
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
