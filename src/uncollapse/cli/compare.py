"""`uncollapse compare`: what changed between two measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uncollapse.cli._console import plain_console
from uncollapse.cli._setting import Json
from uncollapse.errors import InputError
from uncollapse.metrics import compare
from uncollapse.records import Comparison, Measurement, read_json

__all__ = ["compare_command"]


def show(found: Comparison, console: Console) -> None:
    """Print the comparison as a table."""
    console.print(f"verdict: {found.verdict_before} -> {found.verdict_after}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "before", "after", "difference", "interval", ""):
        table.add_column(name, justify="right" if name else "left")
    for change in found.changes:
        known = change.low is not None and change.high is not None
        table.add_row(
            change.name.replace("_", " "),
            f"{change.before:.4g}",
            f"{change.after:.4g}",
            f"{change.estimate:+.4g}",
            f"[{change.low:+.4g}, {change.high:+.4g}]" if known else "-",
            Text(change.direction),
        )
    console.print(table)
    for warning in found.warnings:
        console.print(Text(f"not the same conditions: {warning}"))
    if not found.regression:
        console.print("no regression seen")
    for reason in found.reasons:
        console.print(Text(f"regression: {reason}"))


def _measurement(path: Path) -> Measurement:
    """The record in a file; what is wrong with it is said with its name."""
    record = read_json(path, "a measurement")
    try:
        return Measurement.from_dict(record)
    except InputError as error:
        raise InputError(f"{error.expected} in {path}", error.found, error.remedy) from error


def compare_command(
    before: Annotated[Path, typer.Argument(help="JSON of `uncollapse measure`: the reference.")],
    after: Annotated[Path, typer.Argument(help="JSON of `uncollapse measure` to compare.")],
    tolerance: Annotated[
        float, typer.Option(help="Fraction by which the share or a probe may fall, 0 to below 1.")
    ] = 0.0,
    as_json: Json = False,
    fail_on: Annotated[
        Literal["regression"] | None, typer.Option(help="Exit with code 1 on a regression.")
    ] = None,
) -> None:
    """Say what changed between two measurements.

    Every difference has its interval; a regression is a fall of the verdict, of a class, of the
    share or of a probe.

    Example: `uncollapse compare before.json after.json --fail-on regression`
    """
    found = compare(_measurement(before), _measurement(after), tolerance=tolerance)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False, ensure_ascii=False))
    else:
        show(found, plain_console())
    if fail_on == "regression" and found.regression:
        raise typer.Exit(1)
