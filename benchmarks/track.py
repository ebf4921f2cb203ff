"""What `SupCLLoss(..., track=True)` adds to the loss: time with and without, and of reading it.

    python benchmarks/track.py
    python benchmarks/track.py --sizes 256 --classes 100

Two views of each instance, d = 128, random labels, forward and backward; CPU time of one thread, in
one shuffled series of calls without it, with it, and with the variance read after each.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import product

import torch

from uncollapse.losses import SupCLLoss

KINDS = ("plain", "tracked", "read")


def milliseconds(size: int, classes: int, repeats: int) -> list[float]:
    """Medians of the loss, of the loss that tracks, and of reading the variance after it."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(size // 2, 2, 128, generator=generator).requires_grad_()
    labels = torch.randint(classes, (size // 2,), generator=generator)
    losses = {kind: SupCLLoss(alpha=0.2, temperature=0.1, track=kind != "plain") for kind in KINDS}
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    order = random.Random(0)
    for _ in range(repeats):
        for kind in order.sample(KINDS, len(KINDS)):
            z.grad = None
            start = time.thread_time()
            losses[kind](z, labels).backward()
            if kind == "read":
                start = time.thread_time()
                _ = losses[kind].last.within_class_variance
            taken[kind].append(time.thread_time() - start)
    return [1000 * sorted(taken[kind])[repeats // 2] for kind in KINDS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| N | classes | loss, ms | with track | reading it |")
    print("|---|---|---|---|---|")
    for size, classes in product(arguments.sizes, arguments.classes):
        repeats = max(1, min(arguments.repeats, arguments.repeats * 1024 // size))
        plain, tracked, read = milliseconds(size, classes, repeats)
        print(
            f"| {size} | {classes} | {plain:.2f} | {100 * (tracked / plain - 1):+.1f} % | "
            f"{100 * read / plain:+.1f} % |"
        )


if __name__ == "__main__":
    main()
