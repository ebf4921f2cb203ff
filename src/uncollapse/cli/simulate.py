"""`uncollapse simulate`: what the loss does when it is minimised, beside what is predicted."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from uncollapse.cli import _parameters as parameters
from uncollapse.cli.predict import _batch, _counts
from uncollapse.errors import InputError
from uncollapse.theory import Setting, predict

if TYPE_CHECKING:
    from uncollapse.cli.simulated import Point
    from uncollapse.simulation import SimulationOptions

__all__ = ["simulate_command"]

# How an option that takes several values is shown in the help.
NUMBERS, WHOLE_NUMBERS = "<float,...>", "<int,...>"
MOST_RUNS = 10_000
INTERRUPTED = 130


def simulate_command(
    alpha: Annotated[
        str,
        typer.Option(metavar=NUMBERS, help="Weight of the self-supervised term, 0 to 1."),
    ],
    temperature: Annotated[
        str, typer.Option(metavar=NUMBERS, help="Temperature tau, 0.001 to 1000.")
    ],
    classes: parameters.Classes = None,
    per_class: parameters.PerClass = None,
    class_counts: parameters.ClassCounts = None,
    views: parameters.Views = 2,
    self_pairs: parameters.SelfPairsChoice = "exclude",
    reduction: parameters.ReductionChoice = "anchors",
    anchors_without_positives: parameters.AnchorsChoice = "drop",
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar=WHOLE_NUMBERS,
            help="Random batches of B instances (not views), from 2.",
            show_default="full batch",
        ),
    ] = None,
    batch_per_class: Annotated[
        str | None,
        typer.Option(
            metavar=WHOLE_NUMBERS,
            help="Balanced batches: instances of each class n_b, from 1.",
        ),
    ] = None,
    batch_classes: parameters.BatchClasses = None,
    dim: Annotated[
        str | None,
        typer.Option(
            metavar=WHOLE_NUMBERS,
            help="Embedding dimension d, from 1.",
            show_default="the number of embeddings",
        ),
    ] = None,
    model: Annotated[
        Literal["vectors", "mlp"],
        typer.Option(help="Free vectors, or a network on Gaussian classes."),
    ] = "vectors",
    optimiser: Annotated[
        Literal["lbfgs", "sgd", "adam"] | None,
        typer.Option(
            help="How the loss is minimised.",
            show_default="lbfgs for vectors and full batches, else adam",
        ),
    ] = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(
            metavar=NUMBERS,
            help="Learning rate of sgd and adam, above 0.",
            show_default="sgd 1, adam 0.01; a tenth of it for a network",
        ),
    ] = None,
    momentum: Annotated[float, typer.Option(help="Momentum of sgd, 0 to below 1.")] = 0.9,
    schedule: Annotated[
        Literal["cosine", "constant"], typer.Option(help="Course of the learning rate.")
    ] = "cosine",
    steps: Annotated[
        str | None,
        typer.Option(
            metavar=WHOLE_NUMBERS,
            help="Steps of the optimiser, from 1.",
            show_default="at most 3000 for lbfgs, else 2000",
        ),
    ] = None,
    initial: Annotated[
        Literal["random", "collapsed", "ssem"], typer.Option(help="Start of free vectors.")
    ] = "random",
    initial_variance: Annotated[
        float, typer.Option(help="Within-class variance of the ssem start, between 0 and 1.")
    ] = 0.5,
    initial_noise: Annotated[
        float, typer.Option(help="Length of the noise on a collapsed or ssem start, from 0.")
    ] = 0.01,
    width: Annotated[
        str,
        typer.Option(
            metavar=WHOLE_NUMBERS, help="Units of a hidden layer of the network, 1 to 4096."
        ),
    ] = "64",
    depth: Annotated[
        str,
        typer.Option(metavar=WHOLE_NUMBERS, help="Hidden layers of the network, 0 to 32."),
    ] = "2",
    input_dim: Annotated[
        int, typer.Option(help="Dimension of the Gaussian classes, 1 to 4096.")
    ] = 32,
    separation: Annotated[
        float,
        typer.Option(help="Length of a class centre, in deviations of its instances, from 0."),
    ] = 3.0,
    augmentation: Annotated[
        float,
        typer.Option(help="Deviation of a view's noise, in deviations of the instances, from 0."),
    ] = 0.5,
    fresh_views: Annotated[
        bool, typer.Option("--fresh-views", help="New views at every step; evaluate on others.")
    ] = False,
    collapsed_below: Annotated[
        float,
        typer.Option(help="A variance up to this counts as none in the phase, 0 to below 1."),
    ] = 1e-3,
    repeats: Annotated[int, typer.Option(min=1, help="Runs with seeds from --seed on.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of data, start and batches.")] = 0,
    as_json: parameters.Json = False,
) -> None:
    """Minimise the loss and compare with theory.

    Over free vectors, which reach the global optimum, or over a small network on Gaussian
    classes, by steps on batches: what the prediction leaves out can be measured. Options of type
    float,... and int,... take several values, as 0,0.1,0.5: a table over the grid of all of them.
    Ctrl-C prints the runs that are finished.

    Example: `uncollapse simulate --classes 3 --per-class 4 --alpha 0,0.2,0.5 --temperature 0.3`
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            "torch, to simulate", "no such package", "run pip install 'uncollapse[train]'"
        )
    from uncollapse.cli.simulated import as_record, as_text
    from uncollapse.simulation import SimulationOptions

    base = {
        "class_counts": _counts(class_counts),
        "classes": classes,
        "per_class": per_class,
        "views": views,
        "self_pairs": self_pairs,
        "reduction": reduction,
        "anchors_without_positives": anchors_without_positives,
    }
    options = SimulationOptions(
        model=model,
        optimiser=optimiser,
        momentum=momentum,
        schedule=schedule,
        initial=initial,
        initial_variance=initial_variance,
        initial_noise=initial_noise,
        input_dimension=input_dim,
        separation=separation,
        augmentation=augmentation,
        fresh_views=fresh_views,
        collapsed_below=collapsed_below,
    )
    lists = {
        "alpha": _values("alpha", alpha, float),
        "temperature": _values("temperature", temperature, float),
        "batch_size": _values("batch-size", batch_size, int),
        "batch_per_class": _values("batch-per-class", batch_per_class, int),
        "dimension": _values("dim", dim, int),
        "learning_rate": _values("learning-rate", learning_rate, float),
        "steps": _values("steps", steps, int),
        "width": _values("width", width, int),
        "depth": _values("depth", depth, int),
    }
    wanted = repeats * prod(len(values) for values in lists.values())
    if wanted > MOST_RUNS:
        raise InputError(f"at most {MOST_RUNS:,} runs", f"{wanted:,}", "take a smaller grid")
    points: list[Point] = []
    interrupted = False
    try:
        points = _grid(base, options, lists, batch_classes)
        _run(points, range(seed, seed + repeats))
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        typer.echo(json.dumps(as_record(points, interrupted), allow_nan=False))
    else:
        for line in as_text(points):
            typer.echo(line)
    if interrupted:
        done = sum(len(point.runs) for point in points)
        typer.echo(f"uncollapse: interrupted, {done} of {wanted} runs finished", err=True)
        raise typer.Exit(INTERRUPTED)


def _values(name: str, text: str | None, kind: Callable[[str], Any]) -> list[Any]:
    """The values of a list option; [None] where it is left out."""
    if text is None:
        return [None]
    found = []
    for part in text.split(","):
        try:
            found.append(kind(part))
        except ValueError as error:
            what = "whole numbers" if kind is int else "numbers"
            raise InputError(
                f"--{name} as {what}", f"{part[:40]!r}", f"write --{name} 1, or --{name} 1,2,3"
            ) from error
    if len(set(found)) < len(found):
        raise InputError(f"different values of --{name}", text[:80], "give each once")
    return found


def _grid(
    base: dict[str, Any],
    options: SimulationOptions,
    lists: dict[str, list[Any]],
    batch_classes: int | None,
) -> list[Point]:
    """All points of the grid, checked before the first run, with their predictions."""
    from uncollapse.cli.simulated import Point
    from uncollapse.simulation import check_simulation

    varying = [name for name, values in lists.items() if len(values) > 1]
    settings, predictions, chosen = {}, {}, []
    for combination in product(*lists.values()):
        at = dict(zip(lists, combination, strict=True))
        key = combination[:5]
        if key not in settings:
            batch = _batch(at["batch_size"], at["batch_per_class"], batch_classes)
            loss = {name: at[name] for name in ("alpha", "temperature", "dimension")}
            settings[key] = Setting(**base, **loss, batch=batch)
        how = {name: at[name] for name in ("learning_rate", "steps", "width", "depth")}
        chosen.append((key, {name: at[name] for name in varying}, replace(options, **how)))
        check_simulation(settings[key], chosen[-1][2])
    for key, setting in settings.items():
        predictions[key] = predict(setting, thresholds=False)
    return [
        Point(varied, settings[key], changed, predictions[key], [])
        for key, varied, changed in chosen
    ]


def _run(points: Sequence[Point], seeds: range) -> None:
    """Run everything; finished runs are kept where it is interrupted."""
    from uncollapse.simulation import simulate

    with _progress(len(points) * len(seeds)) as (on_step, finished):
        for point in points:
            for seed in seeds:
                point.runs.append(
                    simulate(point.setting, point.options, seed=seed, on_step=on_step)
                )
                finished()


@contextmanager
def _progress(runs: int) -> Iterator[tuple[Callable[[int, int], None], Callable[[], None]]]:
    """A bar on stderr while it is a terminal: runs finished, and the part of the present one."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]} of {task.total:.0f} runs"),
        TimeRemainingColumn(),
    )
    done = 0
    with Progress(
        *columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
    ) as bar:
        task = bar.add_task("simulating", total=runs, done=0)

        def on_step(step: int, steps: int) -> None:
            bar.update(task, completed=done + min(step / steps, 1.0))

        def finished() -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done, done=done)

        yield on_step, finished
