"""Ranks of methods with intervals, and where theory's phase is what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import sqrt
from statistics import fmean, stdev

from uncollapse.benchmark.specs import MethodSpec, built_in
from uncollapse.errors import InputError
from uncollapse.records import BenchmarkResult, BenchmarkTable, MethodRank, PhaseAgreement
from uncollapse.statistics import mean_interval, t_quantile

RANKED = ("finer", "training_label", "worst_class", "worst_slice")
# The embedding that is deployed: the projector's output as it is; of the base the inputs.
DEPLOYED = ("projector", "inputs")
# Measured as spread from this variance inside classes on, on unit vectors.
SPREAD = 0.1
DIALS = ("optimiser", "initialisation", "width", "depth")

Cell = tuple[str, str]  # data set, damage
Scores = dict[Cell, dict[str, list[float]]]  # by method, over seeds


def scores_of(
    result: BenchmarkResult,
    name: str,
    embeddings: Sequence[str] = DEPLOYED,
    seeds: Sequence[int] | None = None,
) -> Scores:
    """A number of every run, of these embeddings, by cell and method."""
    found: Scores = {}
    for place, value in enumerate(result.columns[name]):
        if value is None or result.embedding[place] not in embeddings:
            continue
        if seeds is not None and result.seed[place] not in seeds:
            continue
        cell = result.data_set[place], result.damage[place]
        found.setdefault(cell, {}).setdefault(result.method[place], []).append(value)
    return found


def with_base(scores: Scores) -> Scores:
    """The same, an untrained base as on clean data where a damage does nothing to it."""
    filled = {}
    for (data_set, damage), methods in scores.items():
        clean = scores.get((data_set, "clean"), {})
        own = {name: values for name, values in clean.items() if name == "base"}
        filled[data_set, damage] = own | methods
    return filled


def shared_cells(scores: Scores) -> dict[Cell, dict[str, float]]:
    """Means over seeds in the cells that every method has."""
    methods = {name for cell in scores.values() for name in cell}
    return {
        cell: {name: fmean(values) for name, values in by.items()}
        for cell, by in with_base(scores).items()
        if {*by} == methods
    }


def ranks_in(values: Mapping[str, float]) -> dict[str, float]:
    """Ranks, 1 for the largest; of equal values the mean.

    Examples:
        >>> ranks_in({"a": 0.5, "b": 0.9, "c": 0.5})
        {'a': 2.5, 'b': 1.0, 'c': 2.5}
    """
    from scipy.stats import rankdata

    found = rankdata([-value for value in values.values()])
    return {name: float(rank) for name, rank in zip(values, found, strict=True)}


def ranks_by_data_set(cells: Mapping[Cell, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """By method and data set, the mean rank over damages."""
    every: dict[str, dict[str, list[float]]] = {}
    for (data_set, _), values in cells.items():
        for name, rank in ranks_in(values).items():
            every.setdefault(name, {}).setdefault(data_set, []).append(rank)
    return {name: {d: fmean(r) for d, r in by.items()} for name, by in every.items()}


def ranked(result: BenchmarkResult, name: str, confidence: float = 0.95) -> tuple[MethodRank, ...]:
    """Methods by their mean rank in a number, with intervals.

    With r_ad the mean rank of method a on data set d, of D data sets, and P pairs of methods, a and
    b are distinguished where the interval

        mean_d (r_ad - r_bd)  -+  t sd_d(r_ad - r_bd) / sqrt(D),   t at 1 - (1 - confidence) / P

    does not hold 0 (paired Student, Bonferroni). On one data set there are no intervals.
    """
    cells = shared_cells(scores_of(result, name))
    by = ranks_by_data_set(cells)
    titles = {key: spec.title for key, spec in built_in(MethodSpec).items()}
    alike: dict[str, list[str]] = {method: [] for method in by}
    pairs = [*combinations(by, 2)]
    for first, second in pairs:
        gaps = [by[first][d] - by[second][d] for d in by[first]]
        if not _apart(gaps, 1 - (1 - confidence) / len(pairs)):
            alike[first].append(second)
            alike[second].append(first)
    found = [
        MethodRank(
            method=method,
            title=titles.get(method, method),
            embedding=DEPLOYED[method == "base"],
            rank=mean_interval([*ranks.values()], confidence),
            score=fmean(values[method] for values in cells.values()),
            alike=tuple(alike[method]),
        )
        for method, ranks in by.items()
    ]
    return tuple(sorted(found, key=lambda one: one.rank.estimate))


def _apart(gaps: Sequence[float], confidence: float) -> bool:
    """Whether the interval of a mean of paired differences leaves out 0."""
    if len(gaps) < 2:
        return False
    half = t_quantile(len(gaps) - 1, confidence) * stdev(gaps) / sqrt(len(gaps))
    return abs(fmean(gaps)) > half


def predicted_of(result: BenchmarkResult) -> dict[tuple[str, str, str], list[float]]:
    """Variance between instances that theory predicts, by data set, damage and method."""
    said: dict[tuple[str, str, str], list[float]] = {}
    for place, variance in enumerate(result.predicted_variance):
        if variance is not None:
            key = result.data_set[place], result.damage[place], result.method[place]
            said.setdefault(key, []).append(variance)
    return said


def phases(result: BenchmarkResult) -> Iterator[PhaseAgreement]:
    """By data set, whether W is spread (`SPREAD` or more) where theory says so; dials left out.

    Measured is the mean over seeds at the projector, predicted the mean variance of instances.
    """
    measured = scores_of(result, "instance_variance", ("projector",))
    by: dict[str, list[tuple[str, bool]]] = {}
    for (data_set, damage, method), variances in predicted_of(result).items():
        if damage.startswith(DIALS):
            continue
        wanted, found = fmean(variances), fmean(measured[data_set, damage][method])
        text = f"{method} under {damage}: {found:.2f} for {wanted:.2f}"
        by.setdefault(data_set, []).append((text, (wanted >= SPREAD) == (found >= SPREAD)))
    for data_set, entries in by.items():
        misses = tuple(text for text, right in entries if not right)
        yield PhaseAgreement(
            data_set=data_set,
            compared=len(entries),
            agreed=len(entries) - len(misses),
            misses=misses,
        )


def tabled(result: BenchmarkResult) -> BenchmarkTable:
    """Ranks by every number that is ranked, and phases.

    Raises:
        InputError: No damage of any data set that all methods have.
    """
    cells = shared_cells(scores_of(result, RANKED[0]))
    if not cells:
        raise InputError(
            "a data set on which every method was run", "none", "uncollapse benchmark run"
        )
    by: dict[str, list[str]] = {}
    for data_set, damage in cells:
        by.setdefault(data_set, []).append(damage)
    return BenchmarkTable(
        ranks={name: ranked(result, name) for name in RANKED},
        cells={data_set: tuple(damages) for data_set, damages in by.items()},
        phases=tuple(phases(result)),
        seeds=len({*result.seed}),
    )


def agreement(first: BenchmarkResult, second: BenchmarkResult, name: str = "finer") -> float:
    """Spearman's correlation of two benchmarks' mean ranks of the methods that both have.

    Raises:
        InputError: Fewer than three methods in common.
    """
    from scipy.stats import spearmanr

    sides = [
        {one.method: one.rank.estimate for one in ranked(result, name)}
        for result in (first, second)
    ]
    both = [method for method in sides[0] if method in sides[1]]
    if len(both) < 3:
        raise InputError("three methods in common, or more", f"{len(both)}", "run more methods")
    one, other = ([side[method] for method in both] for side in sides)
    return float(spearmanr(one, other).statistic)
