"""What `retention_loss` adds to the loss: time of both, forward and backward, and their ratio.

    python benchmarks/keep.py                      # the table of docs/benchmarks-loss.md
    python benchmarks/keep.py --sizes 2048 --e 768

Two views of each instance, d = 128, random labels and one reference row for each instance; CPU time
of one thread, in one shuffled series (on a GPU: wall-clock time). A low quantile, since both are
slowed by what else runs.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import product

import torch

from uncollapse.losses import retention_loss, supcl_loss


def milliseconds(size: int, classes: int, e: int, device: str, repeats: int) -> tuple[float, float]:
    """Of `supcl_loss` and of `retention_loss`."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(size // 2, 2, 128, generator=generator).to(device).requires_grad_()
    base = torch.randn(size // 2, e, generator=generator).to(device)
    labels = torch.randint(classes, (size // 2,), generator=generator).to(device)
    steps = [
        lambda: supcl_loss(z, labels, alpha=0.2, temperature=0.1),
        lambda: retention_loss(z, base, labels),
    ]
    clock = time.perf_counter if device == "cuda" else time.process_time
    taken: list[list[float]] = [[], []]
    order = random.Random(0)
    for _ in range(repeats):
        for which in order.sample([0, 1], 2):
            z.grad = None
            if device == "cuda":
                torch.cuda.synchronize()
            start = clock()
            steps[which]().backward()
            if device == "cuda":
                torch.cuda.synchronize()
            taken[which].append(clock() - start)
    return tuple(1000 * sorted(each)[len(each) // 5] for each in taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--e", type=int, nargs="+", default=[64, 768])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| N | classes | e | `supcl_loss` | `retention_loss` | of the loss |")
    print("|---|---|---|---|---|---|")
    for size, classes, e in product(arguments.sizes, arguments.classes, arguments.e):
        loss, kept = milliseconds(size, classes, e, arguments.device, arguments.repeats)
        numbers = f"{loss:.1f} ms | {kept:.1f} ms | {kept / loss:.2f}"
        print(f"| {size} | {classes} | {e} | {numbers} |")


if __name__ == "__main__":
    main()
