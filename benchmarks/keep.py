"""What `retention_loss` adds to the loss: time of both, forward and backward, and their ratio.

    python benchmarks/keep.py                      # the table of docs/benchmarks-loss.md
    python benchmarks/keep.py --sizes 512 8192 --classes 10 100 --e 64 768

Two views of each instance, d = 128, random labels and one reference row for each instance: as it
is, with its rows prepared, and prepared on few columns, each once before the steps. CPU time of one
thread, in one shuffled series (on a GPU: wall-clock time). A low quantile, since all are slowed by
what else runs.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import product

import torch

from uncollapse.losses import prepare_reference, retention_loss, supcl_loss

COLUMNS = 64


def milliseconds(size: int, classes: int, e: int, device: str, repeats: int) -> list[float]:
    """Of `supcl_loss`, and of `retention_loss` with a reference in three forms."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(size // 2, 2, 128, generator=generator).to(device).requires_grad_()
    base = torch.randn(size // 2, e, generator=generator).to(device)
    labels = torch.randint(classes, (size // 2,), generator=generator).to(device)
    prepared = [prepare_reference(base, labels, columns=k) for k in (e, COLUMNS)]

    def keeping(reference):
        return lambda: retention_loss(z, reference, labels)

    steps = [lambda: supcl_loss(z, labels, alpha=0.2, temperature=0.1)]
    steps += map(keeping, (base, *prepared))
    clock = time.perf_counter if device == "cuda" else time.process_time
    taken: list[list[float]] = [[] for _ in steps]
    order = random.Random(0)
    for _ in range(repeats):
        for which in order.sample(range(len(steps)), len(steps)):
            z.grad = None
            if device == "cuda":
                torch.cuda.synchronize()
            start = clock()
            steps[which]().backward()
            if device == "cuda":
                torch.cuda.synchronize()
            taken[which].append(clock() - start)
    return [1000 * sorted(each)[len(each) // 5] for each in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 4, 10, 32, 100])
    parser.add_argument("--e", type=int, nargs="+", default=[768])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    heads = "reference as it is | prepared, all columns | prepared"
    print(f"| N | classes | e | `supcl_loss` | {heads}, {COLUMNS} columns |")
    print("|---" * 7 + "|")
    for size, classes, e in product(arguments.sizes, arguments.classes, arguments.e):
        loss, *kept = milliseconds(size, classes, e, arguments.device, arguments.repeats)
        cells = [f"{loss:.1f} ms", *(f"{each:.1f} ms, {each / loss:.2f}" for each in kept)]
        print(f"| {size} | {classes} | {e} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
