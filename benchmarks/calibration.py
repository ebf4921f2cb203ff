"""Does the verdict separate what lost its finer labels from what did not?

    python benchmarks/calibration.py [docs/study]

Judges every trained network of docs/study/retention-*.json by the product's own `judge`, with what
was measured of it on test rows: without a reference, with retention, with finer labels too. Margins
were chosen on even seeds (`--choose` prints that); rates are printed for odd ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from retention_tables import BAD, Entry, best, loss, read

from uncollapse.metrics.variance import Decomposition
from uncollapse.metrics.verdict import Known, judge
from uncollapse.records import (
    UNKNOWN,
    Estimate,
    Interval,
    Margins,
    ReferenceComparison,
    ReferenceProbe,
    Retention,
    Variances,
)

FLAGGED = ("at-risk", "collapsed")


def _levels(found: dict[str, Any]) -> Decomposition:
    """What `judge` is given of the variances."""

    def estimate(name: str) -> Estimate:
        return Estimate(*(found[name][key] for key in ("estimate", "low", "high")))

    variances = Variances(
        within_class_variance=replace(UNKNOWN, **found["within"]),
        total_variance=replace(UNKNOWN, **found["total"]),
    )
    return Decomposition(variances, estimate("share"), UNKNOWN, (), enough_units=True)


def _comparison(found: dict[str, Any], name: str, finer: bool) -> ReferenceComparison:
    """The reference's block of the record, with or without finer labels."""
    keys = ("estimate", "low", "high", "null")
    probe = None
    if finer:
        read = found["probe"]
        probe = ReferenceProbe(
            read["shots"], read["embedding"], read["reference"], Interval(**read["difference"])
        )
    return ReferenceComparison(
        name=name,
        rows=1,
        joined_by="position",
        retention=Retention(*(found[key] for key in keys)),
        classes=(),
        probe=probe,
    )


def verdict(
    entry: Entry, reference: str | None, finer: bool = False, margins: Margins | None = None
) -> str:
    """What the product says of a network, given a reference (and its finer labels) or nothing."""
    found = entry.found["test"]
    kept = found["retention"].get(reference)
    known = Known(reference=kept and _comparison(kept, str(reference), finer))
    return judge(_levels(found), (), margins or Margins(), known=known)[0]


@dataclass(frozen=True)
class Rates:
    """How the verdicts of some networks fall, against what was lost."""

    bad: int
    good: int
    flagged: float  # of the bad, at-risk or collapsed
    healthy: float  # of the good
    missed: float  # of the bad, called healthy
    blamed: float  # of the good, at-risk or collapsed


def rates(judged: Iterable[tuple[bool, str]]) -> Rates:
    """Of pairs (bad, verdict)."""
    pairs = list(judged)
    bad = [said for is_bad, said in pairs if is_bad]
    good = [said for is_bad, said in pairs if not is_bad]

    def part(said: list[str], words: tuple[str, ...]) -> float:
        return sum(word in words for word in said) / len(said) if said else float("nan")

    return Rates(
        len(bad), len(good), part(bad, FLAGGED), part(good, ("healthy",)),
        part(bad, ("healthy",)), part(good, FLAGGED),
    )  # fmt: skip
