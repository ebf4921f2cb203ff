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
from functools import partial
from pathlib import Path
from typing import Any

from retention_tables import BAD, Entry, best, loss, lost_against, read

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


# What the verdict is given: nothing, a layer's reference, its finer labels too.
CASES = (
    ("projector, no reference", "projector", None, False),
    ("projector, own backbone", "projector", "backbone", False),
    ("projector, base encoder", "projector", "base", False),
    ("backbone, base encoder", "backbone", "base", False),
    ("projector, own backbone, finer labels", "projector", "backbone", True),
    ("projector, base encoder, finer labels", "projector", "base", True),
    ("backbone, base encoder, finer labels", "backbone", "base", True),
)
# What counts as bad: the ten-shot finer label is more than 10 points below that of ...
BASELINES: dict[str, Callable[[list[Entry]], Callable[[Entry], float]]] = {
    "the best setting of that data and layer": lambda entries: partial(
        loss, ceilings=best(entries)
    ),
    "its own reference": lambda entries: lost_against_reference,
}


def lost_against_reference(entry: Entry) -> float:
    """Ten-shot accuracy below that of its own backbone, for a backbone that of the base."""
    return lost_against(entry, "backbone" if entry.layer == "projector" else "base")


def odd(entries: Iterable[Entry], which: int = 1) -> list[Entry]:
    """Trained networks of the half of the seeds that is reported (1) or chosen on (0)."""
    return [entry for entry in entries if entry.trained and entry.seed % 2 == which]


def table(entries: list[Entry], lost: Callable[[Entry], float]) -> Iterator[str]:
    """Rates of every case on the reported seeds."""
    yield "| evidence | bad | at-risk or collapsed | healthy | good | healthy | at-risk |"
    yield "|---" * 7 + "|"
    for name, layer, reference, finer in CASES:
        chosen = [entry for entry in odd(entries) if entry.layer == layer]
        found = rates((lost(e) > BAD, verdict(e, reference, finer)) for e in chosen)
        shares = (found.flagged, found.missed), (found.healthy, found.blamed)
        bad, good = ([f"{100 * part:.0f} %" for part in pair] for pair in shares)
        yield f"| {name} | {found.bad} | {' | '.join(bad)} | {found.good} | {' | '.join(good)} |"


def chosen_margin(entries: list[Entry], lost: Callable[[Entry], float]) -> tuple[float, Rates]:
    """The margin of retention that does best on even seeds, own backbones being the reference.

    Best: the larger of the two shortfalls, from 90 % of the bad and 80 % of the good, is smallest.
    Of margins that do equally well it is the middle one.
    """
    own = [entry for entry in odd(entries, 0) if entry.layer == "projector"]
    margins = [step / 100 for step in range(10, 91)]
    found = [
        rates(
            (lost(e) > BAD, verdict(e, "backbone", margins=replace(Margins(), retention=margin)))
            for e in own
        )
        for margin in margins
    ]
    worth = [min(each.flagged / 0.9, each.healthy / 0.8, 1.0) for each in found]
    best_ones = [k for k, value in enumerate(worth) if value == max(worth)]
    middle = best_ones[len(best_ones) // 2]
    return margins[middle], found[middle]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/study"))
    parser.add_argument("--choose", action="store_true", help="Show what even seeds choose.")
    options = parser.parse_args()
    entries, _ = read(options.folder)
    if options.choose:
        for name, baseline in BASELINES.items():
            print(name, *chosen_margin(entries, baseline(entries)))
    for name, baseline in BASELINES.items():
        print(f"\nBad: more than 10 points of the ten-shot finer label below {name}\n")
        print("\n".join(table(entries, baseline(entries))))


if __name__ == "__main__":
    main()
