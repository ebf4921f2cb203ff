"""The benchmark of docs/robustness.md: every run, its raw numbers, the figures of its answers.

    pip install 'uncollapse[benchmark,solar,text]'
    uncollapse embed configs/solar-features.yaml --views 8 -o solar-features.npz
    HF_HUB_OFFLINE=1 python benchmarks/wordnet_features.py wordnet-features.npz
    OMP_NUM_THREADS=1 python benchmarks/robustness.py runs/benchmark --workers 2

Finished runs are kept, so the command goes on where it was stopped: first one seed of everything,
then three, then dials of the training, then heavier doses. Writes docs/study/benchmark.json;
--table trains nothing. The whole takes about an hour of one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

from uncollapse.benchmark import (
    BenchmarkOptions,
    BenchmarkResult,
    agreement,
    changes,
    dial_shares,
    gathered,
    markdown,
    run_benchmark,
)
from uncollapse.progress import Step

STUDY = Path(__file__).parent.parent / "docs" / "study" / "benchmark.json"
STAGES = ({"seeds": 1}, {"seeds": 3}, {"dials": True}, {"dials": True, "doses": 2})
SMALL = ("clean", "imbalance-10", "label-noise-0.2")


def said(step: Step) -> None:
    print(step.text or f"{step.done} of {step.total}: {step.name}", flush=True)


def part(result: BenchmarkResult, *, small: bool) -> BenchmarkResult:
    """The small benchmark's runs (one seed, three damages), or what it has not: other seeds."""
    places = [
        place
        for place, seed in enumerate(result.seed)
        if (seed == 0 and result.damage[place] in SMALL if small else seed > 0)
        or (result.method[place] == "base" and not small)
    ]

    def of(values):
        return tuple(values[place] for place in places)

    return BenchmarkResult(
        data_set=of(result.data_set),
        method=of(result.method),
        damage=of(result.damage),
        seed=of(result.seed),
        embedding=of(result.embedding),
        verdict=of(result.verdict),
        phase=of(result.phase),
        predicted_variance=of(result.predicted_variance),
        columns={name: of(values) for name, values in result.columns.items()},
        arguments=result.arguments,
    )


def figures(result: BenchmarkResult) -> None:
    """What the page's answers rest on, beside the tables."""
    for name in ("training_label", "worst_class", "worst_slice", "retention"):
        print(f"\n## {name}, change by damage\n\n{changes(result, name)}")
    print("\n## change of W by a dial over that by alpha\n")
    for dial, shares in dial_shares(result).items():
        every = ", ".join(f"{data_set} {share:+.2f}" for data_set, share in shares.items())
        print(f"{dial}: {fmean(map(abs, shares.values())):.2f} of it ({every})")
    print("\n## ranks of the small benchmark against seeds and damages that it has not\n")
    for name in ("finer", "training_label", "worst_slice"):
        print(name, f"{agreement(part(result, small=True), part(result, small=False), name):.2f}")
    for data_set, methods in result.arguments.items():
        print(data_set, json.dumps(methods))
    print(f"{result.seconds:.0f} s of runs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=Path, default=Path(), help="Where the features are.")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="Of the runs that are there.")
    options = parser.parse_args()
    for stage in () if options.table else STAGES:
        asked = BenchmarkOptions(files=options.files, workers=options.workers, **stage)
        run_benchmark(options.folder, asked, progress=said)
    result = gathered(options.folder)
    STUDY.write_text((options.folder / "benchmark.json").read_text("utf-8"), "utf-8")
    print(markdown(result, ("finer", "training_label", "instance_variance")))
    figures(result)


if __name__ == "__main__":
    main()
