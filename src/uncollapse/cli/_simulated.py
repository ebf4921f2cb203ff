"""What `uncollapse simulate` prints: records, one point, or a table over a grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from uncollapse.cli._console import hanging
from uncollapse.cli.predict import describe
from uncollapse.records import (
    PointSummary,
    Prediction,
    Reached,
    Setting,
    SimulationOptions,
    SimulationRecord,
    SimulationRun,
    Spread,
)

# Title, key and digits.
SHOWN = (
    ("loss", "loss", 6),
    ("within", "within_class_variance", 4),
    ("instance", "instance_variance", 4),
    ("view", "view_variance", 4),
    ("between", "between_class_variance", 4),
)


@dataclass
class GridPoint:
    """One point of the grid: what varies there, and the runs that are finished."""

    varied: dict[str, Any]
    setting: Setting
    options: SimulationOptions
    prediction: Prediction
    runs: list[Reached] = field(default_factory=list)


def as_record(points: Sequence[GridPoint], interrupted: bool) -> SimulationRecord:
    """The record of finished runs, and their mean and spread by point of the grid."""
    runs = tuple(
        SimulationRun(
            setting=point.setting,
            options=point.options,
            seed=run.seed,
            prediction=point.prediction,
            reached=run,
        )
        for point in points
        for run in point.runs
    )
    summary = tuple(_summary(point) for point in points if point.runs)
    return SimulationRecord(interrupted=interrupted, runs=runs, summary=summary)


def _summary(point: GridPoint) -> PointSummary:
    spreads = {}
    for _, key, _ in SHOWN:
        values = [run[key] for run in point.runs]
        deviation = stdev(values) if len(values) > 1 else None
        spreads[key] = Spread(mean(values), deviation, min(values), max(values))
    phases = dict(Counter(run.phase for run in point.runs))
    return PointSummary(varied=point.varied, repeats=len(point.runs), phases=phases, **spreads)


def as_text(points: Sequence[GridPoint]) -> list[str]:
    """Lines for a reader: one point in full, or a table with a row for each point."""
    finished = [point for point in points if point.runs]
    if not finished:
        return []
    return _in_full(finished[0]) if len(points) == 1 else _table(finished)


def _in_full(point: GridPoint) -> list[str]:
    runs, predicted = point.runs, point.prediction
    rows = [["", *(title for title, _, _ in SHOWN), "phase"]]
    rows.append(["predicted", *_numbers(predicted), predicted.phase])
    summary, parts = _summary(point), {"reached": "mean"}
    if len(runs) > 1:
        parts = {"mean": "mean", "sd": "sd", "lowest": "min", "highest": "max"}
    for title, part in parts.items():
        numbers = _numbers({key: summary[key][part] for _, key, _ in SHOWN})
        rows.append([title, *numbers, _phases(runs) if part == "mean" else ""])
    if len(runs) == 1:
        differences = [runs[0][key] - predicted[key] for _, key, _ in SHOWN]
        rows.append(["difference", *(f"{v:+.1e}" for v in differences), ""])
    head = (f"setting      {describe(point.setting)}", f"model        {_model(point)}")
    foot = (f"runs         {_how(runs)}", *(f"note: {note}" for note in _notes([point])))
    numbers = ["", *_aligned(rows), *_by_size(point), ""]
    return [*map(hanging, head), *numbers, *map(hanging, foot)]


def _table(points: Sequence[GridPoint]) -> list[str]:
    repeated = max(len(point.runs) for point in points) > 1
    titles = ("loss", "reached", "instance", "reached", "view", "reached", "phase", "reached")
    rows = [[*points[0].varied, *titles]]
    for point in points:
        cells = [f"{value:g}" for value in point.varied.values()]
        summary = _summary(point)
        for key, digits in (("loss", 6), ("instance_variance", 4), ("view_variance", 4)):
            reached = summary[key]
            text = f"{reached.mean:.{digits}f}"
            if repeated:
                text += f" ±{reached.sd:.{digits}f}" if reached.sd is not None else " one run"
            cells += [f"{point.prediction[key]:.{digits}f}", text]
        rows.append([*cells, point.prediction.phase, _phases(point.runs)])
    everything = [run for point in points for run in point.runs]
    first = points[0]
    head = (f"setting      {describe(first.setting)}", f"model        {_model(first)}")
    spread = ", mean ± deviation over repeats" if repeated else ""
    foot = (f"columns      predicted, then reached{spread}", f"runs         {_how(everything)}")
    notes = (f"note: {note}" for note in _notes(points))
    table = ["             (both of the first row)", "", *_aligned(rows), ""]
    return [*map(hanging, head), *table, *map(hanging, (*foot, *notes))]


def _numbers(values: Prediction | dict[str, float]) -> list[str]:
    return [f"{values[key]:.{digits}f}" for _, key, digits in SHOWN]


def _phases(runs: Sequence[Reached]) -> str:
    counts = Counter(run.phase for run in runs).most_common()
    if len(runs) == 1:
        return counts[0][0]
    return ", ".join(f"{phase} {times}/{len(runs)}" for phase, times in counts)


def _model(point: GridPoint) -> str:
    options, setting = point.options, point.setting
    d = setting.dimension or setting.instances * setting.views
    if options.model == "vectors":
        start: str = options.initial
        if start == "ssem":
            start += f" of variance {options.initial_variance:g}"
        if options.initial != "random":
            start += f" with noise {options.initial_noise:g}"
        return f"free vectors in dimension {d}, start {start}"
    views = "fresh" if options.fresh_views else "fixed"
    return (
        f"{options.depth} hidden layer(s) of {options.width} into dimension {d}, on Gaussian "
        f"classes (separation {options.separation:g}, dimension {options.input_dimension}, "
        f"{views} views with noise {options.augmentation:g})"
    )


def _how(runs: Sequence[Reached]) -> str:
    """Seeds, optimiser, steps, how runs stopped, and what the loss reached is a mean of."""
    seeds = sorted({run.seed for run in runs})
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    optimisers = ", ".join(
        dict.fromkeys(
            r.optimiser if r.learning_rate is None else f"{r.optimiser} at {r.learning_rate:g}"
            for r in runs
        )
    )
    least, most = min(run.steps for run in runs), max(run.steps for run in runs)
    steps = f"{least}" if least == most else f"{least} to {most}"
    stops = Counter(run.stopped for run in runs).items()
    stopped = ", ".join(why if len(runs) == 1 else f"{why} {times}" for why, times in stops)
    sampled = [run for run in runs if run.loss_error is not None]
    loss = "loss exact"
    if sampled:
        error = max(run.loss_error or 0.0 for run in sampled)
        loss = f"loss is the mean of {sampled[0].loss_batches} batches, standard error {error:.1e}"
    return f"{which}, {optimisers}, {steps} steps, stopped: {stopped}; {loss}"


def _notes(points: Sequence[GridPoint]) -> list[str]:
    notes = list(dict.fromkeys(note for point in points for note in point.prediction.notes))
    diverged = sum(run.stopped == "diverged" for point in points for run in point.runs)
    if diverged:
        notes.append(
            f"{diverged} run(s) diverged: values are the last finite ones; lower --learning-rate"
        )
    return notes


def _by_size(point: GridPoint) -> list[str]:
    """Unequal classes: a row for each size, means over its classes and the runs."""
    if point.setting.balanced:
        return []
    counts = point.setting.counts.tolist()
    rows = [["instances", "classes", "predicted instance", "reached", "view", "reached", "phase"]]
    for size in sorted(set(counts), reverse=True):
        where = [c for c, count in enumerate(counts) if count == size]
        cells = [str(size), str(len(where))]
        for key in ("instance_variance_per_class", "view_variance_per_class"):
            reached = mean(getattr(run, key)[c] for run in point.runs for c in where)
            cells += [f"{getattr(point.prediction, key)[where[0]]:.4f}", f"{reached:.4f}"]
        each = (run.phase_per_class[c] or "one instance" for run in point.runs for c in where)
        phases = Counter(each).most_common()
        words = (f"{name} {times}" if len(phases) > 1 else name for name, times in phases)
        rows.append([*cells, ", ".join(words)])
    return ["", *_aligned(rows)]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows as lines; the last column and one without a title are words, the others numbers."""
    columns = []
    for number, column in enumerate(zip(*rows, strict=True), 1):
        width = max(map(len, column))
        words = number == len(rows[0]) or column[0] == ""
        columns.append([cell.ljust(width) if words else cell.rjust(width) for cell in column])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
