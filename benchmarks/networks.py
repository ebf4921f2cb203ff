"""The model of trained networks, judged on the study's settings that it was not fitted to.

    python benchmarks/networks.py [--models full time ...] [--every-further] [-o OUTPUT]

Reads docs/study/{digits,solar-cells,fashion-mnist}.json (30 settings x 3 seeds each, by
benchmarks/theory_in_practice.py) and docs/study/untrained.json. For each data set and model:
calibrate on the start (alpha .0079, temperature .1, 64 of a class), add the one setting that the
calibration itself proposes, and predict the others. Models are the whole one with constants held
where a lead says that they do not matter. With --every-further, the whole model once for every
further setting. Writes OUTPUT (docs/study/networks.json) and prints the tables of
docs/networks.md. Nothing is trained.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from uncollapse.records import BalancedBatch, ConstantName, RandomBatch
from uncollapse.theory import (
    Calibration,
    NetworkRun,
    Setting,
    calibrate,
    forecast,
)

STUDY = Path(__file__).parent.parent / "docs" / "study"
DATA = ("digits", "solar-cells", "fashion-mnist")
START = (0.0079, 0.1, 64)
NEVER, ALL, LONG = 1e-5, 1 - 1e-5, 100.0
MANY = 1e4
MODELS: dict[str, dict[ConstantName, float]] = {
    "full": {},
    "time": {"dimension": MANY, "agreement": ALL, "unlearned": NEVER},
    "time, labels": {"dimension": MANY},
    "dimension, floor": {"progress": LONG, "unlearned": NEVER},
    "dimension, labels": {"progress": LONG},
    "time, dimension": {"agreement": ALL, "unlearned": NEVER},
    "time, dimension, floor": {"unlearned": NEVER},
}


def read(name: str) -> dict[tuple[float, float, int], list[NetworkRun]]:
    """The study's runs on test rows, by (alpha, temperature, instances of a class)."""
    study = json.loads((STUDY / f"{name}.json").read_text("utf-8"))
    untrained = json.loads((STUDY / "untrained.json").read_text("utf-8"))[name]
    before = {key: fmean(row[key] for row in untrained) for key in ("within", "between")}
    start = Setting.from_dict(study["conditions"]["setting"])
    runs: dict[tuple[float, float, int], list[NetworkRun]] = {}
    for row in study["runs"]:
        key = (row["alpha"], row["temperature"], row["per_class"])
        batch: Any = BalancedBatch(per_class=key[2])
        if isinstance(start.batch, RandomBatch):
            batch = RandomBatch(size=4 * key[2])
        measured = row["test"]["projector"]
        within = measured["instance_variance"]
        run = NetworkRun(
            setting=start.with_(alpha=key[0], temperature=key[1], batch=batch),
            steps=1,  # every setting was trained for as many steps
            within_class_variance=within,
            between_class_variance=within / measured["share"] - within,
            within_before=before["within"],
            between_before=before["between"],
            source=f"{name}, seed {row['seed']}",
        )
        runs.setdefault(key, []).append(run)
    return runs


def proposed(calibration: Calibration, runs: dict[Any, list[NetworkRun]]) -> Any:
    """The key of the further setting that a calibration asks for, among the study's."""
    found = calibration.following
    assert found is not None
    size = found.batch_size or 0
    sizes = {runs[key][0].setting.batch: key[2] for key in runs}
    per_class = next(n for b, n in sizes.items() if size in (getattr(b, "size", 0),
                     getattr(b, "per_class", 0)))  # fmt: skip
    return found.alpha, found.temperature, per_class


def judged(
    calibration: Calibration, runs: dict[Any, list[NetworkRun]], used: list[Any]
) -> dict[str, Any]:
    """Errors over the settings that were not used, means over seeds."""
    rows = []
    for key, own in runs.items():
        if key in used:
            continue
        found = forecast(calibration, own[0].setting, thresholds=False)
        rows.append(
            {
                "alpha": key[0],
                "temperature": key[1],
                "per_class": key[2],
                "within": fmean(run.within_class_variance for run in own),
                "between": fmean(run.between_class_variance for run in own),
                "expected_within": found.within_class_variance.to_dict(),
                "expected_between": found.between_class_variance.to_dict(),
            }
        )
    summary: dict[str, Any] = {}
    for part in ("within", "between"):
        measured = np.array([row[part] for row in rows])
        estimate, low, high = (
            np.array([row[f"expected_{part}"][end] for row in rows])
            for end in ("estimate", "low", "high")
        )
        summary[part] = {
            "error": float(np.abs(estimate - measured).mean()),
            "rank": float(spearmanr(estimate, measured).statistic),
            "held": float(((low <= measured) & (measured <= high)).mean()),
            "width": float((high - low).mean()),
        }
    return {"summary": summary, "settings": rows}


def theory_alone(name: str) -> dict[str, float]:
    """The same of the static optimum, over all settings but the start."""
    study = json.loads((STUDY / f"{name}.json").read_text("utf-8"))
    rows: dict[Any, list[Any]] = {}
    for row in study["runs"]:
        rows.setdefault((row["alpha"], row["temperature"], row["per_class"]), []).append(row)
    rows.pop(START)
    measured = [
        fmean(r["test"]["projector"]["instance_variance"] for r in o) for o in rows.values()
    ]
    optimum = [own[0]["predicted"]["instance_variance"] for own in rows.values()]
    error = float(np.abs(np.array(measured) - optimum).mean())
    return {"error": error, "rank": float(spearmanr(measured, optimum).statistic)}


def study_of(name: str, model: str) -> dict[str, Any]:
    """One data set under one model, by the setting that it proposes."""
    runs, held = read(name), MODELS[model]
    first = calibrate(runs[START], held=held)
    further = proposed(first, runs)
    both = calibrate([*runs[START], *runs[further]], held=held)
    constants = [constant.to_dict() for constant in both.constants]
    found = judged(both, runs, [START, further])
    found |= {"data": name, "model": model, "further": further, "constants": constants}
    if model != "full":
        del found["settings"]
    else:
        found["thresholds"] = thresholds(name, both, runs)
    return found


def thresholds(name: str, calibration: Calibration, runs: Any) -> list[dict[str, Any]]:
    """Where the spread begins: measured (between grid points), by theory and by the model."""
    study = json.loads((STUDY / f"{name}.json").read_text("utf-8"))
    rows = []
    for row in study["summary"]["thresholds"]:
        setting = runs[(0.5, row["temperature"], row["per_class"])][0].setting
        begins = forecast(calibration, setting).alpha_where_spread_begins
        rows.append({**row, "network": None if begins is None else begins.to_dict()})
    return rows


def every_further(name: str) -> list[dict[str, Any]]:
    """The whole model with every other setting as the further one."""
    runs, rows = read(name), []
    for key in runs:
        if key != START:
            both = calibrate([*runs[START], *runs[key]], draws=60)
            summary = judged(both, runs, [START, key])["summary"]
            rows.append({"data": name, "further": key, **summary})
    return rows


def show(found: dict[str, Any]) -> None:
    within, between = (found["summary"][part] for part in ("within", "between"))
    print(
        f"{found['data']:14s} {found['model']:24s} further {found['further']}: within error "
        f"{within['error']:.3f} rank {within['rank']:.3f} held {within['held']:.2f} (width "
        f"{within['width']:.2f}); between error {between['error']:.3f} held {between['held']:.2f}",
        flush=True,
    )


def rounded(value: Any) -> Any:
    """Numbers to four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list | tuple) else value


def write(path: Path, written: dict[str, Any]) -> None:
    """Everything so far."""
    path.write_text(json.dumps(rounded(written), indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--every-further", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=STUDY / "networks.json")
    options = parser.parse_args()
    written: dict[str, Any] = {"theory_alone": {name: theory_alone(name) for name in DATA}}
    if options.output.exists():
        written = json.loads(options.output.read_text("utf-8")) | written
    for model in options.models:
        for name in DATA:
            found = study_of(name, model)
            show(found)
            written.setdefault("models", {}).setdefault(model, {})[name] = found
            write(options.output, written)
    if options.every_further:
        for name in DATA:
            rows = every_further(name)
            written.setdefault("every_further", {})[name] = rows
            errors = np.array([(r["within"]["error"], r["within"]["rank"]) for r in rows])
            print(name, "every further setting: median error, rank", np.median(errors, axis=0))
            write(options.output, written)


if __name__ == "__main__":
    main()
