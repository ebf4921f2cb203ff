"""A file of rows: which columns it has, how many rows, and its rows part by part."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.records import Count, Document, parse_json

Array = NDArray[Any]


@dataclass(frozen=True)
class Column:
    """A column: "matrix" for a vector per row, "number" for one number, "name" for all else."""

    name: str
    kind: Literal["matrix", "number", "name"]
    shape: tuple[int, ...] = ()  # of one entry, where it is known
    type: str = ""  # as its file names it


class Shard(ABC):
    """What every format offers."""

    path: Path
    columns: list[Column]
    rows: int | None = None  # None where only reading tells
    untyped: ClassVar[bool] = False  # whether names are text because the format has no types
    # Names of the codes of the columns that hold codes; they are read as these names.
    classes: Mapping[str, tuple[str, ...]] = {}

    def is_untyped(self, name: str) -> bool:
        """Whether a column's names are text because nothing says their type."""
        return self.untyped

    @property
    def about(self) -> str:
        """The JSON that `uncollapse embed` wrote into it; empty without."""
        return ""

    @property
    def size(self) -> float:
        """Bytes of memory that its rows may take; infinite where nothing tells."""
        return 2.0 * self.path.stat().st_size

    def fingerprint(self) -> tuple[int, str]:
        """Bytes, and the SHA-256 of them."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return self.path.stat().st_size, digest

    @property
    def stored(self) -> Shard:
        """The file itself, where this is it with other columns or another name."""
        return self

    @abstractmethod
    def read(
        self, vectors: Sequence[str], names: Sequence[str], batch: int, fill_ragged: bool = False
    ) -> Iterator[dict[str, Array]]:
        """Columns of numbers, and of labels and ids (one per row, None where missing), in parts.

        With `fill_ragged` a vector of another length becomes NaN instead of an error.
        """


def unreadable(path: Path, what: str, error: BaseException) -> InputError:
    """The error for a file that is not what its name says, or is cut short."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        f"{what} in {path}",
        f"a file that cannot be read as one ({reason})",
        "check that it is complete and that its name ends as its format does",
    )


def without_package(package: str, path: Path) -> InputError:
    """The error for a format whose reader is not installed."""
    return InputError(
        f"{package}, which reads {path}",
        "an environment without it",
        "pip install 'uncollapse[measure]'",
    )


@dataclass(frozen=True)
class Description(Document):
    """Names of the columns that a file of embeddings has, as far as it says."""

    kind: ClassVar[str] = "embeddings"
    layers: tuple[str, ...] = ()
    label: str | None = None
    fine: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    views: Count = 0  # augmented, of each instance; 0 for one row per instance, not augmented
    plain_first: bool = False  # whether each instance as it is comes before its views (view 0)


def description_of(shard: Shard) -> Description:
    """The description in a parquet file (metadata) or an npz archive (the array "about").

    Raises:
        InputError: It is damaged.
    """
    place = f"the metadata of {shard.path}"
    about = parse_json(shard.about or "{}", f"JSON in {place}", "embed the run again")
    return Description.from_dict(about, place)
