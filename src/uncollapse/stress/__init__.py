"""Robustness: what a setting stands, and what breaks it first.

`uncollapse.stress` is this room and its function at once: called, it trains a setting as it is and
under damages of its data, and compares.

Examples:
    >>> import uncollapse
    >>> callable(uncollapse.stress)
    True
    >>> from pathlib import Path
    >>> from uncollapse.training import load_config
    >>> config = load_config(Path("digits.yaml"))  # doctest: +SKIP
    >>> options = uncollapse.StressOptions(imbalance=(10, 100))  # doctest: +SKIP
    >>> uncollapse.stress(config, Path("runs/stress"), options=options).first  # doctest: +SKIP
    'imbalance-100'
"""

import inspect
import sys
from types import ModuleType

from uncollapse.records import StressOptions, StressResult
from uncollapse.stress.corruptions import corrupted
from uncollapse.stress.damages import (
    imbalanced_counts,
    mislabelled,
    most_similar,
    near_duplicates,
    transitions,
)
from uncollapse.stress.run import stress

__all__ = [
    "StressOptions",
    "StressResult",
    "corrupted",
    "imbalanced_counts",
    "mislabelled",
    "most_similar",
    "near_duplicates",
    "stress",
    "transitions",
]


class _Room(ModuleType):
    __call__ = staticmethod(stress)


__signature__ = inspect.signature(stress)
# The room under the function's name too: the two are one, in whatever order they are imported.
sys.modules[__name__].__class__ = _Room
globals()["stress"] = sys.modules[__name__]
