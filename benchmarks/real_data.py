"""What alpha does on real data: train over seeds, measure and probe the test split once.

    OMP_NUM_THREADS=1 python benchmarks/real_data.py configs/fashion-mnist.yaml \
        --alphas 0.0079 0.5 --seeds 0 1 2 -o runs/fashion

Every run is of full length and judged by its last checkpoint; nothing is chosen. Prints, per alpha,
the mean and standard deviation over seeds of the within-class variance, the accuracy of the
training label (linear probe), the balanced accuracy of the finer label inside the classes (linear
probe and neighbours, both at the scale of the residuals; nearest mean of ten rows per finer label
at the scale of the embedding) and the accuracy over all finer labels from five rows of each.
Every run is in OUTPUT/runs.json. A finished run is not trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from uncollapse.metrics import measure, scores
from uncollapse.probes import ProbeOptions, embedded_files, probe
from uncollapse.theory import predict
from uncollapse.training import build_problem, embed, load_config, load_trained, train

COLUMNS = (
    "within_class_variance",
    "coarse_accuracy",
    "within_class_balanced",
    "within_class_neighbours",
    "within_class_ten_shot",
    "five_shot_accuracy",
)
TITLES = ("W", "coarse", "inside, linear", "inside, knn", "inside, 10 shots", "5 shots")


def one_run(config: Path, changes: list[str], folder: Path) -> dict[str, Any]:
    """Train, embed, measure and probe one setting with one seed."""
    started = time.perf_counter()
    problem = build_problem(load_config(config, changes), base=config.parent)
    if not (folder / "embeddings.parquet").exists():
        begun = (folder / "run.json").exists()
        train(problem, folder, resume=begun, scores=scores)
        load_trained(folder, problem, "last")
        output = folder / "embeddings.parquet"
        embed(problem.model, problem.data, problem.augmenter, output)
    setting = problem.setting()
    prediction = predict(setting, thresholds=False)
    data = embedded_files([folder / "embeddings.parquet"])
    fine = problem.data.fine[0]
    found: dict[str, Any] = {"seconds": round(time.perf_counter() - started, 1)}
    test = problem.data.split == "test"
    read = probe(data, targets=["label", fine], settings=ProbeOptions(shots=(5, 10)))
    for layer in ("projector", "backbone"):
        held = measure(
            data.layers[layer][test],
            problem.data.labels[test],
            fine_labels=problem.data.columns[fine][test],
            permutations=0,
            probe=None,
        )
        coarse = read.target(layer, "label").reading("linear").score
        of_fine = read.target(layer, fine)
        inside = of_fine.reading("within-class linear").score
        neighbours = of_fine.reading("within-class knn").score
        few = of_fine.reading("within-class few-shot", 10).score
        found[layer] = {
            "within_class_variance": held.within_class_variance.estimate,
            "verdict": held.verdict,
            "coarse_accuracy": coarse.accuracy.estimate,
            "within_class_balanced": inside.balanced_accuracy.estimate,
            "within_class_neighbours": neighbours.balanced_accuracy.estimate,
            "within_class_ten_shot": few.balanced_accuracy.estimate,
            "five_shot_accuracy": of_fine.reading("few-shot", 5).score.accuracy.estimate,
            "within_class_above_chance": inside.chance_corrected.estimate,
        }
    found["predicted_instance_variance"] = prediction.instance_variance
    found["predicted_phase"] = prediction.phase
    return found


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.3f} +- {deviation:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--alphas", type=float, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], dest="changes")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    runs: list[dict[str, Any]] = []
    for alpha in options.alphas:
        for seed in options.seeds:
            changes = [*options.changes, f"loss.alpha={alpha}", f"seed={seed}"]
            folder = options.output / f"alpha-{alpha:g}-seed-{seed}"
            found = one_run(options.config, changes, folder)
            runs.append({"alpha": alpha, "seed": seed, **found})
            print(json.dumps(runs[-1]), file=sys.stderr)
    (options.output / "runs.json").write_text(json.dumps(runs, indent=2))
    print("alpha  layer      " + "".join(f"{name:19s}" for name in TITLES) + "predicted W")
    for alpha in options.alphas:
        own = [run for run in runs if run["alpha"] == alpha]
        for layer in ("projector", "backbone"):
            columns = [spread([run[layer][name] for run in own]) for name in COLUMNS]
            predicted = f"{own[0]['predicted_instance_variance']:.4f}"
            print(f"{alpha:<6g} {layer:10s} {'  '.join(f'{c:17s}' for c in columns)}  {predicted}")


if __name__ == "__main__":
    main()
