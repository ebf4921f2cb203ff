"""The model of trained networks on a data set that was not looked at while it was made.

    pip install mnist1d
    python benchmarks/networks_fourth.py FOLDER [--minutes 15]

Signals of 40 points of ten kinds (mnist1d, generated), merged to three classes of 4, 3 and 3 kinds;
a small MLP, 14 settings and two seeds (the start: three) by the project's own `train`, measured on
validation rows at the projector. Calibrated on the start and the setting that the calibration
proposes, then judged on the rest as in benchmarks/networks.py. Finished runs are kept. Writes
docs/study/networks-fourth.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from networks import STUDY, judged, write

from uncollapse.metrics import scores
from uncollapse.records import NetworkRun, read_network_run
from uncollapse.theory import calibrate, following, forecast
from uncollapse.training import build_problem, parse_config, train

START = (0.0079, 0.1, 64)
SETTINGS = (
    START,
    *((alpha, 0.1, 64) for alpha in (0.05, 0.2, 0.5, 0.9)),
    *((alpha, tau, 64) for tau in (0.3, 0.05) for alpha in (0.2, 0.9, 0.5, 0.0079)),
    (0.5, 0.1, 16),
)
CONFIG: dict[str, Any] = {
    "data": {
        "source": "arrays",
        "path": "signals.npz",
        "inputs": "x",
        "kind": "vector",
        "label": "label",
        "fine": ["kind"],
    },
    "views": {"count": 2, "augmentation": "medium"},
    "encoder": {"kind": "mlp", "widths": [256, 128]},
    "head": {"dimension": 64},
    "optimiser": {"kind": "sgd", "learning_rate": 0.05, "warmup_epochs": 1},
    "validation": {"every": 1000},
    "device": "cpu",
}
EPOCHS = 30


def signals(folder: Path) -> None:
    """The data, as the package generates them by its own seed."""
    from mnist1d.data import get_dataset_args, make_dataset

    made = make_dataset(get_dataset_args())
    x = np.concatenate([made["x"], made["x_test"]]).astype(np.float32)
    kind = np.concatenate([made["y"], made["y_test"]])
    label = np.array(["a", "a", "a", "a", "b", "b", "b", "c", "c", "c"])[kind]
    np.savez(folder / "signals.npz", x=x, kind=kind.astype(str), label=label)


def folder_of(folder: Path, key: tuple[float, float, int], seed: int) -> Path:
    """Where a run is."""
    return folder / f"{key[0]:g}-{key[1]:g}-{key[2]}-{seed}"


def run(folder: Path, key: tuple[float, float, int], seed: int) -> NetworkRun:
    """A trained run of a setting, by as many steps as the start."""
    output = folder_of(folder, key, seed)
    if not (output / "finished").exists():
        shutil.rmtree(output, ignore_errors=True)
        block = CONFIG | {"seed": seed, "epochs": EPOCHS * key[2] // 64 or 1}
        block |= {"loss": {"alpha": key[0], "temperature": key[1]}}
        block |= {"batch": {"sampler": "balanced", "per_class": key[2]}}
        result = train(build_problem(parse_config(block), base=folder), output, scores=scores)
        if result.interrupted:
            raise SystemExit(130)
        (output / "finished").touch()
    return read_network_run(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("-o", "--output", type=Path, default=STUDY / "networks-fourth.json")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "signals.npz").exists():
        signals(options.folder)
    began = time.process_time()
    runs: dict[tuple[float, float, int], list[NetworkRun]] = {}
    jobs = [(START, 2), *((key, seed) for seed in (0, 1) for key in SETTINGS)]
    for key, seed in sorted(jobs, key=lambda job: (job[0] != START, job[1])):
        done = (folder_of(options.folder, key, seed) / "finished").exists()
        if done or time.process_time() - began < 60 * options.minutes:
            runs.setdefault(key, []).append(run(options.folder, key, seed))
            print(key, seed, f"{runs[key][-1].within_class_variance:.3f}", flush=True)
    first = calibrate(runs[START])
    others = [key for key in runs if key != START]
    asked = following(first, [runs[key][0].setting for key in others])
    further = next(
        key for key in others
        if (asked.alpha, asked.temperature, asked.batch_size) == key
    )  # fmt: skip
    both = calibrate([*runs[START], *runs[further]])
    found = judged(both, runs, [START, further]) | {"further": further}
    found["constants"] = [constant.to_dict() for constant in both.constants]
    begins = forecast(both, runs[START][0].setting).alpha_where_spread_begins
    found["spread_begins"] = None if begins is None else begins.to_dict()
    rows = [run for own in runs.values() for run in own]
    found["runs"] = [row.to_dict() | {"source": Path(row.source).name} for row in rows]
    write(options.output, found)
    print(further, json.dumps(found["summary"], indent=1))


if __name__ == "__main__":
    main()
