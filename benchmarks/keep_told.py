"""Is a reference good enough, and is it known beforehand? Tables of docs/keep.md.

    OMP_NUM_THREADS=1 python benchmarks/keep_told.py -o runs/keep-told
    python benchmarks/keep_told.py -o runs/keep-told --take
    python benchmarks/keep_tables.py

Each reference of a data set is asked what can be asked before anything is trained with it, and is
then kept (weight 1) by SupCon and by alpha .5. A line of OUTPUT/DATA.jsonl is a reference and seed;
finished ones are not made again. Data sets, networks and draws are those of keep_study.py, and so
are the references, with two more: each row's reference given to another row of its class
("shuffled"), and the encoder of text or cells before its own training ("untrained encoder").
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
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

from uncollapse.metrics import measure, retention
from uncollapse.records.run import COLLAPSED
from uncollapse.training import build_encoder
from uncollapse.training.config import EncoderConfig, HeadConfig

BASES = (Method(), Method(alpha=0.5))
REFERENCES = ("own", "untrained", "collapsed", "noise", "shuffled", "untrained encoder")
STORED = ROOT / "docs" / "study" / "keep-told.json"
KEPT, SEEN, LESS, PAYS = 0.35, 0.6, 5.0, 2.0  # The rules' limits, set on these very rows.
RELATED, CHOSEN = 0.05, ("digits", "cells", "text")  # COLLAPSED was set on these three alone.
MOST = 200  # Instances of a class that look for their other view.
ONLY = ("digits", "cells", "text", "satellite", "segments")

ALONE = f"related to the input, share within classes at least {COLLAPSED:g} of the input's"

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


def share(rows: Array, label: Array) -> float:
    """Part of the variance of unit rows that lies within classes."""
    found = measure(rows.astype(np.float64), label, permutations=0, probe=None)
    return (found.within_class_variance.estimate or 0) / (found.total_variance.estimate or 1)


def told(case: Case, reference: Array, embed: Embed | None, seed: int) -> dict[str, float | None]:
    """What can be known before anything is trained."""
    rows = case.split == "validation"
    inputs, label = flat(case.plain[torch.as_tensor(rows)]), case.label[rows]
    kept = retention(reference[rows], inputs, label, permutations=0)
    return {
        "inputs": kept.retention.estimate,
        "share": share(reference[rows], label),
        "inputs share": share(inputs, label),
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


Lines = dict[str, list[dict[str, Any]]]


def take(folder: Path) -> None:
    """Take the lines of the runs."""
    found = {}
    for name in ONLY:
        path = folder / f"{name}.jsonl"
        texts = path.read_text("utf-8").splitlines() if path.exists() else []
        found[name] = [json.loads(text, parse_float=lambda t: round(float(t), 4)) for text in texts]
    rows = [
        f'"{name}": [\n' + ",\n".join(map(json.dumps, lines)) + "\n]"
        for name, lines in found.items()
    ]
    STORED.write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")


def read() -> Lines:
    """What is stored."""
    found: Lines = json.loads(STORED.read_text("utf-8"))
    return found


def known(lines: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each reference with its lines, of the seeds whose runs without keep are there."""
    plain = {line["seed"]: line["runs"] for line in lines if line["reference"] == "none"}
    for name in REFERENCES:
        own = [
            line | {"plain": plain[line["seed"]]}
            for line in lines
            if line["reference"] == name and line["seed"] in plain
        ]
        if own:
            yield name, own


def added(own: list[dict[str, Any]], method: str, key: str) -> float:
    """What keep adds to the same setting without, points, mean over seeds."""
    return 100 * fmean(x["runs"][method][key] - x["plain"][method][key] for x in own)


def before(own: list[dict[str, Any]], key: str) -> float | None:
    """What is told beforehand, mean over seeds; None where it cannot be asked."""
    numbers = [n for line in own if (n := line["told"].get(key)) is not None]
    return fmean(numbers) if numbers else None


def over_best(own: list[dict[str, Any]]) -> float:
    """The reference's own finer label less that of the better run without keep, points."""
    best = [max(run["shots_10"] for run in line["plain"].values()) for line in own]
    return 100 * fmean(
        line["told"]["reference shots_10"] - b for line, b in zip(own, best, strict=True)
    )


def beforehand() -> Iterator[str]:
    """A row a data set and reference: what is known beforehand, and what keep then adds."""
    yield (
        "| data | reference (seeds) | against the input | other view"
        " | finer label, over the best run | keep adds: SupCon | alpha .5"
        " | other view: SupCon | alpha .5 |"
    )
    yield "|---" * 9 + "|"
    for data, lines in read().items():
        for name, own in known(lines):
            told = [before(own, key) for key in ("inputs", "views")]
            numbers = ["-" if each is None else f"{each:.2f}" for each in told]
            numbers.append(f"{over_best(own):+.1f}")
            for key in ("shots_10", "views"):
                numbers += [f"{added(own, method.name, key):+.1f}" for method in BASES]
            yield f"| {data} | {name} ({len(own)}) | {' | '.join(numbers)} |"


def stands(own: list[dict[str, Any]]) -> bool:
    """Neither unrelated to the inputs nor collapsed itself, as `check_reference` has it."""
    related = (before(own, "inputs") or 0) > RELATED
    inputs = before(own, "inputs share") or 0
    return related and (before(own, "share") or 0) >= COLLAPSED * inputs


def rules() -> Iterator[str]:
    """How often each rule says beforehand what keep at alpha .5 then does."""
    yield "| good if | asked of | good, pays | good, does not | bad, pays | bad, does not |"
    yield "|---" * 6 + "|"
    every = []
    for data, lines in read().items():
        found = dict(known(lines))
        inputs = before(found["own"], "views") if "own" in found else None
        every += [(data, inputs, own) for own in found.values()]
    says: dict[str, Callable[[float | None, list[dict[str, Any]]], bool | None]] = {
        f"retention against the input above {KEPT:g}": lambda _, own: (
            (before(own, "inputs") or 0) > KEPT
        ),
        f"other view found at least {SEEN:g} times as often as by the input": lambda inputs, own: (
            None
            if inputs is None or (views := before(own, "views")) is None
            else views >= SEEN * inputs
        ),
        f"its finer label at most {LESS:g} points below the best run": lambda _, own: (
            over_best(own) >= -LESS
        ),
        ALONE: lambda _, own: stands(own),
        f"{ALONE}, on the two data sets that did not set it": lambda _, own: stands(own),
    }
    for title, rule in says.items():
        counts: Counter[tuple[bool, bool]] = Counter()
        for data, inputs, own in every:
            if "that did not" in title and data in CHOSEN:
                continue
            said = rule(inputs, own)
            if said is not None:
                counts[said, added(own, BASES[-1].name, "shots_10") >= PAYS] += 1
        cells = [counts[said, pays] for said in (True, False) for pays in (True, False)]
        yield f"| {title} | {sum(cells)} | {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "runs" / "keep-told")
    parser.add_argument("--cells", type=Path, default=ROOT / "solar-features.npz")
    parser.add_argument("--plain", type=Path, help="Cells without augmentation, of older builds.")
    parser.add_argument("--text", type=Path, default=ROOT / "wordnet-features.npz")
    parser.add_argument("--encoder", type=Path, help="Text by its encoder untrained, 32-SEED.")
    parser.add_argument("--untrained", type=Path, help="Cells by their encoder untrained, 32-SEED.")
    parser.add_argument("--only", nargs="+", choices=ONLY, default=ONLY)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--take", action="store_true", help="Take what is there; run nothing.")
    options = parser.parse_args()
    if options.take:
        take(options.output)
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
            encoder = {"text": options.encoder, "cells": options.untrained}.get(name)
            began = time.process_time()
            for line in lines(case, seed, encoder, done):
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"seed": seed, **line}) + "\n")
                print(name, seed, line, round(time.process_time() - began), flush=True)


if __name__ == "__main__":
    main()
