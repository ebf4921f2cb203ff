"""`run_benchmark`: every method on every data set, clean and damaged, each run once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from uncollapse.benchmark.gathering import gathered
from uncollapse.benchmark.jobs import CLEAN, DOUBT, BenchmarkJob, damaged_data, place_of
from uncollapse.benchmark.objectives import BASE, check_loss
from uncollapse.benchmark.specs import Argument, DataSetSpec, MethodSpec, configuration, found
from uncollapse.data import data_config, load_data
from uncollapse.errors import InputError
from uncollapse.pilot import Outcome, on_processes
from uncollapse.progress import OnStep, Step, no_steps
from uncollapse.records import BenchmarkResult, BenchmarkRun, Damage, DataDescription
from uncollapse.storage import locked
from uncollapse.stress import check_corruption

Runner = Callable[[Sequence[Any], int, Callable[[Any], None]], list[Outcome[Any]]]
# The method that dials are tried with, and what the small benchmark is made of.
DIALLED = "supcl"
SMALL = ("clean", "imbalance", "label-noise")
_CHOOSING = "choosing"  # Folder of the runs that arguments are chosen by.
_CHOOSING_SEED = 0
Chosen = dict[tuple[str, str], dict[str, Argument]]


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What of the benchmark is run.

    Attributes:
        data_sets: Names, or .yaml files of one's own. [default: all that are there]
        methods: Names, or .yaml files of one's own. [default: all]
        seeds: Of every run.
        doses: Of a data set's kinds of damage, the first so many doses of each.
        small: One seed, clean, imbalance and label noise alone.
        dials: Also optimiser, initialisation, width and depth, of SupCL.
        files: Folder that the paths of the benchmark's own data sets refer to.
        workers: Processes of one thread.
        losses: Of one's own, by the name that a method's file gives: MODULE:FUNCTION, called as
            (embeddings (n, p, d), labels (n,), **arguments).
    """

    data_sets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int = 3
    doses: int = 1
    small: bool = False
    dials: bool = False
    files: Path = Path()
    workers: int = 1
    losses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A data set that can be loaded, and the folder of its paths."""

    spec: DataSetSpec
    base: Path


def run_benchmark(
    output: Path,
    options: BenchmarkOptions | None = None,
    *,
    runner: Runner = on_processes,
    progress: OnStep = no_steps,
) -> BenchmarkResult:
    """Run what is missing of the benchmark, and gather every run of its folder.

    Arguments that a method leaves open are chosen on clean validation rows, once per data set; then
    every method has the same network, batches, seeds and number of steps under every damage.

    Args:
        output: Folder of the runs; those that are there are not made again, so a benchmark that was
            killed goes on, and others may be added to it.
        options: What is run.
        runner: What runs jobs: `on_processes`, or `uncollapse.pilot.on_ray`.
        progress: Called with the plan, in words, and whenever a run ends.

    Returns:
        All numbers of the folder; they are in its benchmark.json too.

    Raises:
        InputError: A name or file that cannot be used, data that are named and not there, a run
            that fails.

    Examples:
        >>> options = BenchmarkOptions(data_sets=("digits",), methods=("base",), seeds=1)
        >>> run_benchmark(Path("runs/benchmark"), options).method[0]  # seconds # doctest: +SKIP
        'base'
    """
    options = options or BenchmarkOptions()
    methods = {name: spec for name, (spec, _) in found(MethodSpec, options.methods).items()}
    for spec in methods.values():
        check_loss(spec, options.losses)
    entries, absent = _entries(options)
    for entry, spec in product(entries.values(), methods.values()):
        for arguments in _every(spec):
            configuration(entry.spec, spec, arguments, 0)
    with locked(output, "benchmark"):
        chosen = _choose(output, entries, methods, options, runner, progress)
        jobs = list(_jobs(output, entries, methods, chosen, options))
        text = f"plan         {len(jobs)} runs of {len(methods)} methods on {', '.join(entries)}"
        left_out = "".join(f"\nleft out     {name}: {why}" for name, why in absent.items())
        _done(jobs, text + left_out, options, runner, progress)
        return gathered(output)


def _entries(options: BenchmarkOptions) -> tuple[dict[str, Entry], dict[str, str]]:
    """The data sets, and why others are not there; those that are named must be."""
    entries, absent = {}, {}
    for name, (spec, folder) in found(DataSetSpec, options.data_sets).items():
        base = (folder or options.files).resolve()
        try:
            check_there(spec, base)
        except InputError as error:
            if options.data_sets:
                raise
            absent[name] = str(error)
        else:
            entries[name] = Entry(spec, base)
    if not entries:
        raise InputError("a data set of the benchmark", "none that is there", "see benchmark list")
    return entries, absent


def check_there(spec: DataSetSpec, base: Path) -> DataDescription:
    """Describe a data set; refused where it is not there, or where its damages do not fit."""
    block = spec.training.get("data")
    if not isinstance(block, Mapping):
        raise InputError("training.data in a data set's file", "none", "see docs/robustness.md")
    try:
        data = load_data(data_config(block), base=base)
    except InputError as error:
        remedy = f"{error.remedy}; {spec.needs}" if spec.needs else error.remedy
        raise InputError(error.expected, error.found, remedy) from error
    for one in spec.damages:
        if one.kind == "corrupt":
            check_corruption(one.form, data.inputs.kind)
        else:
            damaged_data(data, one.damage(), spec, 0)
    if spec.doubt is not None:
        damaged_data(data, DOUBT, spec, 0)
    return data.description


def damages_of(spec: DataSetSpec, method: str, options: BenchmarkOptions) -> list[Damage]:
    """What a method is trained under: clean, the first doses of each kind, dials."""
    kinds: dict[str, int] = {}
    every = [CLEAN]
    for one in spec.damages:
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
        if one.kind != "corrupt" and kinds[one.kind] <= options.doses:
            every.append(one.damage())
    if spec.doubt is not None:
        every.append(DOUBT)
    if options.small:
        return [d for d in every if d == CLEAN or (d.kind in SMALL and d != DOUBT)]
    if options.dials and method == DIALLED:
        every += [one.damage() for one in spec.dials]
    return every


def _jobs(
    output: Path,
    entries: Mapping[str, Entry],
    methods: Mapping[str, MethodSpec],
    chosen: Chosen,
    options: BenchmarkOptions,
) -> Iterator[BenchmarkJob]:
    """Every run, seed by seed, so that a table of fewer seeds is whole first."""
    own = tuple(options.losses.items())
    for seed in range(1 if options.small else options.seeds):
        for (data_set, entry), (method, spec) in product(entries.items(), methods.items()):
            arguments = chosen[data_set, method]
            for damage in damages_of(entry.spec, method, options):
                if spec.loss == BASE and not _changes_base(damage, seed):
                    continue
                folder = place_of(output, data_set, method, damage, seed)
                job = _job(entry, data_set, method, spec, arguments, damage, seed, "test", folder)
                yield replace(job, losses=own)


def _changes_base(damage: Damage, seed: int) -> bool:
    """Whether a damage with this seed changes what is read from an untrained base."""
    if damage.kind in ("none", "shift"):
        return seed == 0
    return damage.kind in ("imbalance", "label-noise", "rows")


def _job(
    entry: Entry,
    data_set: str,
    method: str,
    spec: MethodSpec,
    arguments: Mapping[str, Argument],
    damage: Damage,
    seed: int,
    part: str,
    folder: Path,
) -> BenchmarkJob:
    given = tuple(arguments.items())
    return BenchmarkJob(
        data_set, method, entry.spec, spec, given, damage, seed, part, entry.base, folder
    )


def _choose(
    output: Path,
    entries: Mapping[str, Entry],
    methods: Mapping[str, MethodSpec],
    options: BenchmarkOptions,
    runner: Runner,
    progress: OnStep,
) -> Chosen:
    """The arguments of every method on every data set, by the finer label on validation rows.

    Without finer labels by retention; of the projector as it is, clean, with one seed.
    """
    chosen: Chosen = {}
    open_: dict[tuple[str, str], list[dict[str, Argument]]] = {}
    jobs = []
    for (data_set, entry), (method, spec) in product(entries.items(), methods.items()):
        every = _every(spec)
        if len(every) == 1:
            chosen[data_set, method] = every[0]
            continue
        open_[data_set, method] = every
        for number, arguments in enumerate(every):
            folder = output / _CHOOSING / data_set / method / f"choice-{number}"
            seed, part = _CHOOSING_SEED, "validation"
            job = _job(entry, data_set, method, spec, arguments, CLEAN, seed, part, folder)
            jobs.append(replace(job, losses=tuple(options.losses.items())))
    if jobs:
        names = ", ".join(dict.fromkeys(job.method for job in jobs))
        text = f"choosing     {len(jobs)} runs for arguments of {names}, on validation rows"
        runs = iter(_done(jobs, text, options, runner, progress))
        for key, every in open_.items():
            worth = [_worth(next(runs)) for _ in every]
            chosen[key] = every[worth.index(max(worth))]
    return chosen


def _every(spec: MethodSpec) -> list[dict[str, Argument]]:
    """All arguments of which a method leaves the choice open."""
    return [
        dict(spec.arguments) | dict(zip(spec.choices, values, strict=True))
        for values in product(*spec.choices.values())
    ]


def _worth(run: BenchmarkRun) -> float:
    """What arguments are chosen by."""
    scores = run.measured["clean"]["projector"]
    found = scores.retention if scores.finer is None else scores.finer
    return -1.0 if found is None else found


def _done(
    jobs: Sequence[BenchmarkJob], text: str, options: BenchmarkOptions, runner: Runner,
    progress: OnStep,
) -> list[BenchmarkRun]:  # fmt: skip
    """The results of jobs; the first that fails is refused."""
    progress(Step(0, len(jobs), "plan", text))
    done = 0

    def ended(job: BenchmarkJob) -> None:
        nonlocal done
        done += 1
        name = f"{job.data_set}, {job.method}, {job.damage.name}, seed {job.seed}"
        progress(Step(done, len(jobs), "runs", name=name))

    results = []
    for job, outcome in zip(jobs, runner(jobs, options.workers, ended), strict=True):
        if outcome.result is None:
            raise InputError(
                f"a run of {job.method} on {job.data_set} under {job.damage.name}",
                outcome.reason or "none",
                "correct the method or the data set; the other runs are kept",
            )
        results.append(outcome.result)
    return results
