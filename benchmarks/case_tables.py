"""The tables of the worked cases: what every embedding at hand keeps, trained or free.

    OMP_NUM_THREADS=1 python benchmarks/case_tables.py digits garments -o runs/cases
    OMP_NUM_THREADS=1 python benchmarks/case_tables.py cells --features solar-features.npz \
        --plain solar-plain.npz -o runs/cases
    OMP_NUM_THREADS=1 python benchmarks/case_tables.py text --features wordnet-features.npz \
        -o runs/cases

Rows: raw inputs, an untrained encoder, the pretrained one where there is one, the same network
trained with cross-entropy, the start (SupCon) at both layers and, at its projector, centred,
whitened and beside the base, and the other values of alpha. Every run has the length of its
configuration (the garments' half of it, see SHORT), and is judged by its last checkpoint, with
three seeds of weights, batches and views; the split is fixed. Adds to OUTPUT/case-tables.json, run
by run, and prints the tables; a finished run is not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case_scores import SEEDS, Array, Rows, free_changes, scored, shortened, table, words
from torch import nn
from wordnet_features import untrained as untrained_sentences

from uncollapse.data import Loader
from uncollapse.storage import write_json
from uncollapse.training import (
    Problem,
    build_problem,
    embed_rows,
    joined,
    load_config,
    load_trained,
    train,
)

ROOT = Path(__file__).parent.parent
Layers = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """A case: its configuration, what its inputs are called, and the settings that are shown."""

    config: str
    raw: str  # What the inputs are, before any network.
    alphas: tuple[float, ...]  # SupCon's first.
    more: tuple[float, ...] = ()  # Further ones, for the trade.
    base: str = ""  # The pretrained encoder, where there is one.
    keep: float = 0  # Of the inputs' structure, at SupCon's alpha; 0: none is shown.
    changes: tuple[str, ...] = ()


# A third of the time: half of the epochs, in bfloat16, on half of the test rows.
SHORT = ("precision=bf16", "epochs=5", "data.limit.test=5000")
CASES = {
    "digits": Case("src/uncollapse/cli/demos/digits.yaml", "pixels", (0.00787, 0.54), (0.2, 0.9)),
    "cells": Case(
        "configs/solar-cells.yaml",
        "pixels",
        (0.0079, 0.21),
        (0.5,),
        base="frozen ImageNet features",
    ),
    "garments": Case("configs/fashion-mnist.yaml", "pixels", (0.0079, 0.6), changes=SHORT),
    "garments-headless": Case(
        "configs/fashion-mnist.yaml",
        "pixels",
        (0.0079, 0.6),
        changes=(*SHORT, "head.layers=0"),
    ),
    "text": Case(
        "configs/wordnet.yaml",
        "words",
        (0.0079, 0.2, 0.5),
        (0.05, 0.9),
        base="MiniLM as it comes",
        keep=1,
    ),
}


@dataclass(frozen=True)
class Bench:
    """A case's data, and what builds its networks."""

    case: Case
    changes: tuple[str, ...]
    rows: Rows
    raw: Array  # (N, D)
    stored: Array | None  # (N, d) of the pretrained encoder, not augmented
    texts: Array | None  # (N,) where rows are texts
    chosen: Array  # Row numbers in the data.
    folder: Path

    def problem(self, alpha: float, seed: int, *more: str) -> Problem:
        """What trains at a setting."""
        return _problem(self.case, [*self.changes, *more], alpha, seed)

    def layers(self, problem: Problem) -> Layers:
        """Both layers of the rows, not augmented."""
        if self.stored is None:
            batches = embed_rows(problem.model, problem.data, self.chosen, problem.augmenter)
            return {name: values[:, 0] for name, values in joined(batches).items()}
        problem.model.eval()
        with torch.no_grad():
            inputs = problem.augmenter.plain(torch.from_numpy(self.stored)[:, None])
            return {name: part.numpy() for name, part in problem.model.layers(inputs).items()}


def prepared(name: str, output: Path, features: Path | None, plain: Path | None) -> Bench:
    """Load a case."""
    case = CASES[name]
    changes = [*case.changes]
    if features is not None:
        changes.append(f"data.path={features.resolve()}")
    first = _problem(case, changes, case.alphas[0], 0)
    data = first.data
    chosen = np.concatenate([data.rows("train"), data.rows("test")])
    stored = _plain_rows(plain or features, data.ids[chosen]) if case.base else None
    texts = _texts(features, data.ids[chosen]) if name == "text" else None
    raw = _raw(name, first, chosen, texts)
    fine = data.columns[data.fine[0]][chosen]
    base = raw if stored is None else stored
    rows = Rows(data.split[chosen] == "test", data.labels[chosen], fine, base)
    return Bench(case, tuple(changes), rows, raw, stored, texts, chosen, output / name)


def untrained(bench: Bench) -> Iterator[dict[str, Any]]:
    """What needs no training and no seed."""
    case, rows = bench.case, bench.rows
    yield scored(f"raw inputs ({case.raw})", 0, rows, bench.raw)
    if bench.stored is not None:
        yield scored(case.base, 0, rows, bench.stored)
    size = int(bench.problem(case.alphas[0], 0).setting().dimension or 0)
    if rows.base.shape[1] > size:
        short = shortened(rows.base, ~rows.test, size)
        yield scored(f"{case.base or case.raw}, in {size} numbers", 0, rows, short)


def trained(bench: Bench, seed: int) -> Iterator[dict[str, Any]]:
    """Every embedding of one seed."""
    case, rows = bench.case, bench.rows
    if bench.texts is not None:
        made = untrained_sentences(bench.texts.tolist(), seed)
        yield scored("untrained MiniLM", seed, rows, made)
    other = bench.folder.parent / f"{bench.folder.name}-headless-{seed}.json"
    if other.exists():  # Without a head these are the same.
        yield from json.loads(other.read_text("utf-8"))["runs"][:2]
    else:
        problem = bench.problem(case.alphas[0], seed, "head.layers=0")
        yield scored("untrained encoder", seed, rows, bench.layers(problem)["backbone"])
        _cross_entropy(problem)
        yield scored("cross-entropy", seed, rows, bench.layers(problem)["backbone"])
    for alpha in (*case.alphas, *case.more):
        problem = bench.problem(alpha, seed)
        start = alpha == case.alphas[0]
        setting = "SupCon" if start else f"alpha {alpha:g}"
        _trained(problem, bench.folder / f"alpha-{alpha:g}-seed-{seed}")
        made = bench.layers(problem)
        output = setting
        if problem.config.head.layers:
            yield scored(f"{setting}, backbone", seed, rows, made["backbone"])
            output = f"{setting}, projector"
        yield scored(output, seed, rows, made["projector"])
        if alpha in case.alphas:
            base = case.base or case.raw
            yield from free_changes(output, made["projector"], rows, base, seed, start=start)
    if case.keep:
        kept = [f"loss.keep={case.keep:g}", "loss.reference=input"]
        problem = bench.problem(case.alphas[0], seed, *kept)
        _trained(problem, bench.folder / f"keep-{case.keep:g}-seed-{seed}")
        for layer, made_rows in bench.layers(problem).items():
            yield scored(f"SupCon, keep {case.keep:g}, {layer}", seed, rows, made_rows)


def _problem(case: Case, changes: list[str], alpha: float, seed: int) -> Problem:
    config = ROOT / case.config
    settings = [*changes, f"loss.alpha={alpha}", f"seed={seed}"]
    return build_problem(load_config(config, settings), base=config.parent)


def _trained(problem: Problem, folder: Path) -> None:
    """Train to the last checkpoint, unless that is done."""
    begun = (folder / "run.json").exists()
    if train(problem, folder, resume=begun).interrupted:
        raise SystemExit(f"stopped in {folder}; the same command resumes")
    load_trained(folder, problem, "last")


def _cross_entropy(problem: Problem) -> None:
    """Train the network without head and a linear layer on it, in the same batches of views."""
    config, classes = problem.config, len(problem.data.label_names)
    torch.manual_seed(config.seed)
    output = nn.Linear(int(problem.setting().dimension or 0), classes)
    model = nn.Sequential(problem.model, output)
    wanted, steps = config.optimiser, problem.sampler.steps
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": partial(torch.optim.SGD, momentum=wanted.momentum),
        "adamw": torch.optim.AdamW,
    }
    parts = [
        {"params": [p for p in model.parameters() if p.requires_grad and p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = kinds[wanted.kind](parts, lr=wanted.learning_rate, weight_decay=wanted.weight_decay)
    warm, total = wanted.warmup_epochs * steps, steps * config.epochs
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / max(warm, 1), (1 + math.cos(math.pi * step / total)) / 2),
    )
    loader = Loader(
        problem.data, problem.rows, problem.sampler, problem.augmenter, seed=config.seed
    )
    model.train()
    for epoch in range(config.epochs):
        for batch in loader.epoch(epoch):
            views = batch.views.flatten(0, 1)
            labels = batch.labels.repeat_interleave(batch.views.shape[1])
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
                logits = model(views)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()


def _plain_rows(path: Path | None, ids: Array) -> Array:
    """The base's embeddings of these ids, without augmentation."""
    if path is None:
        raise SystemExit("give --features (and --plain for the cells)")
    with np.load(path) as stored:
        layer = stored["backbone"]
        return _by_id(stored["id"], layer if layer.ndim == 2 else layer[:, 0], ids)


def _by_id(stored: Array, values: Array, ids: Array) -> Array:
    order = np.argsort(stored)
    return np.asarray(values[order[np.searchsorted(stored, ids, sorter=order)]])


def _texts(path: Path | None, ids: Array) -> Array:
    """The texts of these ids."""
    if path is None:
        raise SystemExit("give --features")
    with np.load(path) as stored:
        return _by_id(stored["id"], stored["gloss"], ids)


def _raw(name: str, problem: Problem, chosen: Array, texts: Array | None) -> Array:
    """The rows as one vector each: pixels, of the cells at 32 px; weighted counts of words."""
    data, rows = problem.data, chosen
    if texts is not None:
        return words(texts, data.split[chosen] == "train")
    if name == "cells":
        config = load_config(ROOT / "configs/solar-features.yaml", ["data.image.size=32"])
        pictures = build_problem(config, base=ROOT / "configs").data
        order = np.argsort(pictures.ids)
        rows = order[np.searchsorted(pictures.ids, data.ids[chosen], sorter=order)]
        data = pictures
    return data.inputs.read(rows).flatten(1).to(torch.float32).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", choices=list(CASES))
    parser.add_argument("--features", type=Path, help="Stored views: of the cells, of the text.")
    parser.add_argument("--plain", type=Path, help="The same features, not augmented (cells).")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    path = options.output / "case-tables.json"
    for name in options.cases:
        bench = prepared(name, options.output, options.features, options.plain)
        for seed in (None, *SEEDS):
            part = f"{name}-{'none' if seed is None else seed}.json"
            if not (options.output / part).exists():
                runs = list(untrained(bench) if seed is None else trained(bench, seed))
                write_json(options.output / part, {"runs": runs})
        parts = [options.output / f"{name}-{seed}.json" for seed in ("none", *SEEDS)]
        runs = [run for part in parts for run in json.loads(part.read_text("utf-8"))["runs"]]
        written = json.loads(path.read_text("utf-8")) if path.exists() else {}
        write_json(path, written | {name: runs})
        print(f"\n{name}\n\n{table(runs)}\n")


if __name__ == "__main__":
    main()
