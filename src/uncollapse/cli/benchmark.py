"""`uncollapse benchmark`: parse, call, print."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from uncollapse.cli._console import need, print_record, runs_shown, tell
from uncollapse.cli._setting import Json, OptionalOutput, Workers
from uncollapse.errors import InputError
from uncollapse.records import BenchmarkResult, check_words

FOLDER = Path("runs/benchmark")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What of the benchmark is run, and what is shown.

    Attributes:
        method: Method, or .yaml file of one's own; may be repeated. [default: all]
        loss: Loss of one's own that a method names, as NAME=MODULE:FUNCTION; may be repeated.
        seeds: Seeds of every run.
        doses: Doses of each kind of damage, the first so many.
        small: One seed; clean, imbalance and label noise alone.
        dials: Also optimiser, initialisation, width and depth, of SupCL.
        files: Folder of the files that its own data sets are read from.
        show: Also a table of a number in every cell, as finer; may be repeated.
        workers: Processes of one thread. [default: cores]
    """

    method: Annotated[tuple[str, ...], typer.Option("--method", metavar="<name>")] = ()
    loss: Annotated[tuple[str, ...], typer.Option("--loss", metavar="<name=function>")] = ()
    seeds: Annotated[int, typer.Option(min=1)] = 3
    doses: Annotated[int, typer.Option(min=1)] = 1
    small: bool = False
    dials: bool = False
    files: Path = Path()
    show: Annotated[tuple[str, ...], typer.Option("--show", metavar="<name>")] = ()
    workers: Workers = None


def benchmark_command(
    action: Annotated[Literal["list", "run", "table"], "What to do."],
    names: Annotated[
        list[str] | None,
        typer.Argument(),
        "list and run: data sets, or .yaml files of one's own [default: all that are there]. "
        "table: the folder or the benchmark.json to show; of two, also how far their ranks agree.",
    ] = None,
    *,
    asked: Benchmark,
    ray: Annotated[bool, "Run on a Ray cluster."] = False,
    output: Annotated[OptionalOutput, "The runs' folder. [default: runs/benchmark]"] = None,
    as_json: Json = False,
) -> None:
    """Rank methods, on clean and damaged data.

    How much of a finer label each method keeps against class collapse, and the training label.
    list names data sets, with what is missing of them, and methods. run trains what is missing of
    the benchmark; rerun the same command to resume, and add a method or a data set by its YAML
    file. table shows ranks with intervals, and predicted beside measured.

    Example: `uncollapse benchmark run digits --method supcon --method supcl --seeds 1`
    """
    need("torch and scikit-learn, for the benchmark", "train", "torch", "sklearn")
    from uncollapse.benchmark import TITLES

    for name in asked.show:
        check_words("show", name, tuple(TITLES))
    words = tuple(names or ())
    if action == "list":
        _list(words, asked.method, asked.files)
    elif action == "table":
        _table(words or (str(output or FOLDER),), asked.show, as_json=as_json)
    else:
        _run(words, asked, output or FOLDER, ray=ray, as_json=as_json)


def _list(data_sets: tuple[str, ...], methods: tuple[str, ...], files: Path) -> None:
    from uncollapse.benchmark import DataSetSpec, MethodSpec, check_there, found

    for name, (spec, folder) in found(DataSetSpec, data_sets).items():
        try:
            described = check_there(spec, (folder or files).resolve())
            rows = sum(described.rows.values())
            there = f"{rows} rows; licence: {spec.licence or described.licence or 'not known'}"
        except InputError as error:
            there = f"not there: {error}"
        tell(f"data    {name}: {spec.about or spec.title}\n        {there}")
    for name, (method, _) in found(MethodSpec, methods).items():
        tell(f"method  {name}: {method.title}; {method.source or method.loss}")


def _run(
    data_sets: tuple[str, ...], asked: Benchmark, output: Path, *, ray: bool, as_json: bool
) -> None:
    from uncollapse.benchmark import BenchmarkOptions, run_benchmark
    from uncollapse.pilot import on_processes, on_ray

    options = BenchmarkOptions(
        data_sets=data_sets,
        methods=asked.method,
        seeds=asked.seeds,
        doses=asked.doses,
        small=asked.small,
        dials=asked.dials,
        files=asked.files,
        workers=asked.workers or os.cpu_count() or 1,
        losses=dict(map(_loss, asked.loss)),
    )
    with runs_shown() as progress:
        result = run_benchmark(
            output, options, runner=on_ray if ray else on_processes, progress=progress
        )
    _show(result, asked.show, as_json=as_json)


def _loss(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not (name and equals and ":" in place):
        raise InputError("--loss NAME=MODULE:FUNCTION", repr(text), "as mine=my_losses:my_loss")
    return name, place


def _table(places: Sequence[str], show: tuple[str, ...], *, as_json: bool) -> None:
    from uncollapse.benchmark import agreement

    if len(places) > 2:
        raise InputError("one or two folders or files", f"{len(places)}", "name two at most")
    results = [_read(Path(place)) for place in places]
    _show(results[0], show, as_json=as_json)
    if len(results) == 2 and not as_json:
        tell(f"\nrank correlation with {places[1]}: {agreement(results[0], results[1]):.2f}")


def _read(path: Path) -> BenchmarkResult:
    from uncollapse.benchmark import gathered

    if path.is_dir():
        return gathered(path)
    return BenchmarkResult.read(path, "write it with uncollapse benchmark run")


def _show(result: BenchmarkResult, show: tuple[str, ...], *, as_json: bool) -> None:
    from uncollapse.benchmark import markdown, tabled

    if as_json:
        print_record(tabled(result).to_json())
    else:
        tell(markdown(result, show))
