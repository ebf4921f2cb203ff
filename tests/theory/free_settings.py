"""Random settings of every kind, and the reference file of their verified optima.

To write `reference_optima.json` again, from the root of the repository:

    PYTHONPATH=src python tests/theory/free_settings.py
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from free_embeddings import Optimum, Problem, minimise, minimise_symmetric

from uncollapse.records import BalancedBatch, Batch, FullBatch, RandomBatch

REFERENCE = Path(__file__).with_name("reference_optima.json")
MOST_EMBEDDINGS = 24
MOST_BATCHES = 1000


def random_settings(seed: int, count: int) -> list[Problem]:
    """Settings over conventions, reductions, samplers, class counts, views, tau and alpha.

    At most 24 embeddings. tau is log-uniform in [.05, 2]; a third of the alphas is log-uniform in
    [1e-4, .1], where views split, one in twenty is 0 and one in twenty is 1. One view under
    self_pairs = "exclude" has no self term, so alpha is 0 there; alpha is not 0 where a class has
    one instance with several views, whose cosine the loss would then leave open. No batch has fewer
    than three embeddings: with two, self pairs excluded, the loss is 0 whatever they are.
    """
    generator = np.random.default_rng(seed)
    return [_setting(generator) for _ in range(count)]


def special_settings() -> list[tuple[str, Problem]]:
    """Settings chosen because a plausible shortcut fails on them, with the reason."""
    pair_mean = Problem((8, 8, 2, 2), 1, 0.15, 0.2, "include", "pairs")
    few = BalancedBatch(4, 2)
    return [
        ("small classes collapse first", pair_mean),
        ("small classes collapse first, further", pair_mean.at(reduction="anchors")),
        (
            "large classes spread while small ones split views",
            Problem((8, 8, 2, 2), 2, 0.15, 0.2, "exclude", "anchors"),
        ),
        ("class means with two null directions", Problem((4, 1, 1), 1, 0.0, 0.985)),
        (
            "class means on one line, the large class spread",
            Problem((12, 2, 1), 1, 0.2535, 1.268, "include", "pairs"),
        ),
        (
            "class means on one line, four small classes merged",
            Problem((9, 3, 2, 2, 2), 1, 0.0, 2.9, "exclude", "pairs"),
        ),
        (
            "the two smallest classes merged, mean over anchors",
            Problem((5, 4, 1, 1), 1, 0.0937, 1.989, "include", "anchors", "zero"),
        ),
        (
            "class means with two null directions, random batches",
            Problem((5, 4, 2, 1), 1, 0.008, 1.5, "include", "pairs", batch=RandomBatch(5)),
        ),
        (
            "classes drawn first: instances of a class meet too often, every class mean is 0",
            Problem((4, 4, 4), 1, 1.0, 1.0, "include", batch=few),
        ),
        ("the same before alpha = 1", Problem((4, 4, 4), 2, 0.95, 1.0, "exclude", batch=few)),
        ("the same, unequal counts", Problem((6, 5, 4), 1, 1.0, 0.7, "include", batch=few)),
        (
            "alpha = 1 short of the simplex: instances of a class meet too seldom",
            Problem((4, 4, 4), 2, 1.0, 1.0, "exclude", batch=BalancedBatch(2)),
        ),
        (
            "one instance of a class in a batch: collapse at every alpha",
            Problem((3, 3, 3), 2, 0.9, 0.3, "exclude", batch=BalancedBatch(1)),
        ),
        (
            "no view splitting without supervised pairs, whatever the closed form says",
            Problem((3, 3, 3), 2, 0.1, 0.3, "exclude", batch=BalancedBatch(1)),
        ),
        ("alpha = 0 splits views", Problem((4, 4), 3, 0.0, 0.4)),
        ("tau large", Problem((4, 3, 2), 2, 0.9, 30.0)),
    ]


def _setting(generator: np.random.Generator) -> Problem:
    views = int(generator.choice([1, 2, 2, 3]))
    self_pairs = str(generator.choice(["include", "exclude"]))
    batch, counts = None, (1,)
    while batch is None:
        counts = _counts(generator, MOST_EMBEDDINGS // views)
        batch = _batch(generator, counts)
    draw = generator.random()
    if (views == 1 and self_pairs == "exclude") or (draw < 0.05 and min(counts) > 1):
        alpha = 0.0
    elif draw > 0.95:
        alpha = 1.0
    elif draw < 0.4:
        alpha = 10 ** generator.uniform(-4, -1)
    else:
        alpha = generator.uniform(0.02, 0.98)
    return Problem(
        counts=counts,
        views=views,
        alpha=round(float(alpha), 6),
        tau=round(math.exp(generator.uniform(math.log(0.05), math.log(2))), 6),
        self_pairs=self_pairs,
        reduction=str(generator.choice(["anchors", "pairs"])),
        anchors_without_positives=str(generator.choice(["drop", "zero"])),
        batch=batch,
    )


def _counts(generator: np.random.Generator, most: int) -> tuple[int, ...]:
    while True:
        m = int(generator.integers(2, 5))
        if generator.random() < 0.35:
            counts = (int(generator.integers(2, max(3, most // m + 1))),) * m
        else:
            counts = tuple(sorted(generator.integers(1, 8, m).tolist(), reverse=True))
        if 3 <= sum(counts) <= most and max(counts) > 1:
            return counts


def _batch(generator: np.random.Generator, counts: tuple[int, ...]) -> Batch | None:
    kind = generator.choice(["full", "balanced", "random"], p=[0.35, 0.3, 0.35])
    if kind == "full":
        return FullBatch()
    if kind == "random":
        size = int(generator.integers(3, max(4, min(sum(counts), 7))))
        fits = size < sum(counts) and math.comb(sum(counts), size) <= MOST_BATCHES
        return RandomBatch(size) if fits else None
    if min(counts) < 2:
        return None
    per_class = int(generator.integers(2, min(counts) + 1))
    chosen = int(generator.integers(2, len(counts) + 1))
    subsets = math.prod(math.comb(n, per_class) for n in counts) * math.comb(len(counts), chosen)
    if subsets > MOST_BATCHES:
        return None
    return BalancedBatch(per_class, None if chosen == len(counts) else chosen)


def reference(problem: Problem) -> dict[str, Any]:
    """The verified optimum of one setting.

    Four runs: free vectors and three starts of averaged Gram matrices. The lowest loss is kept with
    its proven gap. A quantity in which runs of equal loss (to 1e-9) differ by more than 1e-5 is
    named under "undetermined": the loss is flat in it (at small tau the classes of m = 2 hardly
    feel each other), so no method that sees the loss in float64 can be held to it.
    """
    free = minimise(problem, seed=0)
    runs = [free] + [minimise_symmetric(problem, seed=seed, starts=1) for seed in (1, 2, 3)]
    best = min(runs, key=lambda run: (run.loss > min(r.loss for r in runs) + 1e-11, run.gap))
    equal = [run for run in runs if run.loss < best.loss + 1e-9]
    return {
        "problem": problem.to_json(),
        "loss": best.loss,
        "gap": best.gap,
        "free_loss": free.free_loss,
        **{name: _values(best, name) for name in QUANTITIES},
        "undetermined": [
            name
            for name in QUANTITIES
            if max(np.ptp([_flat(run, name) for run in equal], axis=0), default=0.0) > 1e-5
        ],
    }


QUANTITIES = ("within", "instance", "view", "between", "s", "a", "b")


def _values(optimum: Optimum, name: str) -> Any:
    value = getattr(optimum, name)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _flat(optimum: Optimum, name: str) -> np.ndarray:
    value = np.array(getattr(optimum, name), dtype=float)
    return np.nan_to_num(value).ravel()


def load_reference() -> list[dict[str, Any]]:
    """The records of `reference_optima.json`, their "problem" as a `Problem`."""
    records = json.loads(REFERENCE.read_text())
    return [{**record, "problem": Problem.from_json(record["problem"])} for record in records]


def main() -> None:
    records = []
    settings = [("random", problem) for problem in random_settings(seed=2503, count=60)]
    for index, (why, problem) in enumerate(settings + special_settings()):
        records.append({"why": why, **reference(problem)})
        sys.stderr.write(f"{index}: gap {records[-1]['gap']:.1e}\n")
    lines = ",\n".join(json.dumps(record) for record in records)
    REFERENCE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
