"""Trained heads for the study of retention (docs/retention.md): train, and keep the embeddings.

    uncollapse embed configs/solar-features.yaml --views 8 -o solar-features.npz
    uncollapse embed configs/solar-features.yaml -o solar-plain.npz
    HF_HUB_OFFLINE=1 python benchmarks/wordnet_features.py wordnet-features.npz
    OMP_NUM_THREADS=1 python benchmarks/retention_study.py -o runs/study
    OMP_NUM_THREADS=1 python benchmarks/retention_measures.py runs/study -o docs/study

Four data sets; on each a grid of alpha and temperature with several seeds, an untrained network and
a cross-entropy network of the same size for every seed. A run leaves one file, DATA/NAME-SEED.npz:
both layers of test rows and of training rows. What they start from (pixels, frozen features) is in
DATA/base.npz, with labels. Finished runs are kept, so the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from uncollapse.data import LabelledData, Loader
from uncollapse.theory import predict
from uncollapse.training import Problem, build_problem, embed_rows, joined, load_config, train

HERE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Study:
    """A data set, its configuration, and what is changed in it."""

    name: str
    config: str
    fine: str
    seeds: int
    temperatures: tuple[float, ...]
    changes: tuple[str, ...] = ()
    trained_rows: int = 4000  # of the training rows whose embeddings are kept, at most


@dataclass(frozen=True)
class Run:
    """A network: trained by the loss at a setting, by cross-entropy, or not at all."""

    kind: str
    seed: int
    alpha: float = 0.2
    temperature: float = 0.1

    @property
    def name(self) -> str:
        """Of its file."""
        setting = f"-{self.alpha:g}-{self.temperature:g}" if self.kind == "supcl" else ""
        return f"{self.kind}{setting}-{self.seed}"


ALPHAS = (0.0079, 0.05, 0.2, 0.5, 0.9)
STUDIES = (
    Study("digits", "digits.yaml", "digit", 4, (0.1, 0.3, 0.05)),
    Study("cells", "solar-cells.yaml", "condition", 4, (0.1, 0.3, 0.05)),
    Study("text", "wordnet.yaml", "kind", 4, (0.1, 0.3, 0.05), ("epochs=20",)),
    Study(
        "garments",
        "fashion-mnist.yaml",
        "class",
        3,
        (0.1,),
        ("data.limit.test=2500", "epochs=4"),
        trained_rows=2500,
    ),
)


# By temperature of the loss; first what every data set needs.
STAGES = {"tau-0.1": 0.1, "other-losses": None, "tau-0.3": 0.3, "tau-0.05": 0.05}


def runs_of(study: Study, temperature: float | None) -> Iterator[Run]:
    """Networks of every seed; those that are not of the loss come with no temperature."""
    for seed in range(study.seeds):
        if temperature is None:
            yield from (Run("untrained", seed), Run("cross-entropy", seed))
        elif temperature in study.temperatures:
            yield from (Run("supcl", seed, alpha, temperature) for alpha in ALPHAS)


def load(study: Study, inputs: Path | None, data: LabelledData | None, run: Run) -> Problem:
    """The problem of one run; the same data, rows and views for every run of a study."""
    changes = [*study.changes, "validation.every=1000", f"seed={run.seed}"]
    changes += [f"loss.alpha={run.alpha}", f"loss.temperature={run.temperature}"]
    if inputs is not None:
        changes.append(f"data.path={inputs.resolve()}")
    return build_problem(
        load_config(HERE / "configs" / study.config, changes), base=HERE / "configs", data=data
    )


def cross_entropy(problem: Problem) -> None:
    """Train body, head and a linear layer on the head's output by cross-entropy."""
    config, model = problem.config, problem.model
    classes = len(problem.data.label_names)
    with torch.no_grad():
        model.eval()
        width = model(problem.augmenter.plain(problem.data.inputs.read(problem.rows[:2]))).shape[1]
    torch.manual_seed(config.seed)
    linear = nn.Linear(width, classes)
    rate, decay = config.optimiser.learning_rate, config.optimiser.weight_decay
    parameters = [*model.parameters(), *linear.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay)
    steps = config.epochs * problem.sampler.steps
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    loader = Loader(
        problem.data, problem.rows, problem.sampler, problem.augmenter, seed=config.seed
    )
    model.train()
    for epoch in range(config.epochs):
        for batch in loader.epoch(epoch):
            logits = linear(model(batch.views.flatten(0, 1)))
            labels = batch.labels.repeat_interleave(batch.views.shape[1])
            loss = nn.functional.cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def write_predictions(path: Path, study: Study, inputs: Path | None) -> None:
    """What theory says of every setting, by the name of its runs less the seed."""
    found: dict[str, object] = {}
    data: LabelledData | None = None
    for temperature in study.temperatures:
        for run in runs_of(study, temperature):
            if run.seed == 0:
                problem = load(study, inputs, data, run)
                data = problem.data
                found[run.name.rpartition("-")[0]] = predict(problem.setting()).to_dict()
    path.write_text(json.dumps(found), encoding="utf-8")


def kept_rows(problem: Problem, study: Study) -> dict[str, np.ndarray]:
    """Test rows, and training rows drawn once for all runs."""
    rng = np.random.default_rng(0)
    drawn = rng.permutation(len(problem.rows))[: study.trained_rows]
    return {"test": problem.data.rows("test"), "train": problem.rows[np.sort(drawn)]}


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A file that is whole or not there."""
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(path)


def write_cells(path: Path, views: Path, plain: Path) -> None:
    """The stored views of the cells with the image as it is in the first place, which is measured.

    Of an augmented row a head rightly forgets the augmentation, and retention would count it.
    """
    with np.load(views) as stored, np.load(plain) as images:
        arrays = dict(stored)
        if not np.array_equal(arrays["id"], images["id"]):
            raise SystemExit(f"{views} and {plain} hold other rows: embed them anew")
        arrays["backbone"][:, 0] = images["backbone"]
    write(path, arrays)


def write_base(path: Path, problem: Problem, study: Study) -> None:
    """What the networks start from, with the labels of the kept rows."""
    arrays: dict[str, np.ndarray] = {}
    data = problem.data
    for part, rows in kept_rows(problem, study).items():
        raw = data.inputs.read(rows)
        plain = raw[:, 0] if data.inputs.kind == "views" else raw
        arrays[f"{part}/base"] = plain.flatten(1).numpy().astype(np.float32)
        arrays[f"{part}/label"] = np.array(data.label_names)[data.labels[rows]]
        arrays[f"{part}/fine"] = data.columns[study.fine][rows].astype(str)
        arrays[f"{part}/id"] = data.ids[rows].astype(str)
    write(path, arrays)


def write_run(path: Path, problem: Problem, study: Study, run: Run) -> None:
    """Train the network and keep its embeddings."""
    began = time.process_time()
    if run.kind == "supcl":
        with TemporaryDirectory() as folder:
            if train(problem, Path(folder, "run")).interrupted:
                raise SystemExit(f"stopped before {path} was trained")
    elif run.kind == "cross-entropy":
        cross_entropy(problem)
    arrays: dict[str, np.ndarray] = {"seconds": np.array(time.process_time() - began)}
    for part, rows in kept_rows(problem, study).items():
        layers = joined(embed_rows(problem.model, problem.data, rows, problem.augmenter))
        for layer, values in layers.items():
            values = values[:, 0]
            # Length does not matter to any measure here, and float16 has no room for long rows.
            lengths = np.linalg.norm(values, axis=1, keepdims=True)
            arrays[f"{part}/{layer}"] = (values / np.maximum(lengths, 1e-12)).astype(np.float16)
    write(path, arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--cells", type=Path, default=HERE / "solar-features.npz")
    parser.add_argument("--plain", type=Path, default=HERE / "solar-plain.npz")
    parser.add_argument("--text", type=Path, default=HERE / "wordnet-features.npz")
    parser.add_argument("--only", nargs="+", choices=[study.name for study in STUDIES])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    options = parser.parse_args()
    inputs = {"cells": options.output / "cells-inputs.npz", "text": options.text.resolve()}
    options.output.mkdir(parents=True, exist_ok=True)
    if not inputs["cells"].exists():
        write_cells(inputs["cells"], options.cells, options.plain)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    data: dict[str, LabelledData] = {}
    for stage in options.stages:
        temperature = STAGES[stage]
        for study in STUDIES:
            if options.only and study.name not in options.only:
                continue
            folder = options.output / study.name
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "predictions.json").exists():
                write_predictions(folder / "predictions.json", study, inputs.get(study.name))
            for run in runs_of(study, temperature):
                path = folder / f"{run.name}.npz"
                if path.exists():
                    continue
                known = data.get(study.name)
                problem = load(study, inputs.get(study.name), known, run)
                data[study.name] = problem.data
                if not (folder / "base.npz").exists():
                    write_base(folder / "base.npz", problem, study)
                began = time.time()
                write_run(path, problem, study, run)
                print(f"{study.name} {run.name} {time.time() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
