"""What the linear probe's path of L2 penalties costs: the time that scikit-learn takes for it.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/probe.py [--rows N] [--dimension D]
        [--classes K] [--values L] [--tolerance T]

Features are rectified mixtures of correlated Gaussians (as a network's last layer gives them), in
float32. Printed are the CPU seconds of the path, and for some penalties the objective that was
reached, the accuracy on 5000 further rows, and the seconds until then.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from uncollapse.probes import ProbeOptions
from uncollapse.probes._task import SplitRows
from uncollapse.probes.linear import fit_at_penalties

_TESTED = 5000


def features(rows: int, dimension: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    scale = 10 ** -np.linspace(0, 1.5, dimension)
    mix = rng.standard_normal((dimension, dimension)) / np.sqrt(dimension)
    centres = 0.35 * rng.standard_normal((classes, dimension))
    noise = rng.standard_normal((rows, dimension), dtype=np.float32)
    matrix = ((centres[labels] + noise) * scale).astype(np.float32) @ mix.astype(np.float32)
    return np.maximum(matrix, 0), labels


def objective(model, rows: np.ndarray, labels: np.ndarray, l2: float) -> float:
    logits = model.regression.decision_function((rows - model.mean) / model.scale)
    top = logits.max(axis=1)
    loss = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    loss -= logits[np.arange(len(labels)), labels]
    weights = model.regression.coef_.astype(np.float64)
    return float(loss.mean() + l2 / 2 * np.sum(weights**2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--values", type=int, default=45)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    given = parser.parse_args()
    matrix, labels = features(given.rows + _TESTED, given.dimension, given.classes)
    rows, tested = np.split(matrix, [given.rows])
    truth, expected = np.split(labels, [given.rows])
    path = np.logspace(2, -7, given.values)
    print(f"{given.rows:,} x {given.dimension}, {given.classes} classes, {given.values} penalties")
    part, options = SplitRows(rows, truth, truth), ProbeOptions(tolerance=given.tolerance)
    seconds, start, models = [], time.process_time(), []
    for model in fit_at_penalties(part, path, options):
        seconds.append(time.process_time() - start)
        models.append(model)
    print(f"  {seconds[-1]:.1f} s CPU")
    for k in range(0, len(path), max(1, len(path) // 11)):
        accuracy = np.mean(models[k].predict(tested) == expected)
        reached = objective(models[k], rows, truth, path[k])
        print(f"  l2 {path[k]:.1e}: objective {reached:.5f}, {accuracy:.4f}, {seconds[k]:.1f} s")


if __name__ == "__main__":
    main()
