"""Throughput of a pilot's runs with two workers against one, on digits.

    python benchmarks/pilot_workers.py [--runs 8] [--epochs 12]

The same runs, whole and measured, in fresh folders, one worker, two, one, two; prints wall seconds
and the ratio. Starting the processes is counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib import resources
from pathlib import Path

import yaml

from uncollapse.pilot import Common, Job, objective, on_processes
from uncollapse.training import parse_config


def jobs(folder: Path, runs: int, epochs: int) -> list[Job]:
    text = (resources.files("uncollapse.cli") / "demos" / "digits.yaml").read_text("utf-8")
    config = parse_config(yaml.safe_load(text) | {"epochs": epochs})
    common = Common(config, folder, objective("within-class", ("digit",)), {})
    return [
        Job("start", (), seed, folder / f"seed-{seed}", epochs, "validation", common)
        for seed in range(runs)
    ]


def seconds(workers: int, runs: int, epochs: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        outcomes = on_processes(jobs(Path(folder), runs, epochs), workers, lambda job: None)
        assert all(outcome.result for outcome in outcomes)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    taken: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2, 1, 2):
        taken[workers].append(seconds(workers, options.runs, options.epochs))
        print(
            f"{workers} worker(s): {taken[workers][-1]:.1f} s for {options.runs} runs", flush=True
        )
    print(f"throughput of two workers: {min(taken[1]) / min(taken[2]):.2f} times that of one")


if __name__ == "__main__":
    main()
