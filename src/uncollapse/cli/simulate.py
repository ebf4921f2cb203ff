"""`uncollapse simulate`: what the loss does when it is minimised, beside what is predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uncollapse.cli._console import INTERRUPTED, bar, need, print_record, say
from uncollapse.cli._options import Fields, Keywords
from uncollapse.cli._setting import (
    SETTING,
    BatchOptions,
    CountsText,
    FromZero,
    Json,
    Numbers,
    WholeNumbers,
    read_counts,
)
from uncollapse.errors import InputError
from uncollapse.records import Setting, SimulationOptions

if TYPE_CHECKING:
    from uncollapse.cli._simulated import GridPoint

MOST_RUNS = 10_000
# Options that take several values, by what these are.
KINDS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("alpha", "temperature", "learning_rate"), float),
    **dict.fromkeys(("batch_size", "batch_per_class", "dim", "steps", "width", "depth"), int),
}
SEVERAL: Keywords = {
    name: Numbers if kind is float else WholeNumbers for name, kind in KINDS.items()
}
INPUT = {"input_dimension": Annotated[int, typer.Option("--input-dim")]}


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """Setting, batches, descent and network, one value or several of each; how often.

    Attributes:
        dim: Embedding dimension d, from 1. [default: the number of embeddings]
        repeats: Runs with seeds from --seed on.
        seed: Seed of data, start and batches.
    """

    setting: Annotated[Keywords, Fields(Setting, SETTING, SEVERAL | {"class_counts": CountsText})]
    batch: Annotated[Keywords, Fields(BatchOptions, instead=SEVERAL)]
    dim: WholeNumbers = None
    descent: Annotated[Keywords, Fields(SimulationOptions, instead=SEVERAL | INPUT)]
    repeats: Annotated[int, typer.Option(min=1)] = 1
    seed: FromZero = 0
    as_json: Json = False


def simulate_command(options: SimulateOptions) -> None:
    """Minimise the loss and compare with theory.

    Over free vectors, which reach the global optimum, or over a small network on Gaussian
    classes, by steps on batches: what the prediction leaves out can be measured. Options of type
    float,... and int,... take several values, as 0,0.1,0.5: a table over the grid of all of them.
    Ctrl-C prints the runs that are finished.

    Example: `uncollapse simulate --classes 3 --per-class 4 --alpha 0,0.2,0.5 --temperature 0.3`
    """
    need("torch, to simulate", "train", "torch")
    from uncollapse.cli._simulated import as_record, as_text

    given = options.setting | options.batch | {"dim": options.dim} | options.descent
    # The grid's axes in the options' order: setting first, then descent.
    lists = {name: _values(name, given[name]) for name in given if name in KINDS}
    seeds = range(options.seed, options.seed + options.repeats)
    wanted = options.repeats * prod(len(values) for values in lists.values())
    if wanted > MOST_RUNS:
        raise InputError(f"at most {MOST_RUNS:,} runs", f"{wanted:,}", "take a smaller grid")
    points: list[GridPoint] = []
    interrupted = False
    try:
        points = _grid(options, lists)
        _run(points, seeds)
    except KeyboardInterrupt:
        interrupted = True
    if options.as_json:
        print_record(as_record(points, interrupted).to_json(None))
    else:
        for line in as_text(points):
            typer.echo(line)
    if interrupted:
        done = sum(len(point.runs) for point in points)
        say(f"uncollapse: interrupted, {done} of {wanted} runs finished")
        raise typer.Exit(INTERRUPTED)


def _values(option: str, text: str | None) -> list[Any]:
    """The values of a list option; [None] where it is left out."""
    if text is None:
        return [None]
    name, kind = option.replace("_", "-"), KINDS[option]
    values = []
    for part in text.split(","):
        try:
            values.append(kind(part))
        except ValueError as error:
            what = "whole numbers" if kind is int else "numbers"
            raise InputError(
                f"--{name} as {what}", f"{part[:40]!r}", f"write --{name} 1, or --{name} 1,2,3"
            ) from error
    if len(set(values)) < len(values):
        raise InputError(f"different values of --{name}", text[:80], "give each once")
    return values


def _grid(options: SimulateOptions, lists: dict[str, list[Any]]) -> list[GridPoint]:
    """All points of the grid, checked before the first run, with their predictions."""
    from uncollapse.cli._simulated import GridPoint
    from uncollapse.simulation import check_simulation
    from uncollapse.theory import predict

    fixed = options.setting | {"class_counts": read_counts(options.setting["class_counts"])}
    varying = [name for name, values in lists.items() if len(values) > 1]
    checked = []
    for combination in product(*lists.values()):
        at = dict(zip(lists, combination, strict=True))
        descent = SimulationOptions(**_replaced(options.descent, at))
        batch = BatchOptions(**_replaced(options.batch, at)).batch()
        setting = Setting(**_replaced(fixed, at), dimension=at["dim"], batch=batch)
        check_simulation(setting, descent)
        # The answer's name of this axis is the setting's, not the option's.
        varied = {"dimension" if name == "dim" else name: at[name] for name in varying}
        checked.append((varied, setting, descent))
    predicted = cache(partial(predict, thresholds=False))
    return [GridPoint(*point, predicted(point[1])) for point in checked]


def _replaced(options: Keywords, at: Keywords) -> Keywords:
    return {name: at.get(name, value) for name, value in options.items()}


def _run(points: Sequence[GridPoint], seeds: range) -> None:
    """Run everything; finished runs are kept where it is interrupted."""
    from uncollapse.simulation import simulate

    runs, done = len(points) * len(seeds), 0
    with bar("simulating", "runs", transient=True) as update:

        def on_step(step: int, steps: int | None) -> None:
            update(done + min(step / (steps or 1), 1.0), runs)

        for point, seed in product(points, seeds):
            point.runs.append(simulate(point.setting, point.options, seed=seed, on_step=on_step))
            done += 1
            update(done, runs)
