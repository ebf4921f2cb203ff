"""What the linear probe's path of L2 penalties costs, beside scikit-learn's on the same grid.

    python benchmarks/probe.py [--rows N] [--dimension D] [--classes K] [--values L] [--peer]

Features are rectified mixtures of correlated Gaussians (as a network's last layer gives them), in
float32. Both solve the same problem, each penalty from the optima before it. Printed are wall and
CPU seconds and, with --peer, by how much the objective that was reached lies above the lower of the
two. Set OPENBLAS_NUM_THREADS to the cores that may be used.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np

from uncollapse.probes.logistic import linear_path


def features(rows: int, dimension: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    scale = 10 ** -np.linspace(0, 1.5, dimension)
    mix = rng.standard_normal((dimension, dimension)) / np.sqrt(dimension)
    centres = 0.35 * rng.standard_normal((classes, dimension))
    noise = rng.standard_normal((rows, dimension), dtype=np.float32)
    matrix = ((centres[labels] + noise) * scale).astype(np.float32) @ mix.astype(np.float32)
    matrix = np.maximum(matrix, 0)
    matrix -= matrix.mean(axis=0)
    return matrix / np.sqrt(np.mean(matrix**2)), labels


def ours(matrix: np.ndarray, labels: np.ndarray, classes: int, path: np.ndarray) -> list[float]:
    return [model.objective for model in linear_path(matrix, labels, classes, path)]


def peer(matrix: np.ndarray, labels: np.ndarray, classes: int, path: np.ndarray) -> list[float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model, found = LogisticRegression(warm_start=True, max_iter=1000), []
    for l2 in path:
        model.C = 1 / (l2 * len(matrix))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(matrix, labels)
        loss = -model.predict_log_proba(matrix)[np.arange(len(labels)), labels].mean()
        found.append(float(loss + l2 / 2 * np.sum(model.coef_.astype(float) ** 2)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--values", type=int, default=45)
    parser.add_argument("--peer", action="store_true", help="time scikit-learn too")
    given = parser.parse_args()
    matrix, labels = features(given.rows, given.dimension, given.classes)
    path = np.logspace(2, -7, given.values)
    print(f"{given.rows:,} x {given.dimension}, {given.classes} classes, {given.values} penalties")
    reached = {}
    for name, solver in (("uncollapse", ours), ("scikit-learn", peer))[: 2 if given.peer else 1]:
        wall, cpu = time.perf_counter(), time.process_time()
        reached[name] = np.array(solver(matrix, labels, given.classes, path))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"  {name}: {wall:.1f} s wall, {cpu:.1f} s CPU", flush=True)
    best = np.min(list(reached.values()), axis=0)
    for name, values in reached.items() if given.peer else ():
        print(f"  {name}: objective at most {np.max(values / best - 1):.1e} above the lower one")


if __name__ == "__main__":
    main()
