"""Is the loss slower than in an earlier build? Two checkouts, step by step in turn.

    git worktree add ../before REVISION
    python benchmarks/loss_builds.py ../before .

A process for each checkout; they take their steps (forward and backward, two views, d = 128) in
random order, never at the same time, so that a change of the machine's speed meets both alike.
CPU time of one thread. Shown are lower quartiles, and the ratio of the second to the first.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from itertools import product
from pathlib import Path

STEPS = {512: 600, 2048: 300, 8192: 60, 16384: 16, 65536: 2}
STEP = """
import sys, time, torch
from uncollapse import supcl_loss
torch.set_num_threads(1)
for line in sys.stdin:
    size, classes = map(int, line.split())
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(size // 2, 2, 128, generator=generator).requires_grad_()
    labels = torch.randint(classes, (size // 2,), generator=generator)
    start = time.process_time()
    supcl_loss(z, labels, alpha=0.2, temperature=0.1).backward()
    print(time.process_time() - start, flush=True)
"""


class Build:
    """A process with the loss of one checkout."""

    def __init__(self, checkout: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")}
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", STEP]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self._asked, self._answers = process.stdin, process.stdout

    def seconds(self, size: int, classes: int) -> float:
        """CPU seconds of one step."""
        assert self._asked is not None
        assert self._answers is not None
        self._asked.write(f"{size} {classes}\n")
        self._asked.flush()
        return float(self._answers.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", type=Path, nargs=2, metavar="CHECKOUT")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--steps", type=int, help="of each build; by size without it")
    arguments = parser.parse_args()
    builds = [Build(checkout) for checkout in arguments.checkouts]
    order = random.Random(0)
    print("| N | classes | first | second | second / first | steps |\n|---|---|---|---|---|---|")
    for size, classes in product(arguments.sizes, arguments.classes):
        taken: dict[Build, list[float]] = {build: [] for build in builds}
        steps = arguments.steps or STEPS.get(size, 20)
        for step in range(-1, steps):  # The first one warms up.
            for build in order.sample(builds, 2):
                seconds = build.seconds(size, classes)
                if step >= 0:
                    taken[build].append(seconds)
        first, second = (sorted(taken[build])[len(taken[build]) // 4] for build in builds)
        print(
            f"| {size} | {classes} | {1000 * first:.2f} ms | {1000 * second:.2f} ms | "
            f"{second / first:.2f} | {steps} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
