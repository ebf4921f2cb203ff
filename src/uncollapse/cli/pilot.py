"""`uncollapse pilot`: parse, call, print."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from uncollapse.cli._console import need, plain_console, print_record, runs_shown
from uncollapse.cli._options import Fields, Keywords
from uncollapse.cli._piloted import show_pilot
from uncollapse.cli._setting import Changes, Json, OptionalOutput, Workers
from uncollapse.cli.train import need_training
from uncollapse.records import Calibration, PilotOptions

OPTIONS = Fields(
    PilotOptions,
    (
        "goal",
        "seeds",
        "layer",
        "deploy",
        "objective",
        "dials",
        "margin",
        "least_gain",
        "half_width",
    ),
    {"seeds": Annotated[int, typer.Option(min=2)]},
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Changes of the setting; time, seeds and processes; what is to improve, where, and how much.

    Attributes:
        budget: Wall-clock time for the plan, as 90s, 20m or 2h.
        workers: Processes of one thread. [default: cores]
        downstream: YAML file with a `data:` block to probe on; may be repeated.
        calibration: Calibration of runs like it (`uncollapse calibrate`): candidates are chosen by
            what such a network will show.
    """

    set_: Changes = ()
    budget: Annotated[str, typer.Option(metavar="<time>")] = "20m"
    workers: Workers = None
    options: Annotated[Keywords, OPTIONS]
    downstream: tuple[Path, ...] = ()
    calibration: Path | None = None


def pilot_command(
    config: Annotated[Path, "YAML file of `uncollapse train`: the setting."],
    plan: Plan,
    *,
    ray: Annotated[bool, "Run on a Ray cluster."] = False,
    output: Annotated[OptionalOutput, "The pilot's folder. [default: runs/CONFIG-pilot]"] = None,
    as_json: Json = False,
    details: Annotated[bool, "Print every setting, and the search run by run."] = False,
) -> None:
    """Find the least change that prevents collapse.

    Tries single changes of the setting by short runs and confirms the smallest that helps on the
    test split; with --goal best, any number of changes, by whole runs that a search chooses. Rerun
    the same command to resume a pilot that was stopped.

    Example: `uncollapse pilot configs/digits.yaml --set loss.alpha=0 --budget 5m`
    """
    need_training(config, "pilot")
    need("the packages that pilots use", "pilot", "optuna")
    from uncollapse.pilot import on_processes, on_ray, pilot, seconds_of
    from uncollapse.training import load_config, load_data_config

    others = {file.stem: (load_data_config(file), file.parent) for file in plan.downstream}
    workers = plan.workers or os.cpu_count() or 1
    options = PilotOptions(budget=seconds_of(plan.budget), workers=workers, **plan.options)
    calibration = None
    if plan.calibration is not None:
        calibration = Calibration.read(plan.calibration, "write it with uncollapse calibrate")
    checked = load_config(config, plan.set_)
    with runs_shown() as progress:
        result = pilot(
            checked,
            output or Path("runs") / f"{config.stem}-pilot",
            base=config.parent,
            options=options,
            downstream=others,
            calibration=calibration,
            runner=on_ray if ray else on_processes,
            progress=progress,
        )
    if as_json:
        print_record(result.to_json())
    else:
        show_pilot(result, plain_console(), details=details)
