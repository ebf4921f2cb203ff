"""Why the model's order of settings is not better: noise of the seeds, the settings, or the fit.

    python benchmarks/networks_rank.py [--fits] [--prior] [--embeddings FOLDER]

Reads the study and docs/study/networks.json as benchmarks/networks.py left it, and trains nothing.
For each data set, over the settings that the model was not fitted to: the rank correlation of
predicted and measured W, that of each seed with the mean of the others, what an exact model would
have with the noise of three seeds, the interval over resampled settings, and how much of the
missing order each group of settings has. --fits: the rank after calibrating on every setting.
--prior: the page's table with a prior of the dimension as wide as that of the other constants.
--embeddings: effective dimensions of residuals, (tr C)^2 / tr C^2 with their covariance C inside a
class, of test rows at the projector, from the files of benchmarks/retention_study.py. Writes
docs/study/networks-rank.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from networks import DATA, START, STUDY, judged, proposed, read, write
from scipy.stats import spearmanr

from uncollapse.theory import _posterior, calibrate

RESAMPLED = 2000
WIDE = 1.5
SPREAD = ("0.0079-0.1", "0.5-0.1", "0.9-0.1")


def rank(first: Any, second: Any) -> float:
    return float(spearmanr(first, second).statistic)


def order(name: str) -> dict[str, Any]:
    """Where the order of a data set's settings is missed, and what noise could excuse."""
    full = json.loads((STUDY / "networks.json").read_text("utf-8"))["models"]["full"][name]
    rows, runs = full["settings"], read(name)
    keys = [(row["alpha"], row["temperature"], row["per_class"]) for row in rows]
    seeds = np.array([[run.within_class_variance for run in runs[key]] for key in keys])
    mean = seeds.mean(1)
    estimate = np.array([row["expected_within"]["estimate"] for row in rows])
    rng = np.random.default_rng(0)
    noise = np.log(seeds).std(1, ddof=1) / np.sqrt(seeds.shape[1])
    exact = [rank(mean, mean * np.exp(noise * rng.standard_normal(len(mean)))) for _ in range(500)]
    chosen = rng.integers(len(mean), size=(RESAMPLED, len(mean)))
    resampled = [rank(estimate[one], mean[one]) for one in chosen]
    missed = (estimate.argsort().argsort() - mean.argsort().argsort()) ** 2
    groups: dict[str, int] = {}
    for key, off in zip(keys, missed.tolist(), strict=True):
        at = "up to .05" if key[0] <= 0.05 else f"{key[0]:g}"
        place = f"temperature {key[1]:g}, alpha {at}"
        groups[place] = groups.get(place, 0) + off
    others = [rank(seeds[:, k], np.delete(seeds, k, axis=1).mean(1)) for k in range(seeds.shape[1])]
    return {
        "rank": rank(estimate, mean),
        "seed_against_the_others": others,
        "exact_model": np.quantile(exact, [0.05, 0.5, 0.95]).tolist(),
        "resampled_settings": np.quantile(resampled, [0.05, 0.5, 0.95]).tolist(),
        "squared_differences_of_rank": dict(sorted(groups.items(), key=lambda one: -one[1])),
    }


def fitted(name: str) -> dict[str, Any]:
    """The rank where the constants are fitted to every setting."""
    runs = read(name)
    every = calibrate([run for own in runs.values() for run in own])
    found = judged(every, runs, [])["summary"]["within"]
    return {"rank": found["rank"], "error": found["error"], "constants": constants(every)}


def constants(calibration: Any) -> dict[str, list[float]]:
    return {c.name: [c.estimate, c.low, c.high] for c in calibration.constants}


def with_wide_prior(name: str) -> dict[str, Any]:
    """The model's error and rank where the prior leaves the dimension open."""
    centre, width = _posterior.USUAL
    _posterior.USUAL = centre, np.where(np.arange(len(width)) == 2, WIDE, width)
    try:
        runs = read(name)
        further = proposed(calibrate(runs[START]), runs)
        both = calibrate([*runs[START], *runs[further]])
        found = judged(both, runs, [START, further])["summary"]["within"]
    finally:
        _posterior.USUAL = centre, width
    return {"further": further, **found, "constants": constants(both)}


def dimensions(folder: Path) -> dict[str, dict[str, float]]:
    """Effective dimensions of the residuals of a class, means over classes."""
    found: dict[str, dict[str, float]] = {}
    for base in sorted(folder.glob("*/base.npz")):
        labels = np.load(base)["test/label"]
        for setting in SPREAD:
            path = base.with_name(f"supcl-{setting}-0.npz")
            if not path.exists():
                continue
            z = np.load(path)["test/projector"].astype(float)
            z /= np.linalg.norm(z, axis=1, keepdims=True)
            each = []
            for one in np.unique(labels):
                own = z[labels == one] - z[labels == one].mean(0)
                spectrum = np.linalg.eigvalsh(own.T @ own)
                each.append(spectrum.sum() ** 2 / (spectrum**2).sum())
            found.setdefault(base.parent.name, {})[setting] = float(np.mean(each))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", action="store_true")
    parser.add_argument("--prior", action="store_true")
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--embeddings", type=Path)
    options = parser.parse_args()
    output = STUDY / "networks-rank.json"
    written = json.loads(output.read_text("utf-8")) if output.exists() else {}
    written["order"] = {name: order(name) for name in DATA}
    if options.embeddings:
        written["dimensions"] = dimensions(options.embeddings)
    write(output, written)
    for asked, key, of in (
        (options.fits, "fitted", fitted),
        (options.prior, "wide_prior", with_wide_prior),
    ):
        for name in options.data if asked else ():
            written.setdefault(key, {})[name] = of(name)
            write(output, written)
    print(json.dumps(json.loads(output.read_text("utf-8")), indent=1))


if __name__ == "__main__":
    main()
