"""What `SupCLLoss(..., track=True)` adds to the loss where nobody reads it, and read at every step.

    python benchmarks/track.py
    python benchmarks/track.py --sizes 256 --classes 100

Two views of each instance, d = 128, random labels, forward and backward; CPU time of one thread.
Every round calls the loss without it, with it, and with it and the variance read after the call,
in random order. Shown is what tracking adds, the median over rounds of a difference, and that and
the reading, which is timed by itself: right after the call, with its caches as the loss left them,
less what the clock itself takes there.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import product

import torch

from uncollapse.losses import SupCLLoss

KINDS = ("plain", "tracked", "read")


def milliseconds(size: int, classes: int, rounds: int) -> tuple[float, float, float]:
    """Medians of the loss, of what tracking adds, and of reading."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(size // 2, 2, 128, generator=generator).requires_grad_()
    labels = torch.randint(classes, (size // 2,), generator=generator)
    losses = {kind: SupCLLoss(alpha=0.2, temperature=0.1, track=kind != "plain") for kind in KINDS}
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    reading: list[float] = []
    clock: list[float] = []
    order = random.Random(0)
    for _ in range(rounds):
        for kind in order.sample(KINDS, len(KINDS)):
            z.grad = None
            start = time.thread_time()
            losses[kind](z, labels).backward()
            end = time.thread_time()
            taken[kind].append(end - start)
            if kind == "tracked":
                clock.append(time.thread_time() - end)
            if kind == "read":
                _ = losses[kind].last.within_class_variance
                reading.append(time.thread_time() - end)
    plain, tracked = (torch.tensor(taken[kind], dtype=torch.float64) for kind in KINDS[:2])
    read = torch.tensor(reading).median() - torch.tensor(clock).median()
    return tuple(
        1000 * float(value) for value in (plain.median(), (tracked - plain).median(), read)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--repeats", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| N | classes | loss, ms | track | track, read at every step |")
    print("|---|---|---|---|---|")
    for size, classes in product(arguments.sizes, arguments.classes):
        repeats = max(1, min(arguments.repeats, arguments.repeats * 512 // size))
        plain, tracked, reading = milliseconds(size, classes, repeats)
        print(
            f"| {size} | {classes} | {plain:.2f} | {100 * tracked / plain:+.1f} % | "
            f"{100 * (tracked + reading) / plain:+.1f} % |"
        )


if __name__ == "__main__":
    main()
