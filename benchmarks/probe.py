"""What the linear probe's path of L2 penalties costs, beside scikit-learn's on the same grid.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/probe.py [--rows N] [--dimension D]
        [--classes K] [--values L] [--peer SOLVER ...] [--limit SECONDS]

Features are rectified mixtures of correlated Gaussians (as a network's last layer gives them), in
float32, centred and at one scale. All solve the same problem, each penalty from the optimum before
it. Printed are CPU seconds, their ratio to ours, and by how much the objective that was reached
lies above the lowest at the worst penalty. A peer stops at the first penalty after the limit: what
is printed then is how far it came.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator

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


def ours(matrix: np.ndarray, labels: np.ndarray, path: np.ndarray) -> Iterator[float]:
    for model in linear_path(matrix, labels, int(labels.max()) + 1, path):
        yield model.objective


def peer(
    matrix: np.ndarray, labels: np.ndarray, path: np.ndarray, solver: str, tolerance: float
) -> Iterator[float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(warm_start=True, max_iter=1000, solver=solver, tol=tolerance)
    for l2 in path:
        model.C = 1 / (l2 * len(matrix))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(matrix, labels)
        logits = matrix @ model.coef_.T.astype(float) + model.intercept_
        top = logits.max(axis=1)
        logits -= top[:, None]
        own = logits[np.arange(len(labels)), labels]
        loss = np.mean(np.log(np.exp(logits).sum(axis=1)) - own)
        yield float(loss + l2 / 2 * np.sum(model.coef_.astype(float) ** 2))


def timed(objectives: Iterator[float], limit: float) -> tuple[np.ndarray, float]:
    """Objectives along the path, and CPU seconds, of a solver that is stopped after the limit."""
    reached, start = [], time.process_time()
    for objective in objectives:
        reached.append(objective)
        if time.process_time() - start > limit:
            break
    return np.array(reached), time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--values", type=int, default=45)
    parser.add_argument("--peer", nargs="*", default=[], help="lbfgs, newton-cg, saga, ...")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of the peers")
    parser.add_argument("--limit", type=float, default=180, help="CPU seconds of a peer")
    given = parser.parse_args()
    matrix, labels = features(given.rows, given.dimension, given.classes)
    path = np.logspace(2, -7, given.values)
    print(f"{given.rows:,} x {given.dimension}, {given.classes} classes, {given.values} penalties")
    runs = {"uncollapse": timed(ours(matrix, labels, path), np.inf)}
    print(f"  uncollapse: {runs['uncollapse'][1]:.1f} s CPU", flush=True)
    for solver in given.peer:
        objectives = peer(matrix, labels, path, solver, given.tolerance)
        runs[solver] = reached, seconds = timed(objectives, given.limit)
        ratio = seconds / runs["uncollapse"][1]
        print(
            f"  scikit-learn {solver}: {seconds:.1f} s CPU, {ratio:.1f} times ours, "
            f"{len(reached)} of {len(path)} penalties",
            flush=True,
        )
    for name, (reached, _) in runs.items() if len(runs) > 1 else ():
        best = [min(r[k] for r, _ in runs.values() if len(r) > k) for k in range(len(reached))]
        print(f"  {name}: objective at most {np.max(reached / best - 1):.1e} above the lowest")


if __name__ == "__main__":
    main()
