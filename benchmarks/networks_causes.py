"""Which cause holds the threshold of trained networks up: one thing changed at a time.

    python benchmarks/networks_causes.py FOLDER [--data digits garments] [--only start epochs-4 ...]
        [--seeds 3] [--minutes 60] [--table]

Digits labelled even or odd (64 of a class in a batch, AdamW, weak augmentation) and garments of
four kinds at half their size (14 x 14; 2048 training rows in shuffled batches of 256, SGD, medium
augmentation), each for 30 epochs at tau .1 and four alphas. Changed is one of: the epochs, the
learning rate, weight decay, the width of the encoder, the dimension of the embedding, the
augmentation, labels of training rows (wrong at 5 and 20 %), batch norm. Validation rows keep their
true labels. W and B are of the projector, on validation rows and, without augmentation and by the
labels that they were trained with, on training rows. Finished runs are kept (those of digits are
shared with benchmarks/networks_thresholds.py). Prints where the spread begins; --table trains
nothing, and writes docs/study/networks-causes.json, where rows of other runs stay.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from networks import STUDY, write
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from uncollapse.metrics import scores
from uncollapse.records import read_network_run
from uncollapse.training import (
    build_problem,
    embed_rows,
    joined,
    load_trained,
    parse_config,
    train,
)

ALPHAS = (0.0079, 0.1, 0.2, 0.5)
TEMPERATURE = 0.1
BASE: dict[str, Any] = {
    "data": {
        "source": "arrays",
        "path": "digits.npz",
        "inputs": "image",
        "kind": "image",
        "label": "label",
        "split": {"column": "split"},
    },
    "views": {"count": 2, "augmentation": "weak"},
    "batch": {"sampler": "balanced", "per_class": 64},
    "encoder": {"kind": "convnet", "widths": [32, 64]},
    "head": {"dimension": 64},
    "optimiser": {"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.05, "warmup_epochs": 1},
    "epochs": 30,
    "validation": {"every": 1000},
    "device": "cpu",
}
GARMENTS: dict[str, Any] = BASE | {
    "data": BASE["data"] | {"path": "garments.npz"},
    "views": {"count": 2, "augmentation": "medium"},
    "batch": {"sampler": "shuffled", "size": 256},
    "encoder": {"kind": "convnet", "widths": [32, 64, 128]},
    "head": {"dimension": 128},
    "optimiser": {
        "kind": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "warmup_epochs": 1,
    },
}
BASES = {"digits": BASE, "garments": GARMENTS}
Changes = dict[str, dict[str, Any] | int]


def scaled(part: str, name: str, factor: float) -> Callable[[dict[str, Any]], Changes]:
    """A number of the configuration, or each of several, times a factor."""

    def changes(block: dict[str, Any]) -> Changes:
        value = block[part][name]
        many = [int(one * factor) for one in value] if isinstance(value, list) else value * factor
        return {part: {name: many}}

    return changes


CAUSES: dict[str, Changes | Callable[[dict[str, Any]], Changes]] = {
    "start": {},
    "augmentation-none": {"views": {"augmentation": "none"}},
    "augmentation-strong": {"views": {"augmentation": "strong"}},
    "epochs-4": {"epochs": 120},
    "noise-20": {"data": {"label": "label_20"}},
    "rate-4": scaled("optimiser", "learning_rate", 4),
    "rate-quarter": scaled("optimiser", "learning_rate", 0.25),
    "dimension-8": {"head": {"dimension": 8}},
    "no-norm": {"encoder": {"norm": "none"}, "head": {"norm": "none"}},
    "no-decay": {"optimiser": {"weight_decay": 0.0}},
    "decay-10": scaled("optimiser", "weight_decay", 10),
    "width-quarter": scaled("encoder", "widths", 0.25),
    "noise-5": {"data": {"label": "label_5"}},
    "width-2": scaled("encoder", "widths", 2),
    "epochs-16": {"epochs": 480},
}
Numbers = NDArray[np.float64]
Run = tuple[str, str, float, int]  # data, cause, alpha, seed


def wrong_labels(labels: NDArray[Any], split: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Labels, and with training labels wrong at each rate: the next class in their order."""
    wrong = np.random.default_rng(0).random(len(split))
    names, numbers = np.unique(labels, return_inverse=True)
    columns = {"label": labels}
    for percent in (5, 20):
        flipped = (split == "train") & (wrong < percent / 100)
        columns[f"label_{percent}"] = names[np.where(flipped, numbers + 1, numbers) % len(names)]
    return columns


def digits(path: Path) -> None:
    """Images, split and labels."""
    found: Any = load_digits()
    rng = np.random.default_rng(0)
    split = np.where(rng.random(len(found.target)) < 0.75, "train", "validation")
    wrong = rng.random(len(split))
    odd = found.target % 2
    names = np.array(["even", "odd"])
    columns = {"label": names[odd]}
    for percent in (5, 20):
        flipped = (split == "train") & (wrong < percent / 100)
        columns[f"label_{percent}"] = names[np.where(flipped, 1 - odd, odd)]
    image = (found.images * (255 / 16)).astype(np.uint8)
    np.savez(path, image=image, split=split, **columns)


def garments(path: Path, folder: Path = Path("/usr/share/datasets/fashion-mnist")) -> None:
    """Images at half their size, split and labels of 2560 of the training images."""

    def read(name: str, offset: int) -> NDArray[np.uint8]:
        found = next(iter(sorted(folder.glob(f"{name}*"))))
        raw = found.read_bytes()
        raw = gzip.decompress(raw) if found.suffix == ".gz" else raw
        return np.frombuffer(raw, np.uint8, offset=offset)

    labels = read("train-labels", 8)
    chosen = np.random.default_rng(0).permutation(len(labels))[:2560]
    images = read("train-images", 16).reshape(-1, 28, 28)[chosen]
    image = images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).round().astype(np.uint8)
    kinds = np.array(["tops", "trousers", "tops", "tops", "tops", "footwear", "tops", "footwear",
                      "bags", "footwear"])  # fmt: skip
    split = np.array(["train"] * 2048 + ["validation"] * 512)
    np.savez(path, image=image, split=split, **wrong_labels(kinds[labels[chosen]], split))


MAKE = {"digits": digits, "garments": garments}


def block_of(
    cause: str, alpha: float, seed: int, *, temperature: float = TEMPERATURE, data: str = "digits"
) -> dict[str, Any]:
    """The configuration of a run."""
    block = json.loads(json.dumps(BASES[data])) | {"seed": seed}
    changes = CAUSES[cause]
    for part, change in (changes(block) if callable(changes) else changes).items():
        block[part] = change if isinstance(change, int) else block[part] | change
    block["loss"] = {"alpha": alpha, "temperature": temperature}
    return block


def folder_of(folder: Path, run: Run) -> Path:
    """Where a run is; those of digits by the names of benchmarks/networks_thresholds.py."""
    data, cause, alpha, seed = run
    name = f"{cause}-{alpha:g}-{TEMPERATURE:g}-64-{seed}"
    return folder / (name if data == "digits" else f"{data}-{cause}-{alpha:g}-{seed}")


def measured(folder: Path, run: Run, *, trained: bool) -> dict[str, float] | None:
    """W and B of a run on validation and training rows; None if it is not there."""
    data, cause, alpha, seed = run
    output = folder_of(folder, run)
    if not (output / "finished").exists():
        if trained:
            return None
        shutil.rmtree(output, ignore_errors=True)
    config = parse_config(block_of(cause, alpha, seed, data=data))
    kept = output / "training-rows.json"
    if not kept.exists():
        problem = build_problem(config, base=folder)
        if not (output / "finished").exists():
            if train(problem, output, scores=scores).interrupted:
                raise SystemExit(130)
            (output / "finished").touch()
        load_trained(output, problem, "last")
        rows = problem.rows
        found = joined(embed_rows(problem.model, problem.data, rows, problem.augmenter))
        layers = {"projector": found["projector"][:, 0]}
        own = scores(layers, problem.data.labels[rows], most_rows=500)
        within, share = (own[f"projector/{name}"] for name in ("instance_variance", "share"))
        kept.write_text(json.dumps({"within": within, "between": within / share - within}))
    end = read_network_run(output)
    training = json.loads(kept.read_text())
    return {
        "within": end.within_class_variance,
        "between": end.between_class_variance,
        "training_within": training["within"],
        "training_between": training["between"],
    }


def begins(curve: dict[float, list[float]]) -> float | None:
    """Where the mean W is twice that at the smallest alpha; None where it is not in the grid."""
    alphas = np.log(sorted(curve))
    rise = np.log([fmean(curve[alpha]) for alpha in sorted(curve)])
    rise = np.maximum.accumulate(rise) - rise[0] - np.log(2)
    if rise[-1] < 0:
        return None
    at = int(np.argmax(rise >= 0))
    share = -rise[at - 1] / (rise[at] - rise[at - 1])
    return float(np.exp(alphas[at - 1] + share * (alphas[at] - alphas[at - 1])))


def summary(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """By data and cause: mean W at each alpha, its least and most seed, and where it begins."""
    for data, cause in dict.fromkeys((row["data"], row["cause"]) for row in rows):
        own = [row for row in rows if (row["data"], row["cause"]) == (data, cause)]
        line: dict[str, Any] = {"data": data, "cause": cause}
        for part in ("within", "training_within", "between"):
            curve: dict[float, list[float]] = {}
            for row in own:
                if part in row:
                    curve.setdefault(row["alpha"], []).append(row[part])
            line[part] = {
                f"{alpha:g}": [fmean(values), min(values), max(values), len(values)]
                for alpha, values in sorted(curve.items())
            }
            if part != "between" and ALPHAS[0] in curve and len(curve) > 1:
                line[f"{part}_begins"] = begins(curve)
        seeds = sorted({row["seed"] for row in own})
        curves = [{r["alpha"]: [r["within"]] for r in own if r["seed"] == s} for s in seeds]
        line["begins_by_seed"] = [begins(c) for c in curves if len(c) == len(ALPHAS)]
        yield line


def with_kept(path: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the file whose runs are not here any more, and these."""
    names = ("data", "cause", "alpha", "seed")
    new = {tuple(row[name] for name in names) for row in rows}
    old = json.loads(path.read_text("utf-8"))["runs"] if path.exists() else []
    old = [{"data": "digits"} | row for row in old]
    return [*(row for row in old if tuple(row[name] for name in names) not in new), *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", nargs="+", choices=list(BASES), default=list(BASES))
    parser.add_argument("--only", nargs="+", choices=list(CAUSES), default=list(CAUSES))
    parser.add_argument("--alphas", nargs="+", type=float, default=list(ALPHAS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for data in options.data:
        if not (options.folder / f"{data}.npz").exists():
            MAKE[data](options.folder / f"{data}.npz")
    began, rows = time.monotonic(), list[dict[str, Any]]()
    jobs: list[Run] = [
        (data, cause, alpha, seed)
        for data in options.data
        for seed in range(options.seeds)
        for cause in options.only
        for alpha in options.alphas
    ]
    for job in jobs:
        late = options.table or time.monotonic() - began > 60 * options.minutes
        if (found := measured(options.folder, job, trained=late)) is not None:
            rows.append(dict(zip(("data", "cause", "alpha", "seed"), job, strict=True)) | found)
            print(
                f"{time.monotonic() - began:6.0f} s", *job, f"W {found['within']:.3f}", flush=True
            )
    if options.table:
        output = STUDY / "networks-causes.json"
        rows = with_kept(output, rows)
        write(output, {"summary": list(summary(rows)), "runs": rows})
    for line in summary(rows):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
