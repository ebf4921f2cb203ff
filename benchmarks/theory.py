"""How long the theory takes, beside a conic solver on the same program.

    OMP_NUM_THREADS=1 python benchmarks/theory.py [--conic-limit 20]

Prints CPU seconds of one thread (median of the repeats), the certificate gap, the worst of a grid
of settings with 100 classes (--grid-part N: every Nth of its 432), and for every setting that the
conic solver finishes its own time (without building the program), its loss minus ours, and the
ratio.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from uncollapse.theory import Setting, balanced_optimum, predict
from uncollapse.theory._solve import optimum


def timed(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    seconds, answer = [], None
    for _ in range(repeats):
        start = time.process_time()
        answer = function()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), answer


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def closed_forms() -> None:
    base = Setting(classes=10, per_class=50, alpha=0.5, temperature=0.1)
    alpha, tau = np.linspace(0, 1, 1000)[:, None], np.geomspace(1e-3, 1e3, 1000)
    seconds, _ = timed(lambda: balanced_optimum(base, alpha=alpha, temperature=tau), 3)
    print(f"one million (alpha, tau) cells             {seconds:8.3f} s")
    large = Setting(classes=1000, per_class=1_000_000, alpha=0.2, temperature=0.1)
    seconds, _ = timed(lambda: predict(large), 5)
    print(f"predict, 1000 classes of 1,000,000         {seconds:8.4f} s")


def long_tail(classes: int, exponent: float = 1.0) -> list[int]:
    """Sizes that all differ, falling as a power of the rank."""
    rank = np.arange(1, classes + 1)
    return (np.round(20_000 * rank**-exponent).astype(int) + rank[::-1] + 4).tolist()


def unequal() -> None:
    print("\nunequal classes, all sizes different   solve [s]  predict [s]      gap  peak [MB]")
    for classes, repeats in ((100, 3), (1000, 1)):
        for alpha, tau, reduction in (
            (0.5, 0.1, "anchors"),
            (0.2, 0.3, "anchors"),
            (0.5, 0.1, "pairs"),
        ):
            setting = Setting(
                class_counts=long_tail(classes), alpha=alpha, temperature=tau, reduction=reduction
            )
            solving, solution = timed(lambda s=setting: optimum(s), repeats)
            whole, _ = timed(lambda s=setting: predict(s), repeats)
            name = f"{classes} classes, alpha {alpha:g}, tau {tau:g}, {reduction}"
            print(
                f"{name:38s} {solving:9.2f}  {whole:11.2f}  {solution.gap:.0e}  "
                f"{peak_megabytes():9.0f}"
            )


def every_setting(part: int) -> None:
    """100 classes in every corner of the settings: what the slowest and the least certain cost."""
    tail = [2 + i + round(899 * (i / 99) ** 4) for i in range(100)]
    sizes = {
        "10 to 109": list(range(10, 110)),
        "2 to 1000": tail,
        "30 of one, 21 to 1000": [1] * 30 + tail[30:],
    }
    cells = list(
        itertools.product(
            sizes,
            ("exclude", "include"),
            ("anchors", "pairs"),
            (0.05, 0.1, 1.0, 5.0, 100.0, 1000.0),
            (0.0, 1e-4, 1e-3, 0.05, 0.5, 1.0),
        )
    )[::part]
    rows = []
    for cell in cells:
        size, self_pairs, reduction, tau, alpha = cell
        setting = Setting(
            class_counts=sizes[size], self_pairs=self_pairs, reduction=reduction,
            temperature=tau, alpha=alpha,
        )  # fmt: skip
        seconds, prediction = timed(lambda s=setting: predict(s), 1)
        rows.append((seconds, prediction.certificate_gap, cell))
    print(
        f"\n100 classes, {len(rows)} settings: median {statistics.median(r[0] for r in rows):.2f} s"
    )
    for name, row in (("slowest", max(rows)), ("least certain", max(rows, key=lambda r: r[1]))):
        size, self_pairs, reduction, tau, alpha = row[2]
        print(
            f"{name:14s}{row[0]:6.2f} s  gap {row[1]:.0e}  sizes {size}, self pairs {self_pairs}, "
            f"{reduction}, tau {tau:g}, alpha {alpha:g}"
        )


def against_conic(limit: float) -> None:
    from conic import solve_conic

    print("\nthe same program by a conic solver    ours [s]  conic [s]    ratio  conic loss - ours")
    for classes in (3, 6, 12, 24, 48, 96):
        setting = Setting(class_counts=long_tail(classes), alpha=0.5, temperature=0.2)
        ours, solution = timed(lambda s=setting: optimum(s), 3)
        loss, conic = solve_conic(solution.program)
        print(
            f"{classes:3d} classes                          {ours:9.4f}  {conic:9.3f}  "
            f"{conic / ours:7.1f}  {loss - solution.loss:+.1e}"
        )
        if conic > limit:
            print(f"(larger ones left out: more than {limit:g} s)")
            break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conic-limit", type=float, default=20.0, help="stop after so many s")
    parser.add_argument("--grid-part", type=int, default=1, help="every Nth setting of the grid")
    given = parser.parse_args()
    print(f"python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    closed_forms()
    unequal()
    every_setting(given.grid_part)
    against_conic(given.conic_limit)


if __name__ == "__main__":
    main()
