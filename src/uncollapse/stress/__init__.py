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
from uncollapse.stress.corruptions import check_corruption, corrupted
from uncollapse.stress.damages import (
    imbalanced_counts,
    mislabelled,
    most_similar,
    near_duplicates,
    transitions,
)
from uncollapse.stress.data import Damaged, damaged, subset, test_part
from uncollapse.stress.doses import changes_of, fitting
from uncollapse.stress.foretold import foretell
from uncollapse.stress.jobs import folder_of, scale_weights
from uncollapse.stress.run import stress
from uncollapse.stress.scores import Examined, Reader, labels_read

__all__ = [
    "Damaged",
    "Examined",
    "Reader",
    "StressOptions",
    "StressResult",
    "changes_of",
    "check_corruption",
    "corrupted",
    "damaged",
    "fitting",
    "folder_of",
    "foretell",
    "imbalanced_counts",
    "labels_read",
    "mislabelled",
    "most_similar",
    "near_duplicates",
    "scale_weights",
    "stress",
    "subset",
    "test_part",
    "transitions",
]


class _Room(ModuleType):
    __call__ = staticmethod(stress)


__signature__ = inspect.signature(stress)
# The room under the function's name too: the two are one, in whatever order they are imported.
sys.modules[__name__].__class__ = _Room
globals()["stress"] = sys.modules[__name__]
