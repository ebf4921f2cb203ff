"""`uncollapse calibrate`: constants of trained networks from their runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uncollapse.cli._console import print_record
from uncollapse.cli._setting import FromZero, Json, OptionalOutput
from uncollapse.records import Calibration, Constant, ConstantName, read_network_run
from uncollapse.storage import write_text
from uncollapse.theory import calibrate

MEANING: dict[ConstantName, str] = {
    "progress": "how far training goes: time of the flow",
    "agreement": "part of the variance between classes that the rows' labels show",
    "dimension": "effective dimensions of the differences inside a class",
    "unlearned": "part of the disagreement that training cannot learn by heart",
}


def calibrate_command(
    runs: Annotated[list[Path], "Folders of runs that `uncollapse train` wrote, on the same data."],
    *,
    seed: Annotated[FromZero, "Seed of the constants drawn."] = 0,
    as_json: Json = False,
    output: Annotated[
        OptionalOutput, "JSON file to write the answer to; replaced if there."
    ] = None,
) -> None:
    """Fit constants of trained networks to runs.

    They say in what networks differ from theory, for `predict --calibration`: four
    constants, from the variances of validation rows at a run's start and end.
    One setting does not determine them all; the answer names the run that would say most. Runs of
    the same setting and other seeds count as one.

    Example: `uncollapse calibrate runs/start runs/spread -o calibration.json`
    """
    calibration = calibrate([read_network_run(folder) for folder in runs], seed=seed)
    if output is not None:
        write_text(output, calibration.to_json() + "\n")
    if as_json:
        print_record(calibration.to_json())
    else:
        typer.echo("\n".join(_report(calibration)))


def _report(calibration: Calibration) -> list[str]:
    lines = [
        f"constants from {len(calibration.runs)} run(s), {calibration.confidence:.0%} intervals"
    ]
    lines += [_constant(constant) for constant in calibration.constants]
    if calibration.following is not None:
        after = calibration.following
        batch = "" if after.batch_size is None else f", batch {after.batch_size}"
        lines.append(
            f"next run     alpha {after.alpha:g}, temperature {after.temperature:g}{batch}: would "
            f"leave {after.remaining:.0%} of what is uncertain about others"
        )
    return [*lines, *(f"note: {note}" for note in calibration.notes)]


def _constant(c: Constant) -> str:
    determined = "" if c.determined else " (not determined)"
    numbers = f"{c.estimate:.3g} [{c.low:.3g}, {c.high:.3g}]"
    return f"{c.name:12s} {numbers}{determined}: {MEANING[c.name]}"
