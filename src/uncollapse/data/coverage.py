"""What the batches of an epoch reach of the training rows, leave out and repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uncollapse.data.permutation_stream import Integers


@dataclass(frozen=True)
class Coverage:
    """What one epoch's batches reach of the training rows.

    Attributes:
        epoch: The epoch.
        classes: Class codes, -1 first if there are unlabelled rows; shape (m,).
        samples: Rows of each class.
        reached: Of these, how many are in at least one batch.
        repeated: Places in batches beyond the first of each row.

    Examples:
        >>> import numpy as np
        >>> coverage = Coverage(2, *np.array([[-1, 0, 1], [9, 4, 2], [0, 4, 2], [0, 4, 0]]))
        >>> coverage.text
        'epoch 2 reaches 6 of 15 rows; 9 unlabelled are left out; 4 places repeat a row'
        >>> coverage.unreached, coverage.unreached_classes
        (9, (-1,))
    """

    epoch: int
    classes: Integers
    samples: Integers
    reached: Integers
    repeated: Integers

    @property
    def unreached(self) -> int:
        """Rows that no batch of the epoch holds, unlabelled ones included."""
        return int((self.samples - self.reached).sum())

    @property
    def unreached_classes(self) -> tuple[int, ...]:
        """Codes of classes of which no row is reached; -1 stands for unlabelled rows."""
        return tuple(int(c) for c in self.classes[self.reached == 0])

    @property
    def text(self) -> str:
        """One line that says which rows and classes the epoch leaves out or repeats."""
        total = int(self.samples.sum())
        parts = [f"epoch {self.epoch} reaches {total - self.unreached:,} of {total:,} rows"]
        labelled = self.classes >= 0
        unlabelled = int((self.samples - self.reached)[~labelled].sum())
        if unlabelled:
            parts.append(f"{unlabelled:,} unlabelled are left out")
        missed = int((self.samples - self.reached)[labelled].sum())
        if missed:
            parts.append(f"{missed:,} not reached")
        without = [code for code in self.unreached_classes if code >= 0]
        if without:
            parts.append(f"among them all of class {first_few(without)}")
        if self.repeated.any():
            parts.append(f"{int(self.repeated.sum()):,} places repeat a row")
        return "; ".join(parts)


def first_few(items: Sequence[object], most: int = 5) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(str(item) for item in items[:most]) + more
