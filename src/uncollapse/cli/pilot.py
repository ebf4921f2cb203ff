"""`uncollapse pilot`: parse, call, print."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from uncollapse.cli._console import INTERRUPTED, bar, need, plain_console, print_record, say
from uncollapse.cli._options import Fields, Keywords
from uncollapse.cli._setting import Changes, Json, OptionalOutput, Workers
from uncollapse.cli.train import need_training
from uncollapse.progress import Step
from uncollapse.records import Calibration, Message, PilotOptions, PilotResult, Trial

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
) -> None:
    """Find the least change that prevents collapse.

    Tries single changes of the setting by short runs and confirms the smallest that helps on the
    test split; with --goal best, any number of changes, by whole runs that a search chooses. Run
    the same command again to go on with a pilot that was stopped.

    Example: `uncollapse pilot configs/digits.yaml --set loss.alpha=0 --budget 5m`
    """
    need_training(config)
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
    try:
        with bar("reading", "runs") as update:

            def progress(step: Step) -> None:
                if step.text:
                    say(step.text)
                update(step.done, step.total, stage=step.stage)

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
    except KeyboardInterrupt:
        say("interrupted; the same command goes on")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_record(result.to_json())
    else:
        _show(result, plain_console())


def _show(result: PilotResult, console: Console) -> None:
    said = {"change": f"CHANGE: {_advice(result)}", "keep": "KEEP YOUR SETTING"}
    console.print(
        said.get(result.verdict, "CANNOT TELL"), highlight=False, markup=False, soft_wrap=True
    )
    for reason in result.reasons:
        line = f"{reason.code}  {reason.text}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print()
    console.print(_settings(result))
    console.print()
    console.print(
        f"theory, W: variance between instances at the optimum, and measured ({result.layer}, "
        f"validation rows); score: {result.objective.text}; "
        "task: accuracy of the training label",
        soft_wrap=True,
    )
    if result.conditions.calibration is not None:
        console.print(
            "network: W predicted for a network like yours, projector, with its interval",
            soft_wrap=True,
        )
        for note in result.conditions.calibration:
            console.print(f"note: {note}", soft_wrap=True)
    start = result.start.runs[0].measured
    verdicts = ", ".join(f"{layer} {scores.verdict}" for layer, scores in start.items())
    console.print(f"your setting, measured: {verdicts}")
    if result.search:
        console.print()
        console.print(_path(result))
        console.print(
            "the search, run by run (0: your setting, all seeds; then one): best so far, of those "
            "that lose no more than the margin, and its gain in points over your setting, on "
            "validation rows",
            soft_wrap=True,
        )
    console.print()
    console.print(_trade(result))
    console.print(
        f"\nfront: of what can be deployed ({result.deploy}), nothing else is at least as good in "
        "both and better in one; free: needs no training",
        soft_wrap=True,
    )
    chosen = result.recommendation
    if chosen is not None and chosen.map:
        console.print(f"the map to apply, of the pilot's own run: {chosen.map}", soft_wrap=True)
    elif chosen is not None and chosen.change:
        console.print(f"train it at full size: uncollapse train {chosen.config}", soft_wrap=True)


def _advice(result: PilotResult) -> str:
    """What to do, if anything."""
    chosen = result.recommendation
    if chosen is None:
        return ""
    if not chosen.change:
        return f"{Message(f'free.{chosen.trial}', {})} (no training)"
    place = f" (embedding: {chosen.layer})" if chosen.layer not in ("", result.layer) else ""
    return ", ".join(map(str, chosen.change)) + place


def _columns(*titles: str) -> Table:
    """An empty table; on a narrow terminal names are cut, never numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        name = title in ("setting", "layer", "")
        least = 20 if title == "gain, points" else 5
        table.add_column(
            title,
            justify="left" if name else "right",
            no_wrap=True,
            min_width=None if name else least,
        )
    return table


def _settings(result: PilotResult) -> Table:
    expected = [None if t.prediction is None else t.prediction.network for t in result.trials]
    network = ("network",) if any(expected) else ()
    table = _columns("setting", "theory", *network, "W", "score", "gain, points", "task", "runs")
    for trial, row, foretold in zip(result.trials, result.table(), expected, strict=True):
        keys = ("predicted_variance", "measured_variance", "objective", "task")
        predicted, measured, objective, task = (_number(row[key]) for key in keys)
        gain, runs = _gain(trial), str(len(trial.runs))
        between = ("-" if foretold is None else str(foretold),) if network else ()
        table.add_row(trial.name, predicted, *between, measured, objective, gain, task, runs)
    return table


def _path(result: PilotResult) -> Table:
    """Every run of the search, and the best so far by its number."""
    table = _columns("run", "score", "task", "best", "gain", "setting")
    numbers = {step.trial: str(number) for number, step in enumerate(result.search)}
    for number, step in enumerate(result.search):
        scores = (_number(step.objective), _number(step.task))
        best = numbers.get(step.best, "-")
        table.add_row(str(number), *scores, best, f"{100 * step.gain:+.1f}", step.trial)
    return table


def _trade(result: PilotResult) -> Table:
    """Finer label against training label, of what every seed was run with, the best first."""
    table = _columns("setting", "layer", "score", "task", "")
    complete = [point for point in result.trade if point.runs == len(result.start.runs)]
    for point in sorted(complete, key=lambda point: -point.objective):
        free = point.kind == "free"
        marks = ["free"] if free else []
        marks += ["front"] if point.front else [] if point.deployable else ["not deployable"]
        layer = "-" if free else point.layer
        numbers = (_number(point.objective), _number(point.task))
        table.add_row(point.trial, layer, *numbers, ", ".join(marks))
    return table


def _gain(trial: Trial) -> str:
    """The gain with its interval, or why there is none."""
    if trial.gain is not None:
        return trial.gain.in_points()
    if not trial.deployable:
        return "not deployable"
    if trial.status == "pruned":
        return f"pruned at epoch {trial.runs[-1].epochs}"
    words = {"complete": "-", "predicted-collapse": "collapse, not run"}
    return words.get(trial.status, trial.status)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
