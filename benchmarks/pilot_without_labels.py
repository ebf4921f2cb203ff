"""Can retention choose a setting where no finer labels are? On the runs of retention_study.py.

    OMP_NUM_THREADS=1 python benchmarks/retention_study.py -o runs/study
    OMP_NUM_THREADS=1 python benchmarks/pilot_without_labels.py runs/study

Half of the held-out rows chooses (drawn once, as a pilot's validation rows), the other half
reports. Candidates are the settings of each data set and, at the projector, the centred and the
whitened embedding of SupCon's setting (alpha .0079, temperature .1), fitted on training rows. Each
objective takes the candidate with the largest mean over seeds: the finer label (ten-shot, balanced,
inside the classes), retention against the base, retention against the run's own backbone, the
variance inside the classes (W). As in a pilot, a candidate that loses more than a point of accuracy
on the training label (linear probe, rows that choose) against SupCon's setting is out, and
retention cannot tell where the own backbone prefers another candidate than the base does, or where
the start keeps most of the base.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from uncollapse import Embedded, ProbeOptions, fit_linear_map, measure, probe, retention

START = "alpha 0.0079, tau 0.1"
NAME = re.compile(r"supcl-([\d.]+)-([\d.]+)-(\d+)")
PENALTIES = (1e-3, 1e-2)
MARGIN = 0.01
MOST_TRAINED = 1500  # Training rows of a probe: enough for ten shots of every kind.
OBJECTIVES = ("finer label", "retention: base", "retention: backbone")
Arrays = Mapping[str, np.ndarray]
Candidates = dict[str, list[dict[str, Any]]]  # what each seed's run reached, by candidate


def choosing(rows: int) -> np.ndarray:
    """Whether a held-out row chooses; the others report."""
    chosen = np.zeros(rows, dtype=bool)
    chosen[np.random.default_rng(0).permutation(rows)[: rows // 2]] = True
    return chosen


def readings(
    base: Arrays, train: np.ndarray, tested: np.ndarray, rows: np.ndarray, *targets: str
) -> dict[str, float]:
    """Accuracy of the label by a linear probe; balanced accuracy of the finer one, ten-shot."""
    drawn = np.random.default_rng(1).permutation(len(train))[:MOST_TRAINED]
    train, count = train[drawn], len(drawn)

    def both(name: str) -> np.ndarray:
        return np.concatenate([base[f"train/{name}"][drawn], base[f"test/{name}"][rows]])

    embedded = Embedded(
        {"z": np.concatenate([train, tested[rows]])},
        {"label": both("label"), "fine": both("fine")},
        np.array(["train"] * count + ["test"] * int(rows.sum())),
        label="label",
    )
    read = {}
    if "fine" in targets:
        only = ProbeOptions(probes=("within-class few-shot",))
        found = probe(embedded, targets=["fine"], settings=only).target("z", "fine").readings
        last = max(found, key=lambda reading: reading.details.shots or 0)
        read["finer label"] = last.score.balanced_accuracy.estimate
    if "label" in targets:
        options = ProbeOptions(l2=PENALTIES, refit=False, probes=("linear",))
        linear = probe(embedded, targets=["label"], settings=options).target("z", "label")
        read["task"] = linear.reading("linear").score.accuracy.estimate
    return read


def measured(
    base: Arrays, train: np.ndarray, tested: np.ndarray, own: np.ndarray
) -> dict[str, Any]:
    """Every objective on the rows that choose, and the finer label on those that report."""
    rows = choosing(len(tested))
    labels = base["test/label"][rows]

    def kept(reference: np.ndarray) -> float | None:
        if reference is tested:
            return None
        found = retention(tested[rows], reference[rows], labels, permutations=0)
        return found.retention.estimate

    spread = measure(tested[rows], labels, permutations=0, probe=None).within_class_variance
    return {
        **readings(base, train, tested, rows, "fine", "label"),
        "retention: base": kept(base["test/base"]),
        "retention: backbone": kept(own),
        "W": spread.estimate,
        "reported": readings(base, train, tested, ~rows, "fine")["finer label"],
    }


def study(folder: Path, seeds: int) -> dict[str, Candidates]:
    """By layer and candidate, what each seed's run reached."""
    base = dict(np.load(folder / "base.npz"))
    found: dict[str, Candidates] = {"projector": {}, "backbone": {}}
    for path in sorted(folder.glob("supcl-*.npz")):
        parts = NAME.fullmatch(path.stem)
        if parts is None or int(parts[3]) >= seeds:
            continue
        run, name = dict(np.load(path)), f"alpha {parts[1]}, tau {parts[2]}"
        own = run["test/backbone"].astype(np.float32)
        for layer, candidates in found.items():
            train = run[f"train/{layer}"].astype(np.float32)
            tested = own if layer == "backbone" else run[f"test/{layer}"].astype(np.float32)
            candidates.setdefault(name, []).append(measured(base, train, tested, own))
            if (name, layer) != (START, "projector"):
                continue
            for kind in ("centred", "whitened"):
                linear = fit_linear_map(train, kind)
                free = measured(base, linear(train), linear(tested), own)
                candidates.setdefault(f"start, {kind}", []).append(free)
    for candidates in found.values():
        for name in [name for name, runs in candidates.items() if len(runs) < seeds]:
            del candidates[name]
    return found


def means(candidates: Candidates, key: str) -> dict[str, float]:
    """Of each candidate, over seeds."""
    return {name: float(np.mean([run[key] for run in runs])) for name, runs in candidates.items()}


def admissible(candidates: Candidates) -> Candidates:
    """Those that lose no more than the margin of the training label, by their means."""
    task = means(candidates, "task")
    return {name: runs for name, runs in candidates.items() if task[name] >= task[START] - MARGIN}


def unknown(candidates: Candidates, layer: str) -> bool:
    """Whether a pilot cannot tell: the start keeps most, or the own backbone prefers another."""
    references = OBJECTIVES[1:3] if layer == "projector" else OBJECTIVES[1:2]
    preferred = [means(candidates, reference) for reference in references]
    names = {max(values, key=values.__getitem__) for values in preferred}
    return len(names) > 1 or START in names


def at_temperature(candidates: Candidates, temperature: str) -> Candidates:
    """What a pilot has that keeps the temperature: its settings, and what is free at the start."""
    return {
        name: runs
        for name, runs in candidates.items()
        if name == START or "tau" not in name or name.endswith(f"tau {temperature}")
    }


def row(place: str, every: Candidates) -> str:
    """What each objective takes, and how far below the finer labels' choice that is."""
    candidates = admissible(every)
    reported = means(candidates, "reported")

    def taken(key: str) -> str:
        values = means(candidates, key)
        return max(values, key=values.__getitem__)

    best, kept, spread = (taken(key) for key in ("finer label", OBJECTIVES[1], "W"))
    below, wide = (100 * (reported[best] - reported[name]) for name in (kept, spread))
    says = "cannot tell" if unknown(candidates, place.split(", ")[1]) else "takes it"
    return (
        f"| {place} | {len(candidates)} of {len(every)} | {best}: {100 * reported[best]:.1f} | "
        f"{kept}: {100 * reported[kept]:.1f} | {below:.1f} | {says} | {wide:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="Folder of retention_study.py.")
    parser.add_argument("--data", nargs="+", default=["digits", "cells", "text", "garments"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, help="JSON file of every number.")
    options = parser.parse_args()
    everything = {}
    print(
        "| data, layer, temperature | admissible | finer labels take | retention takes | below | "
        "pilot | W: below |\n|---|---|---|---|---|---|---|"
    )
    for data in options.data:
        everything[data] = study(options.study / data, options.seeds)
        for layer, candidates in everything[data].items():
            found = {name.split("tau ")[1] for name in candidates if "tau" in name}
            for temperature in sorted(found):
                part = at_temperature(candidates, temperature)
                print(row(f"{data}, {layer}, {temperature}", part))
            if len(found) > 1:
                print(row(f"{data}, {layer}, all", candidates))
    if options.output is not None:
        options.output.write_text(json.dumps(everything, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
