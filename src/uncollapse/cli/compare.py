"""`uncollapse compare`: what changed between two measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uncollapse.cli._console import plain_console
from uncollapse.cli._setting import Json
from uncollapse.metrics import compare
from uncollapse.records import Comparison, Measurement


def _show(comparison: Comparison, console: Console) -> None:
    console.print(f"verdict: {comparison.verdict_before} -> {comparison.verdict_after}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "before", "after", "difference", "interval", ""):
        table.add_column(name, justify="right" if name else "left")
    for change in comparison.changes:
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
    for warning in comparison.warnings:
        console.print(Text(f"not the same conditions: {warning}"))
    if not comparison.regression:
        console.print("no regression seen")
    for reason in comparison.reasons:
        console.print(Text(f"regression: {reason}"))


def compare_command(
    before: Annotated[Path, "JSON of `uncollapse measure`: the reference."],
    after: Annotated[Path, "JSON of `uncollapse measure` to compare."],
    *,
    tolerance: Annotated[
        float, "Fraction by which the share or a probe may fall, 0 to below 1."
    ] = 0.0,
    as_json: Json = False,
    fail_on: Annotated[Literal["regression"] | None, "Exit with code 1 on a regression."] = None,
) -> None:
    """Say what changed between two measurements.

    Every difference has its interval; a regression is a fall of the verdict, of a class, of the
    share or of a probe.

    Example: `uncollapse compare before.json after.json --fail-on regression`
    """
    comparison = compare(Measurement.read(before), Measurement.read(after), tolerance=tolerance)
    if as_json:
        typer.echo(comparison.to_json())
    else:
        _show(comparison, plain_console())
    if fail_on == "regression" and comparison.regression:
        raise typer.Exit(1)
