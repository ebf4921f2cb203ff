"""Does the verdict separate what lost its finer labels from what did not?

    python benchmarks/calibration.py [--page docs/retention.md]
    python benchmarks/calibration.py --choose

Judges every trained network of docs/study/retention-*.json by the product's own `judge`, with what
was measured of it on test rows: without a reference, with retention, with finer labels too. Rates
are those of odd seeds; `--choose` prints which margins do best on even ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retention_tables import BAD, Entry, best, loss, lost_against, read, show

from uncollapse.metrics.variance import Decomposition
from uncollapse.metrics.verdict import Known, judge
from uncollapse.records import (
    UNKNOWN,
    Estimate,
    Interval,
    Margins,
    Prediction,
    ReferenceComparison,
    ReferenceProbe,
    Retention,
    Variances,
)

FLAGGED = ("at-risk", "collapsed")
# Points lost by a network, given the reference that it is judged by.
Lost = Callable[[Entry, str | None], float]


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
    entry: Entry,
    reference: str | None,
    finer: bool = False,
    margins: Margins | None = None,
    predicted: bool = False,
) -> str:
    """What the product says of a network, given a reference (and its finer labels) or nothing.

    With `predicted`, theory's prediction for its setting is given too.
    """
    found = entry.found["test"]
    kept = found["retention"].get(reference)
    known = Known(reference=kept and _comparison(kept, str(reference), finer))
    prediction = Prediction.from_dict(entry.prediction) if predicted else None
    return judge(_levels(found), (), margins or Margins(), prediction, known)[0]


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


# What the verdict is given: nothing, a layer's reference, its finer labels too; "both" pools them.
CASES = (
    ("head: nothing else", "projector", None, False),
    ("head: its own backbone", "projector", "backbone", False),
    ("head: the base", "projector", "base", False),
    ("backbone: the base", "backbone", "base", False),
    ("head: its own backbone, finer labels", "projector", "backbone", True),
    ("head: the base, finer labels", "projector", "base", True),
    ("backbone: the base, finer labels", "backbone", "base", True),
    ("both layers: the base", "both", "base", False),
    ("both layers: the base, finer labels", "both", "base", True),
)


def lost_against_reference(entry: Entry, reference: str | None) -> float:
    """Ten-shot accuracy below that of the reference; without one, of the head's own backbone."""
    return lost_against(entry, reference or "backbone")


def half(entries: Iterable[Entry], which: int) -> list[Entry]:
    """Trained networks of even (0) or odd (1) seeds."""
    return [entry for entry in entries if entry.trained and entry.seed % 2 == which]


def rates_of(
    entries: Iterable[Entry],
    case: tuple[str, str, str | None, bool],
    lost: Lost,
    margins: Margins | None = None,
) -> Rates:
    """How the verdicts of one case fall."""
    _, layer, reference, finer = case
    chosen = [entry for entry in entries if layer in (entry.layer, "both")]
    return rates(
        (lost(entry, reference) > BAD, verdict(entry, reference, finer, margins))
        for entry in chosen
    )


def worth_of_margins(entries: list[Entry], field: str) -> dict[float, float]:
    """By margin, how near even seeds come to 90 % of the bad and 80 % of the good; at most 1.

    Of the heads against their own backbone, by retention; by finer labels against both references.
    """
    even = half(entries, 0)
    names = ["head: its own backbone"]
    if field == "fine_loss":
        names = ["head: its own backbone, finer labels", "head: the base, finer labels"]
    cases = [case for case in CASES if case[0] in names]
    worth: dict[float, float] = {}
    for margin in [step / 100 for step in range(2, 91)]:
        judged_by = replace(Margins(), **{field: margin})
        found = [rates_of(even, case, lost_against_reference, judged_by) for case in cases]
        worth[margin] = min(min(each.flagged / 0.9, each.healthy / 0.8, 1.0) for each in found)
    return worth


def table(entries: list[Entry], lost: Lost) -> Iterator[str]:
    """Rates of every case on the reported seeds."""
    yield (
        "| what is given | bad | of them at-risk or collapsed | healthy"
        " | good | of them healthy | at-risk |"
    )
    yield "|---" * 7 + "|"

    def percent(part: float, count: int) -> str:
        return f"{100 * part:.0f}%" if count else ""

    for case in CASES:
        found = rates_of(half(entries, 1), case, lost)
        bad = [percent(part, found.bad) for part in (found.flagged, found.missed)]
        good = [percent(part, found.good) for part in (found.healthy, found.blamed)]
        cells = [found.bad, *bad, found.good, *good]
        yield f"| {case[0]} | {' | '.join(map(str, cells))} |"


def readings(entries: list[Entry]) -> dict[str, Lost]:
    """What a network has lost, by what it is held against."""
    ceilings = best(entries)

    def against_best(entry: Entry, reference: str | None) -> float:
        return loss(entry, ceilings)

    def against_either(entry: Entry, reference: str | None) -> float:
        return max(against_best(entry, reference), lost_against_reference(entry, reference))

    return {
        "the reference": lost_against_reference,
        "either": against_either,
        "the best setting": against_best,
    }


def tables(folder: Path) -> dict[str, Iterator[str]]:
    """The tables of the page by name."""
    entries, _ = read(folder)
    return {f"bad against {name}": table(entries, lost) for name, lost in readings(entries).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/study"))
    parser.add_argument("--page", type=Path, help="Page whose tables are written anew.")
    parser.add_argument("--choose", action="store_true", help="Print what even seeds choose.")
    options = parser.parse_args()
    if options.choose:
        entries, _ = read(options.folder)
        for field in ("retention", "fine_loss"):
            worth = worth_of_margins(entries, field)
            best_ones = [margin for margin, value in worth.items() if value == max(worth.values())]
            print(f"{field}: {min(best_ones)} to {max(best_ones)}, worth {max(worth.values()):.2f}")
    else:
        show(tables(options.folder), options.page)


if __name__ == "__main__":
    main()
