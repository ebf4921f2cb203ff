"""What is said where one direction makes the share."""

from __future__ import annotations

from collections.abc import Iterator

from uncollapse.records import FirstDirection, Reason, Verdict


def one_direction(verdict: Verdict, found: FirstDirection | None, least: float) -> Iterator[Reason]:
    """That a share which is not collapsed lies in one direction, if nearly all of it does.

    What is left beside a noise dimension is not quite nothing: rows shrink where they are divided
    by a norm that holds the noise. So the margin is that of the share, and half of it.
    """
    if found is None or found.without_inside is None or found.share is None:
        return
    if verdict == "not-collapsed" and found.without_inside < min(least, found.share / 2):
        values = {"share": found.share, "without": found.without_inside, "low": least}
        yield Reason.from_code("UC212", **values)


def another_direction(found: FirstDirection | None, classes: int) -> Iterator[Reason]:
    """That the share doubles without the direction of most variance, if it does.

    Of two classes that direction may be the one between them: all that is left is then inside
    classes, whatever it is.
    """
    if found is None or found.without is None or found.share is None or classes < 3:
        return
    if found.without > 2 * found.share:
        values = {"part": found.of_total, "share": found.share, "without": found.without}
        yield Reason.from_code("UC510", **values)
