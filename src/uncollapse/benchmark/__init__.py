"""The public benchmark: methods against class collapse on data sets, clean and damaged.

Examples:
    >>> from uncollapse.benchmark import MethodSpec, built_in
    >>> built_in(MethodSpec)["supcon"].loss
    'supcon'
"""

from uncollapse.benchmark.gathering import gathered
from uncollapse.benchmark.ranks import agreement, tabled
from uncollapse.benchmark.run import BenchmarkOptions, check_there, run_benchmark
from uncollapse.benchmark.specs import DataSetSpec, MethodSpec, built_in, found
from uncollapse.benchmark.table import TITLES, cells, changes, dial_shares, markdown
from uncollapse.records import BenchmarkResult, BenchmarkTable

__all__ = [
    "TITLES",
    "BenchmarkOptions",
    "BenchmarkResult",
    "BenchmarkTable",
    "DataSetSpec",
    "MethodSpec",
    "agreement",
    "built_in",
    "cells",
    "changes",
    "check_there",
    "dial_shares",
    "found",
    "gathered",
    "markdown",
    "run_benchmark",
    "tabled",
]
