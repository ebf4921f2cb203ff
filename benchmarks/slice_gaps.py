"""How often the largest gap between slices is seen: where there is none, and where there is one.

    python benchmarks/slice_gaps.py [--runs 200] [--sites 5 10 30]

720 rows of three classes, three finer labels in each, at some sites at random; `measure` reads the
finer labels out of fold. First they are noise, so that every gap is 0. Then they are read, but at
one site, whose rows say nothing of them. Prints how many intervals leave zero out, and in the
second case name that site.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np

from uncollapse.metrics import ProbeOptions, WithinClassOptions, measure

MEASURES = ("within_class_variance", "knn", "logistic")
# One value of each: choosing among them takes most of the time.
WITHIN = WithinClassOptions(permutations=0, neighbours=(5,), temperatures=(0.1,), strengths=(1.0,))
QUICK = {"permutations": 0, "probe": ProbeOptions(within=WITHIN)}


def run(seed: int, sites: Sequence[int], told: bool) -> Counter[tuple[int, str]]:
    rng = np.random.default_rng(seed)
    labels, fine = np.repeat(np.arange(3), 240), rng.integers(0, 3, 720)
    rows = rng.normal(size=(3, 12))[labels] + 0.5 * rng.normal(size=(720, 12))
    found: Counter[tuple[int, str]] = Counter()
    for count in sites:
        site = rng.integers(0, count, 720)
        known = told * (site != 0)
        own = rows + 2.5 * np.eye(3, 12)[fine] * known[:, None]
        gap = (
            measure(own, labels, fine_labels=fine, slices={"site": site}, **QUICK)
            .slices["site"]
            .gap
        )
        for name in MEASURES:
            seen = gap[name] is not None and gap[name].low > 0
            found[count, name] += seen and (not told or gap[name].smallest == "0")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--sites", type=int, nargs="+", default=[5, 10, 30])
    given = parser.parse_args()
    for told, title in ((False, "no gap"), (True, "one site's finer labels are lost")):
        total: Counter[tuple[int, str]] = Counter()
        for seed in range(given.runs):
            total += run(seed, given.sites, told)
        print(f"{title}: of {given.runs} runs, intervals of the largest gap above zero")
        print(f"{'sites':>8}" + "".join(f"{name:>24}" for name in MEASURES))
        for count in given.sites:
            parts = (f"{100 * total[count, name] / given.runs:.1f}%" for name in MEASURES)
            print(f"{count:>8}" + "".join(f"{part:>24}" for part in parts), flush=True)


if __name__ == "__main__":
    main()
