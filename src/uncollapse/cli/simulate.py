"""`uncollapse simulate`: what the loss does when it is minimised, beside what is predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from uncollapse.cli._console import INTERRUPTED, bar, need, say
from uncollapse.cli._setting import ClassOptions, Json, LossOptions, batch_of
from uncollapse.errors import InputError
from uncollapse.records import Setting

if TYPE_CHECKING:
    from uncollapse.cli._simulated import GridPoint
    from uncollapse.simulation import SimulationOptions

# How an option that takes several values is shown in the help.
NUMBERS, WHOLE_NUMBERS = "<float,...>", "<int,...>"
MOST_RUNS = 10_000


@dataclass(frozen=True)
class GridOptions:
    """Batches and width of the embeddings, one value or several."""

    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar=WHOLE_NUMBERS,
            help="Random batches of B instances (not views), from 2.",
            show_default="full batch",
        ),
    ] = None
    batch_per_class: Annotated[
        str | None,
        typer.Option(
            metavar=WHOLE_NUMBERS,
            help="Balanced batches: instances of each class n_b, from 1.",
        ),
    ] = None
    batch_classes: Annotated[
        int | None, typer.Option(help="Classes in a balanced batch, from 2.", show_default="all")
    ] = None
    dim: Annotated[
        str | None,
        typer.Option(
            metavar=WHOLE_NUMBERS,
            help="Embedding dimension d, from 1.",
            show_default="the number of embeddings",
        ),
    ] = None


@dataclass(frozen=True)
class DescentOptions:
    """How the loss is minimised, and from where."""

    model: Annotated[
        Literal["vectors", "mlp"],
        typer.Option(help="Free vectors, or a network on Gaussian classes."),
    ] = "vectors"
    optimiser: Annotated[
        Literal["lbfgs", "sgd", "adam"] | None,
        typer.Option(
            help="How the loss is minimised.",
            show_default="lbfgs for vectors and full batches, else adam",
        ),
    ] = None
    learning_rate: Annotated[
        str | None,
        typer.Option(
            metavar=NUMBERS,
            help="Learning rate of sgd and adam, above 0.",
            show_default="sgd 1, adam 0.01; a tenth of it for a network",
        ),
    ] = None
    momentum: Annotated[float, typer.Option(help="Momentum of sgd, 0 to below 1.")] = 0.9
    schedule: Annotated[
        Literal["cosine", "constant"], typer.Option(help="Course of the learning rate.")
    ] = "cosine"
    steps: Annotated[
        str | None,
        typer.Option(
            metavar=WHOLE_NUMBERS,
            help="Steps of the optimiser, from 1.",
            show_default="at most 3000 for lbfgs, else 2000",
        ),
    ] = None
    initial: Annotated[
        Literal["random", "collapsed", "ssem"], typer.Option(help="Start of free vectors.")
    ] = "random"
    initial_variance: Annotated[
        float, typer.Option(help="Within-class variance of the ssem start, between 0 and 1.")
    ] = 0.5
    initial_noise: Annotated[
        float, typer.Option(help="Length of the noise on a collapsed or ssem start, from 0.")
    ] = 0.01


@dataclass(frozen=True)
class NetworkOptions:
    """The network, its inputs, and how often."""

    width: Annotated[
        str,
        typer.Option(
            metavar=WHOLE_NUMBERS, help="Units of a hidden layer of the network, 1 to 4096."
        ),
    ] = "64"
    depth: Annotated[
        str,
        typer.Option(metavar=WHOLE_NUMBERS, help="Hidden layers of the network, 0 to 32."),
    ] = "2"
    input_dim: Annotated[
        int, typer.Option(help="Dimension of the Gaussian classes, 1 to 4096.")
    ] = 32
    separation: Annotated[
        float,
        typer.Option(help="Length of a class centre, in deviations of its instances, from 0."),
    ] = 3.0
    augmentation: Annotated[
        float,
        typer.Option(help="Deviation of a view's noise, in deviations of the instances, from 0."),
    ] = 0.5
    fresh_views: Annotated[
        bool, typer.Option("--fresh-views", help="New views at every step; evaluate on others.")
    ] = False
    collapsed_below: Annotated[
        float,
        typer.Option(help="A variance up to this counts as none in the phase, 0 to below 1."),
    ] = 1e-3
    repeats: Annotated[int, typer.Option(min=1, help="Runs with seeds from --seed on.")] = 1
    seed: Annotated[int, typer.Option(min=0, help="Seed of data, start and batches.")] = 0
    as_json: Json = False


def simulate_command(
    alpha: Annotated[
        str,
        typer.Option(metavar=NUMBERS, help="Weight of the self-supervised term, 0 to 1."),
    ],
    temperature: Annotated[
        str, typer.Option(metavar=NUMBERS, help="Temperature tau, 0.001 to 1000.")
    ],
    classes: ClassOptions,
    loss: LossOptions,
    batches: GridOptions,
    descent: DescentOptions,
    network: NetworkOptions,
) -> None:
    """Minimise the loss and compare with theory.

    Over free vectors, which reach the global optimum, or over a small network on Gaussian
    classes, by steps on batches: what the prediction leaves out can be measured. Options of type
    float,... and int,... take several values, as 0,0.1,0.5: a table over the grid of all of them.
    Ctrl-C prints the runs that are finished.

    Example: `uncollapse simulate --classes 3 --per-class 4 --alpha 0,0.2,0.5 --temperature 0.3`
    """
    need("torch, to simulate", "train", "torch")
    from uncollapse.cli._simulated import as_record, as_text

    given = {"alpha": alpha, "temperature": temperature}
    given |= asdict(batches) | asdict(descent) | asdict(network)
    lists = {name: _values(name.replace("_", "-"), given[name], kind) for name, kind in LISTS}
    repeats, seed = network.repeats, network.seed
    wanted = repeats * prod(len(values) for values in lists.values())
    if wanted > MOST_RUNS:
        raise InputError(f"at most {MOST_RUNS:,} runs", f"{wanted:,}", "take a smaller grid")
    points: list[GridPoint] = []
    interrupted = False
    try:
        points = _grid(_base(classes, loss), _options(given), lists, batches.batch_classes)
        _run(points, range(seed, seed + repeats))
    except KeyboardInterrupt:
        interrupted = True
    if network.as_json:
        typer.echo(as_record(points, interrupted).to_json(None))
    else:
        for line in as_text(points):
            typer.echo(line)
    if interrupted:
        done = sum(len(point.runs) for point in points)
        say(f"uncollapse: interrupted, {done} of {wanted} runs finished")
        raise typer.Exit(INTERRUPTED)


# Options that take several values, in the order of the grid's axes: setting first, then descent.
LISTS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("alpha", float),
    ("temperature", float),
    ("batch_size", int),
    ("batch_per_class", int),
    ("dim", int),
    ("learning_rate", float),
    ("steps", int),
    ("width", int),
    ("depth", int),
)
OF_SETTING = 5


def _values(name: str, text: str | None, kind: Callable[[str], Any]) -> list[Any]:
    """The values of a list option; [None] where it is left out."""
    if text is None:
        return [None]
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


def _base(classes: ClassOptions, loss: LossOptions) -> dict[str, Any]:
    """What does not vary of the setting."""
    counts = {"classes": classes.classes, "per_class": classes.per_class}
    return {"class_counts": classes.counts(), **counts, **asdict(loss)}


def _options(given: dict[str, Any]) -> SimulationOptions:
    """What does not vary of the simulation; the rest at its defaults."""
    from dataclasses import fields

    from uncollapse.simulation import SimulationOptions

    varying = {name for name, _ in LISTS}
    names = {field.name for field in fields(SimulationOptions)} - varying
    kept = {name: value for name, value in given.items() if name in names}
    return SimulationOptions(**kept, input_dimension=given["input_dim"])


def _grid(
    base: dict[str, Any],
    options: SimulationOptions,
    lists: dict[str, list[Any]],
    batch_classes: int | None,
) -> list[GridPoint]:
    """All points of the grid, checked before the first run, with their predictions."""
    from uncollapse.cli._simulated import GridPoint
    from uncollapse.simulation import check_simulation
    from uncollapse.theory import predict

    varying = [name for name, values in lists.items() if len(values) > 1]
    settings, predictions, chosen = {}, {}, []
    for combination in product(*lists.values()):
        at = dict(zip(lists, combination, strict=True))
        key = combination[:OF_SETTING]
        if key not in settings:
            settings[key] = Setting(
                **base,
                alpha=at["alpha"],
                temperature=at["temperature"],
                dimension=at["dim"],
                batch=batch_of(at["batch_size"], at["batch_per_class"], batch_classes),
            )
        how = {name: at[name] for name in list(lists)[OF_SETTING:]}
        varied = {NAMES.get(name, name): at[name] for name in varying}
        chosen.append((key, varied, replace(options, **how)))
        check_simulation(settings[key], chosen[-1][2])
    for key, setting in settings.items():
        predictions[key] = predict(setting, thresholds=False)
    return [
        GridPoint(varied, settings[key], changed, predictions[key], [])
        for key, varied, changed in chosen
    ]


# What an axis is called in the answer, where it is not the option.
NAMES = {"dim": "dimension"}


def _run(points: Sequence[GridPoint], seeds: range) -> None:
    """Run everything; finished runs are kept where it is interrupted."""
    from uncollapse.simulation import simulate

    runs, done = len(points) * len(seeds), 0
    with bar("simulating", "runs", transient=True) as update:

        def on_step(step: int, steps: int | None) -> None:
            update(done + min(step / (steps or 1), 1.0), runs)

        for point in points:
            for seed in seeds:
                point.runs.append(
                    simulate(point.setting, point.options, seed=seed, on_step=on_step)
                )
                done += 1
                update(done, runs)
