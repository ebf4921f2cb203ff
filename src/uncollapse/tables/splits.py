"""Names of the parts of data, the same for every command, and which rows are judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uncollapse.errors import InputError, did_you_mean
from uncollapse.samples import row_hashes
from uncollapse.tables._shard import Array, Shard

SPLITS = ("train", "validation", "test")
# What files, folders and columns call them, in any case; of several arrays the last name counts.
SPLIT_WORDS = {
    "train": ("training", "train"),
    "validation": ("dev", "val", "validation", "valid"),
    "test": ("testing", "test"),
}
_SPLIT_OF = {word: split for split, words in SPLIT_WORDS.items() for word in words}
# The column that says the part of each row, and the parts that are judged, the first that is there.
SPLIT_COLUMN = "split"
_JUDGED = ("test", "validation")
ALL = "all"
_ROWS = 1 << 16


def part_of(word: Any) -> str:
    """Train, validation or test, whichever a word means; "" for another."""
    return _SPLIT_OF.get(str(word).lower(), "")


def part_names(
    values: Sequence[Any],
    origin: str,
    rename: Mapping[str, str] | None = None,
    remedy: str = "set split.rename",
) -> Array:
    """Words for parts as train, validation and test; `origin` says where they stand.

    What `rename` says of a word holds for every word that means the same.

    Examples:
        >>> part_names(["train", "Val", "test"], "column 'split'").tolist()
        ['train', 'validation', 'test']
    """

    def part(word: Any) -> str:
        return part_of(word) or str(word).lower()

    renamed = {part(word): target for word, target in (rename or {}).items()}
    parts = {value: renamed.get(part(value), part(value)) for value in set(values)}
    unknown = {value for value, name in parts.items() if name not in SPLITS}
    if unknown:
        listed = ", ".join(sorted(map(repr, unknown))[:5])
        expected = f"train, validation (val, valid, dev) or test in {origin}"
        raise InputError(expected, listed, remedy)
    return np.array([parts[value] for value in values])


def distinct_rows(rows: Array) -> int:
    """Number of different rows (N, ...)."""
    return len(np.unique(row_hashes(rows)))


def known_rows(rows: Array, split: Array) -> dict[str, int]:
    """How many rows of validation and of test are exact copies of training rows."""
    hashes = row_hashes(rows)
    training = np.unique(hashes[split == "train"])
    counts = {name: int(np.isin(hashes[split == name], training).sum()) for name in SPLITS[1:]}
    return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class Judged:
    """The rows that are judged: those with one of these words in the column of splits."""

    part: str
    words: frozenset[str]

    def rows(self, column: Array) -> Array:
        """Their numbers."""
        return np.flatnonzero(np.isin(column.astype(str), list(self.words)))


def chosen_part(words: Collection[str], wanted: str | None, where: str) -> str:
    """The part that is judged, of rows with these words in their column of splits.

    The one that is wanted, else test, else validation, else train; "all" where that is wanted, or
    no word is one for a part.

    Raises:
        InputError: No row of the part that is wanted, or words beside those for parts.
    """
    known = {word for word in words if part_of(word)}
    if wanted == ALL or (wanted is None and not known):
        return ALL
    if wanted is None:
        part_names(sorted(words), where, remedy="rename them, or name the part with --split")
        present = {part_of(word) for word in known}
        return next((name for name in _JUDGED if name in present), "train")
    part = part_of(wanted) or wanted
    if part not in {part_of(word) or word for word in words}:
        there = sorted(words)
        raise InputError(
            f"rows of split {wanted} in {where}",
            ", ".join(there[:5]) or "none",
            did_you_mean(wanted, there, f"name one that is there, or --split {ALL}", "--split "),
        )
    return part


def judged_rows(
    shards: Sequence[Shard],
    wanted: str | None = None,
    roles: Collection[str] = (),
    *,
    partition: bool = False,
) -> Judged | None:
    """Which rows are judged, by the column `split`; None for all.

    Those of the part that `chosen_part` says. A column that has another role, or holds no word for
    a part, does not count. A partition of rows may hold none of the part, which must be said.

    Raises:
        InputError: As `chosen_part`; a partition, and the part is not said.
    """
    everywhere = all(SPLIT_COLUMN in {column.name for column in s.columns} for s in shards)
    if not everywhere or wanted == ALL or SPLIT_COLUMN in roles:
        return None
    where = f"column {SPLIT_COLUMN!r} of {shards[0].path}"
    if partition and wanted is None:
        raise InputError(
            f"the part that is measured, as there is a {where}",
            "none named",
            f'say split="test", or split="{ALL}"',
        )
    words: set[str] = set()
    for shard in shards:
        for part in shard.read([], [SPLIT_COLUMN], _ROWS):
            words |= set(np.unique(part[SPLIT_COLUMN].astype(str)).tolist())
    judged = part_of(wanted) or str(wanted) if partition else chosen_part(words, wanted, where)
    if judged == ALL:
        return None
    return Judged(judged, frozenset(word for word in words if (part_of(word) or word) == judged))
