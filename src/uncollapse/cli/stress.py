"""`uncollapse stress`: parse, call, print."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from uncollapse.cli._console import plain_console, print_record, runs_shown
from uncollapse.cli._options import Fields, Keywords
from uncollapse.cli._setting import (
    Changes,
    Json,
    Numbers,
    OptionalOutput,
    WholeNumbers,
    Workers,
    read_matrix,
    read_numbers,
)
from uncollapse.cli._stressed import show_stress
from uncollapse.cli.train import need_training
from uncollapse.errors import InputError
from uncollapse.records import Calibration, StressOptions

_NAMES = Annotated[str | None, typer.Option(metavar="<name,...>")]
_NUMBERS = (
    "imbalance", "label_noise", "rows", "fewer_classes", "initialisation", "width", "depth",
)  # fmt: skip
_TEXTS = ("corrupt", "augmentation", "optimiser")
OPTIONS = Fields(
    StressOptions,
    (
        "imbalance",
        "imbalance_form",
        "rare",
        "label_noise",
        "noise_form",
        "shift",
        "corrupt",
        "augmentation",
        "rows",
        "fewer_classes",
        "optimiser",
        "initialisation",
        "width",
        "depth",
        "seeds",
        "layer",
        "objective",
        "margin",
    ),
    {
        **dict.fromkeys(("imbalance", "label_noise", "rows", "initialisation", "width"), Numbers),
        **dict.fromkeys(("fewer_classes", "depth"), WholeNumbers),
        **dict.fromkeys(_TEXTS, _NAMES),
        "rare": Annotated[tuple[str, ...], typer.Option("--rare", metavar="<name>")],
        "seeds": Annotated[int, typer.Option(min=2)],
    },
)


@dataclass(frozen=True, kw_only=True)
class Stress:
    """Damages and dials; seeds, time and processes; what counts as broken.

    Attributes:
        confusion: Instead of shares of wrong labels: a text file with one line a true class and one
            number a label: how often rows of the class carry it.
        against: YAML file of another setting, to be stressed beside it.
        budget: Wall-clock time, as 90s, 20m or 2h: epochs are cut to fit it. [default: no limit]
        workers: Processes of one thread. [default: cores]
        calibration: Calibration of runs like it (`uncollapse calibrate`), to predict by.
    """

    set_: Changes = ()
    options: Annotated[Keywords, OPTIONS]
    confusion: Path | None = None
    against: Path | None = None
    budget: Annotated[str | None, typer.Option(metavar="<time>")] = None
    workers: Workers = None
    calibration: Path | None = None


def stress_command(
    config: Annotated[Path, "YAML file of `uncollapse train`: the setting."],
    asked: Stress,
    *,
    ray: Annotated[bool, "Run on a Ray cluster."] = False,
    output: Annotated[OptionalOutput, "The test's folder. [default: runs/CONFIG-stress]"] = None,
    as_json: Json = False,
    details: Annotated[bool, "Print every dose."] = False,
) -> None:
    """Say which damage breaks a setting first.

    Trains it as it is and under each damage of its training rows, and measures finer label,
    training label and spread on clean test rows. Without a damage named: imbalance 10, label
    noise .1, rows .3, augmentation none and, of images and vectors, noise. Rerun the same command
    to resume; damages and seeds that are added use the runs that are there.

    Example: `uncollapse stress configs/digits.yaml --imbalance 10,100 --label-noise .05,.2`
    """
    need_training(config)
    from uncollapse.pilot import on_processes, on_ray, seconds_of
    from uncollapse.stress import stress
    from uncollapse.training import load_config

    options = _options(asked, seconds_of)
    checked = load_config(config, asked.set_)
    against, calibration = None, None
    if asked.against is not None:
        against = load_config(asked.against), asked.against.parent
    if asked.calibration is not None:
        calibration = Calibration.read(asked.calibration, "write it with uncollapse calibrate")
    with runs_shown() as progress:
        result = stress(
            checked,
            output or Path("runs") / f"{config.stem}-stress",
            base=config.parent,
            options=options,
            against=against,
            calibration=calibration,
            runner=on_ray if ray else on_processes,
            progress=progress,
        )
    if as_json:
        print_record(result.to_json())
    else:
        show_stress(result, plain_console(), details=details)


def _options(asked: Stress, seconds_of: Any) -> StressOptions:
    """The options from texts with commas; five damages where none is named."""
    given: dict[str, Any] = dict(asked.options)
    for name in _NUMBERS:
        numbers = read_numbers(given[name]) or ()
        if name in ("fewer_classes", "depth"):
            given[name] = tuple(_whole(number, name) for number in numbers)
        else:
            given[name] = tuple(numbers)
    for name in _TEXTS:
        given[name] = tuple(part.strip() for part in (given[name] or "").split(",") if part.strip())
    if asked.confusion is not None:
        given["confusion"] = tuple(tuple(row) for row in read_matrix(asked.confusion))
        given["noise_form"] = "confusion"
    named = [*_NUMBERS, *_TEXTS, "shift", "confusion"]
    if not any(given.get(name) for name in named):
        given |= {"imbalance": (10.0,), "label_noise": (0.1,), "rows": (0.3,)}
        given |= {"augmentation": ("none",), "corrupt": ("noise",)}
    budget = None if asked.budget is None else seconds_of(asked.budget)
    workers = asked.workers or os.cpu_count() or 1
    return StressOptions(budget=budget, workers=workers, **given)


def _whole(number: float, name: str) -> int:
    if not number.is_integer():
        raise InputError(f"whole numbers for --{name.replace('_', '-')}", f"{number:g}", "as 2,3")
    return int(number)
