"""What must be known of the rows themselves, whatever was measured of them."""

from __future__ import annotations

from collections.abc import Iterator

from uncollapse.metrics.classes import Classes
from uncollapse.records import Reason


def about_rows(classes: Classes) -> Iterator[Reason]:
    """Reasons for rows that are copies of others, and for codes in place of numbers."""
    if classes.copies:
        rows = sum(moments.samples for moments in classes.units)
        variant = "one-unit" if classes.linked else "each"
        if classes.unknown_copies:
            variant = "unknown"
        elif classes.part_of_copies:
            variant = "part"
        yield Reason.from_code("UC507", variant, copies=classes.copies, rows=rows)
    if classes.stored:
        yield Reason.from_code("UC508", classes.stored)
