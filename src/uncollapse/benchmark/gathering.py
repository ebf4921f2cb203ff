"""From the runs of a folder to the benchmark's raw numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from uncollapse.benchmark.specs import ORDER
from uncollapse.errors import InputError
from uncollapse.records import BenchmarkResult, BenchmarkRun, BenchmarkScores
from uncollapse.storage import write_text

RESULT = "benchmark.json"
NUMBERS = tuple(f.name for f in fields(BenchmarkScores) if f.name != "verdict")
_DIGITS = 4


def runs_of(output: Path) -> list[BenchmarkRun]:
    """Every run of the table in a folder, in the order of data sets and methods."""
    found = [
        BenchmarkRun.read(path, "take it out, and its run is done again")
        for path in sorted(output.glob("*/trials/*/*/seed-*/measured.json"))
    ]

    def place(run: BenchmarkRun) -> tuple[int, str, int, str, str, int]:
        data, method = run.data_set, run.method
        return *_place(data), *_place(method), run.damage.name, run.seed

    return sorted(found, key=place)


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER)), name


def gathered(output: Path) -> BenchmarkResult:
    """The raw numbers of a folder's runs, written to its benchmark.json.

    Raises:
        InputError: No run is there, or one that cannot be read.
    """
    runs = runs_of(output)
    if not runs:
        raise InputError(f"runs of a benchmark in {output}", "none", "uncollapse benchmark run")
    rows = [row for run in runs for row in _rows(run)]
    columns = {name: tuple(row[name] for row in rows) for name in rows[0]}
    arguments: dict[str, dict[str, Any]] = {}
    for run in runs:
        arguments.setdefault(run.data_set, {})[run.method] = run.arguments
    result = BenchmarkResult(
        columns={name: columns.pop(name) for name in NUMBERS},
        arguments=arguments,
        seconds=round(sum(run.seconds for run in runs)),
        **columns,
    )
    write_text(output / RESULT, result.to_json(indent=None) + "\n")
    return result


def _rows(run: BenchmarkRun) -> Iterator[dict[str, Any]]:
    """An entry per embedding, on the run's own test rows and on corrupted ones."""
    said = run.predicted
    for test, measured in run.measured.items():
        clean = test == "clean"
        for embedding, scores in measured.items():
            numbers = {name: _rounded(scores[name]) for name in NUMBERS}
            yield numbers | {
                "data_set": run.data_set,
                "method": run.method,
                "damage": run.damage.name if clean else test,
                "seed": run.seed,
                "embedding": embedding,
                "verdict": scores.verdict,
                "phase": said.phase if said and clean else "",
                "predicted_variance": _rounded(said.instance_variance) if said and clean else None,
            }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
