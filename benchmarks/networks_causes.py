"""Which cause holds the threshold of trained networks up: one thing changed at a time, on digits.

    python benchmarks/networks_causes.py FOLDER [--only start epochs-4 ...] [--seeds 1]

Digits labelled even or odd, tau .1, 64 of a class, at four alphas; epochs times 4 and 16, labels of
training rows wrong at 5 and 20 %, views without and with strong augmentation, a wider and a
narrower embedding, no weight decay, no batch norm. Validation rows keep their true labels. Finished
runs are kept. Writes docs/study/networks-causes.json: W and B at the projector, validation rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from networks import STUDY, write
from sklearn.datasets import load_digits

from uncollapse.metrics import scores
from uncollapse.records import read_network_run
from uncollapse.training import build_problem, parse_config, train

ALPHAS = (0.0079, 0.1, 0.2, 0.5)
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
CAUSES: dict[str, dict[str, dict[str, Any] | int]] = {
    "start": {},
    "epochs-4": {"epochs": 120},
    "noise-20": {"data": {"label": "label_20"}},
    "augmentation-none": {"views": {"augmentation": "none"}},
    "augmentation-strong": {"views": {"augmentation": "strong"}},
    "noise-5": {"data": {"label": "label_5"}},
    "dimension-8": {"head": {"dimension": 8}},
    "no-decay": {"optimiser": {"weight_decay": 0.0}},
    "no-norm": {"encoder": {"norm": "none"}, "head": {"norm": "none"}},
    "width-4": {"encoder": {"widths": [128, 256]}},
    "epochs-16": {"epochs": 480},
}


def digits(path: Path) -> None:
    """Images, split and labels, with training labels wrong at each rate."""
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


def run(folder: Path, cause: str, alpha: float, seed: int) -> dict[str, float]:
    """W and B of a run, on validation rows."""
    output = folder / f"{cause}-{alpha:g}-{seed}"
    if not (output / "finished").exists():
        shutil.rmtree(output, ignore_errors=True)
        block = json.loads(json.dumps(BASE)) | {"seed": seed}
        for part, changes in CAUSES[cause].items():
            block[part] = changes if isinstance(changes, int) else block[part] | changes
        block["loss"] = {"alpha": alpha, "temperature": 0.1}
        result = train(build_problem(parse_config(block), base=folder), output, scores=scores)
        if result.interrupted:
            raise SystemExit(130)
        (output / "finished").touch()
    found = read_network_run(output)
    return {"within": found.within_class_variance, "between": found.between_class_variance}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(CAUSES), default=list(CAUSES))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "digits.npz").exists():
        digits(options.folder / "digits.npz")
    rows: list[dict[str, Any]] = []
    for cause in options.only:
        for alpha in ALPHAS:
            for seed in range(options.seeds):
                row = run(options.folder, cause, alpha, seed)
                rows.append({"cause": cause, "alpha": alpha, "seed": seed, **row})
                print(f"{cause:20s} {alpha:6g} {seed} W {row['within']:.3f}", flush=True)
                write(STUDY / "networks-causes.json", {"runs": rows})


if __name__ == "__main__":
    main()
