"""Is a reference good enough, and is it known beforehand? The second table of docs/keep.md's part.

    OMP_NUM_THREADS=1 python benchmarks/keep_told.py -o runs/keep-told
    python benchmarks/keep_told.py -o runs/keep-told --tables

Each reference of a data set is asked what can be asked before anything is trained with it, and is
then kept (weight 1) by SupCon and by alpha .5. A line of OUTPUT/DATA.jsonl is a reference and seed;
finished ones are not made again. Data sets, networks and draws are those of keep_study.py, and so
are the references, with two more: each row's reference given to another row of its class
("shuffled"), and the encoder of text as it is before its own training ("untrained encoder").
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from case_scores import Array, Rows, unit
from keep_data import ROOT, Case, cases
from keep_methods import Method
from keep_study import layers, train
from torch import Tensor

from uncollapse.metrics import retention
from uncollapse.training import build_encoder
from uncollapse.training.config import EncoderConfig, HeadConfig

BASES = (Method(), Method(alpha=0.5))
REFERENCES = ("own", "untrained", "collapsed", "noise", "shuffled", "untrained encoder")
MOST = 200  # Instances of a class that look for their other view.
ONLY = ("digits", "cells", "text", "satellite", "segments")

Embed = Callable[[Tensor], Array]


def first_in_class(case: Case, embed: Embed, seed: int) -> float:
    """How often an instance's other view is nearest in its class, above chance, validation rows."""
    rng, views = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    scores = []
    for c in np.unique(case.label):
        rows = np.flatnonzero((case.split == "validation") & (case.label == c))
        rows = rng.permutation(rows)[:MOST]
        both = case.batch(rows, views)
        first, second = (unit(embed(both[:, k]).reshape(len(rows), -1)) for k in (0, 1))
        found = np.mean(np.argmax(first @ second.T, axis=1) == np.arange(len(rows)))
        scores.append((found - 1 / len(rows)) / (1 - 1 / len(rows)))
    return float(np.mean(scores))


def by(model: torch.nn.Module) -> Embed:
    """The output of a network."""

    def embed(inputs: Tensor) -> Array:
        with torch.no_grad():
            return np.asarray(model(inputs).numpy())

    return embed


def flat(inputs: Tensor) -> Array:
    """The inputs themselves."""
    return np.asarray(inputs.flatten(1).numpy())


def reference_of(
    case: Case, name: str, seed: int, encoder: Path | None
) -> tuple[Array, Embed | None]:
    """A reference of all rows, and what makes it of a view; None where nothing does."""
    rng = np.random.default_rng([seed, 2])
    if name == "own":
        return case.reference, flat
    if name == "noise":
        return rng.standard_normal((len(case.plain), case.dimension)), None
    if name == "shuffled":
        mixed = np.arange(len(case.plain))
        for part in np.unique(case.split):
            for c in np.unique(case.label):
                own = np.flatnonzero((case.split == part) & (case.label == c))
                mixed[own] = rng.permutation(own)
        return case.reference[mixed], None
    if name == "untrained encoder":
        with np.load(encoder) as stored:
            return stored[f"32-{seed}"], None
    if name == "collapsed":
        model = train(case, Method(), case.reference, seed + 100)
    else:
        model = build_encoder(
            EncoderConfig(**case.encoder),
            HeadConfig(dimension=case.dimension),
            tuple(case.plain.shape[1:]),
            seed=seed + 100,
        ).eval()
    return layers(model, case)["projector"], by(model)


def scored(case: Case, embedding: Array, part: str) -> dict[str, float]:
    """Finer label from ten examples and training label of these rows."""
    chosen = np.isin(case.split, ("train", part))
    tested = case.split[chosen] == part
    rows = Rows(tested, case.label[chosen], case.fine[chosen], case.reference[chosen])
    found = rows.scores(embedding[chosen])
    return {key: round(found[key], 4) for key in ("shots_10", "label_knn")}


def told(case: Case, reference: Array, embed: Embed | None, seed: int) -> dict[str, float | None]:
    """What can be known before anything is trained."""
    rows = case.split == "validation"
    kept = retention(
        reference[rows], flat(case.plain[torch.as_tensor(rows)]), case.label[rows], permutations=0
    )
    return {
        "inputs": kept.retention.estimate,
        "views": None if embed is None else first_in_class(case, embed, seed),
        **{f"reference {key}": v for key, v in scored(case, reference, "validation").items()},
    }


def run(case: Case, method: Method, reference: Array, seed: int) -> dict[str, float]:
    """What a training reaches on test rows, and what is seen of it without finer labels."""
    model = train(case, method, reference, seed)
    output, rows = layers(model, case)["projector"], case.split == "validation"
    kept = retention(output[rows], reference[rows], case.label[rows], permutations=0)
    found = scored(case, output, "test")
    return found | {
        "views": first_in_class(case, by(model), seed),
        "retention": kept.retention.estimate or 0.0,
    }


def lines(case: Case, seed: int, encoder: Path | None, done: set[str]) -> Iterator[dict[str, Any]]:
    """What is missing of a data set and seed."""
    if "none" not in done:
        yield {
            "reference": "none",
            "runs": {m.name: run(case, m, case.reference, seed) for m in BASES},
        }
    for name in REFERENCES:
        if name in done or (name == "untrained encoder" and encoder is None):
            continue
        reference, embed = reference_of(case, name, seed, encoder)
        yield {
            "reference": name,
            "told": told(case, reference, embed, seed),
            "runs": {m.name: run(case, replace(m, beta=1.0), reference, seed) for m in BASES},
        }


def table(folder: Path) -> Iterator[str]:
    """A row a data set and reference: what is known beforehand, and what keep then changes."""
    yield (
        "| data (seeds) | reference | against the input | other view | its finer label, less the"
        " best run's | keep adds: SupCon | alpha .5 | other view: SupCon | alpha .5 |"
    )
    yield "|---" * 9 + "|"
    for name in ONLY:
        path = folder / f"{name}.jsonl"
        if not path.exists():
            continue
        every = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        plain = {line["seed"]: line["runs"] for line in every if line["reference"] == "none"}
        for reference in REFERENCES:
            own = [line for line in every if line["reference"] == reference]
            if own:
                yield row(name, reference, own, plain)


def row(name: str, reference: str, own: list[Any], plain: dict[int, Any]) -> str:
    """Of a reference."""

    def mean(key: str) -> str:
        known = [line["told"][key] for line in own if line["told"][key] is not None]
        return f"{fmean(known):.2f}" if known else "-"

    def added(key: str) -> list[str]:
        return [
            f"{100 * fmean(x['runs'][m][key] - plain[x['seed']][m][key] for x in own):+.1f}"
            for m in plain[own[0]["seed"]]
        ]

    best = [max(r["shots_10"] for r in plain[line["seed"]].values()) for line in own]
    knows = [line["told"]["reference shots_10"] for line in own]
    over = 100 * (fmean(knows) - fmean(best))
    numbers = [mean("inputs"), mean("views"), f"{over:+.1f}", *added("shots_10"), *added("views")]
    return f"| {name} ({len(own)}) | {reference} | {' | '.join(numbers)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "runs" / "keep-told")
    parser.add_argument("--cells", type=Path, default=ROOT / "solar-features.npz")
    parser.add_argument("--plain", type=Path, help="Cells without augmentation, of older builds.")
    parser.add_argument("--text", type=Path, default=ROOT / "wordnet-features.npz")
    parser.add_argument("--encoder", type=Path, help="Text's encoder untrained: (N, e) by seed.")
    parser.add_argument("--only", nargs="+", choices=ONLY, default=ONLY)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tables", action="store_true", help="Print what is there.")
    options = parser.parse_args()
    if options.tables:
        print("\n".join(table(options.output)))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    loaders = cases(options.cells, options.plain, options.text)
    for seed in range(options.seeds):
        for name in options.only:
            path, case = options.output / f"{name}.jsonl", loaders[name]()
            text = path.read_text("utf-8") if path.exists() else ""
            every = [json.loads(line) for line in text.splitlines()]
            done = {line["reference"] for line in every if line["seed"] == seed}
            encoder = options.encoder if name == "text" else None
            began = time.process_time()
            for line in lines(case, seed, encoder, done):
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"seed": seed, **line}) + "\n")
                print(name, seed, line, round(time.process_time() - began), flush=True)


if __name__ == "__main__":
    main()
