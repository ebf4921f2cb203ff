"""Where networks begin to spread under wrong labels and long training, measured and predicted.

    python benchmarks/networks_thresholds.py FOLDER [--seeds 3] [--minutes 60] [--table]

The digits of benchmarks/networks_causes.py (even or odd, tau .1, 64 of a class) as they are, with
5 and 20 % of the training labels wrong, and for 16 times the epochs; validation rows keep their
true labels. The spread begins where W is twice that at alpha .0079, read between grid points on
logarithmic scales as in benchmarks/theory_in_practice.py. Beside it: the threshold of theory (with
the rate of wrong labels, if the encoder cannot know which they are), and the model of
docs/networks.md, calibrated on alpha .0079 and the further run that a calibration of the first
condition asks for, each in its own condition; for long training also by that of the first condition
and the number of steps alone. Finished runs are kept; --table trains nothing. Writes
docs/study/networks-thresholds.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from networks import STUDY, write
from networks_causes import begins, block_of, digits

from uncollapse.metrics import scores
from uncollapse.records import Calibration, NetworkRun, NextRun, read_network_run
from uncollapse.theory import calibrate, forecast, predict
from uncollapse.training import build_problem, parse_config, train

ALPHAS = (0.0079, 0.05, 0.1, 0.2, 0.5)
TEMPERATURE = 0.1
RATES = {"start": 0.0, "noise-5": 0.05, "noise-20": 0.2, "epochs-16": 0.0}
LONG = "epochs-16"
Key = tuple[str, float, float, int, int]  # condition, alpha, temperature, of a class, seed


def configuration(key: Key) -> dict[str, Any]:
    """The configuration of a run."""
    cause, alpha, temperature, per_class, seed = key
    block = block_of(cause, alpha, seed, temperature=temperature)
    block["batch"]["per_class"] = per_class
    return block


def folder_of(folder: Path, key: Key) -> Path:
    """Where a run is."""
    return folder / "-".join([key[0], *(f"{part:g}" for part in key[1:])])


def run(folder: Path, key: Key) -> NetworkRun:
    """What a run shows on validation rows at its end; trained unless it is there."""
    output = folder_of(folder, key)
    if not (output / "finished").exists():
        shutil.rmtree(output, ignore_errors=True)
        problem = build_problem(parse_config(configuration(key)), base=folder)
        if train(problem, output, scores=scores).interrupted:
            raise SystemExit(130)
        (output / "finished").touch()
    return read_network_run(output)


def row(
    cause: str, runs: dict[Key, NetworkRun], asked: NextRun, first: Calibration | None
) -> dict[str, Any] | None:
    """Measured and predicted thresholds of a condition; None before its runs are there."""
    here = {key: found for key, found in runs.items() if key[0] == cause}
    start = [found for key, found in here.items() if key[1:4] == (ALPHAS[0], TEMPERATURE, 64)]
    wanted = (asked.alpha, asked.temperature, asked.batch_size or 64)
    further = [found for key, found in here.items() if key[1:4] == wanted]
    if not start:
        return None
    curve: dict[float, list[float]] = {}
    for key, found in here.items():
        if key[2:4] == (TEMPERATURE, 64) and key[1] in ALPHAS:
            curve.setdefault(key[1], []).append(found.within_class_variance)
    setting = start[0].setting
    found = {
        "condition": cause,
        "seeds": {f"{alpha:g}": len(values) for alpha, values in sorted(curve.items())},
        "within": {f"{alpha:g}": fmean(values) for alpha, values in sorted(curve.items())},
        "measured": begins(curve) if len(curve) > 1 else None,
        "theory": predict(setting, label_noise=RATES[cause]).alpha_threshold,
        "model": None,
        "model_by_steps": None,
    }
    if further:
        own = calibrate([*start, *further])
        model = forecast(own, setting).alpha_where_spread_begins
        found["model"] = None if model is None else model.to_dict()
        found["constants"] = [constant.to_dict() for constant in own.constants]
        if cause == LONG and first is not None:
            long = forecast(first, setting, steps=start[0].steps).alpha_where_spread_begins
            found["model_by_steps"] = None if long is None else long.to_dict()
    return found


def table(runs: dict[Key, NetworkRun]) -> list[dict[str, Any]]:
    """A row for each condition."""
    base = [
        found for key, found in runs.items() if key[:4] == ("start", ALPHAS[0], TEMPERATURE, 64)
    ]
    asked = calibrate(base).following
    assert asked is not None
    wanted = (asked.alpha, asked.temperature, asked.batch_size or 64)
    further = [found for key, found in runs.items() if key[:4] == ("start", *wanted)]
    first = calibrate([*base, *further]) if further else None
    rows = (row(cause, runs, asked, first) for cause in RATES)
    return [found for found in rows if found is not None]


def keys(asked: NextRun, seeds: int) -> list[Key]:
    """Runs in their order: short ones first, long ones seed by seed."""
    further = (asked.alpha, asked.temperature, asked.batch_size or 64)
    settings = [*((alpha, TEMPERATURE, 64) for alpha in ALPHAS), further]
    short = [c for c in RATES if c != LONG]
    made = [(c, *s, seed) for c in short for s in settings for seed in range(seeds)]
    return [*made, *((LONG, *s, seed) for seed in range(seeds) for s in settings)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "digits.npz").exists():
        digits(options.folder / "digits.npz")
    began, runs = time.monotonic(), dict[Key, NetworkRun]()
    first: list[Key] = [("start", ALPHAS[0], TEMPERATURE, 64, s) for s in range(options.seeds)]
    for key in first:
        runs[key] = run(options.folder, key)
    asked = calibrate(list(runs.values())).following
    assert asked is not None
    for key in keys(asked, options.seeds):
        there = (folder_of(options.folder, key) / "finished").exists()
        late = options.table or time.monotonic() - began > 60 * options.minutes
        if there or not late:
            runs[key] = run(options.folder, key)
            within = runs[key].within_class_variance
            print(f"{time.monotonic() - began:6.0f} s", *key, f"W {within:.3f}", flush=True)
    found = table(runs)
    rows = [
        dict(zip(("condition", "alpha", "temperature", "per_class", "seed"), key, strict=True))
        | {"steps": r.steps, "within": r.within_class_variance, "between": r.between_class_variance}
        for key, r in runs.items()
    ]
    write(STUDY / "networks-thresholds.json", {"thresholds": found, "runs": rows})
    for one in found:
        print(json.dumps({k: v for k, v in one.items() if k != "constants"}), flush=True)


if __name__ == "__main__":
    main()
