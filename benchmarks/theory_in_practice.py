"""Does theory help in practice? A grid beside a pilot, on the pilot's own data part and epochs.

    OMP_NUM_THREADS=1 uncollapse pilot configs/solar-cells.yaml -o runs/solar-pilot
    OMP_NUM_THREADS=1 python benchmarks/theory_in_practice.py runs/solar-pilot --base configs \
        -o runs/solar-grid --workers 2

Trains alpha x temperature x instances of a class in a batch, each with the pilot's seeds and for as
many optimiser steps as the pilot's start, and measures every run on validation and on test rows.
Finished runs are kept, so the command goes on where it was stopped. Writes OUTPUT/study.json (every
run, predicted and measured) and prints

- the rank correlation (Spearman) of predicted and measured within-class variance,
- thresholds in alpha: predicted, and measured as the alpha at which the variance is twice that at
  the smallest alpha (between grid points on a logarithmic scale of both),
- the objective against the measured variance: the narrowest, the best and the widest setting,
- runs until within 1 point of the best and until as good as the pilot: random search, grids
  (benchmarks/searches.py). What a setting is worth is its mean over seeds on test rows, and the
  best is the best of these means.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from scipy.stats import spearmanr
from searches import equal_grids, of, searched

from uncollapse.pilot import Common, Job, PilotResult, on_processes
from uncollapse.records import to_json_types
from uncollapse.theory import predict
from uncollapse.training import Problem, build_problem, parse_config

ALPHAS = (0.0079, 0.05, 0.2, 0.5, 0.9)
TEMPERATURES = (0.05, 0.1, 0.3)
PER_CLASS = (16, 64)
LAYERS = ("projector", "backbone")


def changed(block: dict[str, Any], alpha: float, tau: float, count: int) -> dict[str, Any]:
    """The configuration at another setting; a random batch gets `count` of a class on average."""
    block = json.loads(json.dumps(block))
    block["loss"] |= {"alpha": alpha, "temperature": tau}
    if block["batch"].get("per_class") is not None:
        block["batch"]["per_class"] = count
    else:
        block["batch"]["size"] = count * 4
    return block


def predicted(problem: Problem) -> dict[str, Any]:
    """What theory says of a configuration."""
    found = predict(problem.setting())
    return {
        "phase": found.phase,
        "instance_variance": found.instance_variance,
        "within_class_variance": found.within_class_variance,
        "alpha_threshold": found.alpha_threshold,
    }


def run(
    pilot: PilotResult,
    base: Path,
    output: Path,
    workers: int,
    grid: list[tuple[float, float, int]],
) -> list[dict[str, Any]]:
    """Every run of the grid of (alpha, temperature, per class), predicted and measured."""
    seeds, epochs = pilot.conditions.seeds, pilot.conditions.plan.epochs
    block = pilot.conditions.config | {"epochs": epochs}
    goal = pilot.objective
    start = build_problem(parse_config(block), base=base)
    rows, jobs = [], []
    for alpha, tau, count in grid:
        own = changed(block, alpha, tau, count)
        problem = build_problem(parse_config(own), base=base, data=start.data)
        theory = predicted(problem)
        own["epochs"] = max(1, round(epochs * start.sampler.steps / problem.sampler.steps))
        common = Common(parse_config(own), base, goal, {})
        for seed in seeds:
            folder = output / "runs" / f"{alpha:g}-{tau:g}-{count}-{seed}"
            rows.append({"alpha": alpha, "temperature": tau, "per_class": count, "seed": seed})
            rows[-1]["predicted"] = theory
            jobs += [
                Job(folder.name, (), seed, folder, own["epochs"], part, common)
                for part in ("validation", "test")
            ]
    outcomes = []
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("runs", total=len(jobs))
        # Training first, then the second measurement of the same run.
        for part in (0, 1):
            outcomes.append(on_processes(jobs[part::2], workers, lambda _: bar.advance(task)))
    for row, *both in zip(rows, *outcomes, strict=True):
        for part, outcome in zip(("validation", "test"), both, strict=True):
            result = outcome.result
            row[part] = None if result is None else to_json_types(result.measured)
            row["failed"] = outcome.reason
        row["seconds"] = None if both[0].result is None else both[0].result.seconds
    return rows


def settings(
    rows: list[dict[str, Any]],
) -> Iterator[tuple[tuple[float, ...], list[dict[str, Any]]]]:
    """The runs of each setting."""
    keys = dict.fromkeys((r["alpha"], r["temperature"], r["per_class"]) for r in rows)
    for key in keys:
        yield key, [r for r in rows if (r["alpha"], r["temperature"], r["per_class"]) == key]


def rank_correlations(groups: list[Any]) -> dict[str, dict[str, float]]:
    """Over settings, means over seeds: all, and those not predicted to collapse."""
    found: dict[str, dict[str, float]] = {}
    for layer in LAYERS:
        pairs = np.array(
            [
                (
                    own[0]["predicted"]["instance_variance"],
                    of(own, "test", layer, "instance_variance"),
                )
                for _, own in groups
            ]
        )
        spread = pairs[pairs[:, 0] > 0]
        found[layer] = {
            "all": float(spearmanr(*pairs.T).statistic),
            "spread": float(spearmanr(*spread.T).statistic),
        }
    return found


def thresholds(groups: list[Any], layer: str) -> list[dict[str, float | None]]:
    """Where the spread begins, by temperature and instances of a class."""
    found: list[dict[str, float | None]] = []
    for tau, count in dict.fromkeys(key[1:] for key, _ in groups):
        curve = sorted((key[0], own) for key, own in groups if key[1:] == (tau, count))
        alphas = np.log([alpha for alpha, _ in curve])
        measured = np.log([of(own, "test", layer, "instance_variance") for _, own in curve])
        rise = np.maximum.accumulate(measured) - measured[0] - np.log(2)
        at = int(np.argmax(rise >= 0))
        begins = None
        if rise[-1] >= 0:
            share = -rise[at - 1] / (rise[at] - rise[at - 1])
            begins = float(np.exp(alphas[at - 1] + share * (alphas[at] - alphas[at - 1])))
        predicted = curve[0][1][0]["predicted"]["alpha_threshold"]
        found.append(
            {"temperature": tau, "per_class": count, "predicted": predicted, "measured": begins}
        )
    return found


def spread_and_worth(groups: list[Any], layer: str) -> dict[str, dict[str, float]]:
    """Measured variance and objective of the narrowest, the best and the widest setting."""
    points = [
        (
            of(own, "test", layer, "instance_variance"),
            of(own, "test", layer, "objective"),
            key,
        )
        for key, own in groups
    ]
    chosen = {
        "narrowest": min(points),
        "best": max(points, key=lambda point: point[1]),
        "widest": max(points),
    }
    return {
        name: {
            "instance_variance": point[0],
            "objective": point[1],
            **dict(zip(("alpha", "temperature", "per_class"), point[2], strict=True)),
        }
        for name, point in chosen.items()
    }


def report(rows: list[dict[str, Any]], pilot: PilotResult) -> dict[str, Any]:
    """The summary, printed too."""
    groups = [(key, own) for key, own in settings(rows) if all(r["test"] for r in own)]
    layer = pilot.layer
    print(
        "alpha   tau   n_b  predicted  phase            W      share  verdicts    objective  task"
    )
    for (alpha, tau, count), own in sorted(groups, key=lambda g: g[0][1:] + g[0][:1]):
        theory = own[0]["predicted"]
        verdicts = ",".join(sorted({r["test"][layer]["verdict"] for r in own}))
        print(
            f"{alpha:<7g} {tau:<5g} {count:<4g} {theory['instance_variance']:9.4f}  "
            f"{theory['phase']:15s} {of(own, 'test', layer, 'instance_variance'):.4f}  "
            f"{of(own, 'test', layer, 'share'):.3f}  {verdicts:10s}  "
            f"{of(own, 'test', layer, 'objective'):.3f}      {of(own, 'test', layer, 'task'):.3f}"
        )
    of_pilot = piloted(pilot)
    summary = {
        "rank_correlation": rank_correlations(groups),
        "thresholds": thresholds(groups, layer),
        "spread_and_worth": {name: spread_and_worth(groups, name) for name in LAYERS},
        "search": searched(groups, layer, of_pilot["test_objective"]),
        "grids": equal_grids(groups, layer, of_pilot["test_objective"], start_of(pilot)),
        "pilot": of_pilot,
        "seconds_per_run": mean(r["seconds"] for r in rows if r["seconds"]),
    }
    print(json.dumps(summary, indent=2))
    return summary


def start_of(pilot: PilotResult) -> tuple[float, float]:
    """Temperature and instances of a class in a batch of the present setting."""
    config = pilot.conditions.config
    count = config["batch"].get("per_class") or config["batch"]["size"] / 4
    return config["loss"]["temperature"], count


def piloted(pilot: PilotResult) -> dict[str, Any]:
    """What the pilot spent and reached on test rows, by fresh seeds."""
    epochs = pilot.conditions.plan.epochs
    trained = [trial for trial in pilot.trials if trial.kind == "setting"]
    spent = sum(run.epochs / epochs for trial in trained for run in trial.runs)
    # The first rung's run of a trial that went on is a part of its run.
    chosen = pilot.recommendation
    confirmed = chosen.confirmed if chosen else None
    layer = (chosen and chosen.layer) or pilot.layer
    again = {trial.name for trial in trained} & {*(confirmed.runs if confirmed else ())}
    return {
        "verdict": pilot.verdict,
        "change": to_json_types(chosen.change) if chosen else None,
        "runs_to_choose": round(spent, 2),
        "runs_to_confirm": sum(len(confirmed.runs[name]) for name in again),
        "test_objective": confirmed.recommended[layer]["objective"] if confirmed else None,
        "start_objective": confirmed.start[pilot.layer]["objective"] if confirmed else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pilot", type=Path, help="Folder of a finished pilot.")
    parser.add_argument("--base", type=Path, default=Path(), help="Folder of its configuration.")
    parser.add_argument("--alphas", type=float, nargs="+", default=ALPHAS)
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--per-class", type=int, nargs="+", default=PER_CLASS)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    record = PilotResult.from_json((options.pilot / "pilot.json").read_text(encoding="utf-8"))
    rows = run(
        record,
        options.base.resolve(),
        options.output.resolve(),
        options.workers,
        list(product(options.alphas, options.temperatures, options.per_class)),
    )
    summary = report(rows, record)
    written = {"conditions": record.conditions.to_dict(), "runs": rows, "summary": summary}
    (options.output / "study.json").write_text(json.dumps(written, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
