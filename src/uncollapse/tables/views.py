"""Files that hold each instance as it is before its augmented views: what is read of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from uncollapse.errors import InputError
from uncollapse.tables._shard import Array, Column, Shard, description_of

# Column of the number of a view in tables; 0 is the instance as it is.
VIEW = "view"


class OneKind(Shard):
    """The instances as they are, a row each, or their augmented views alone."""

    def __init__(self, whole: Shard, views: bool) -> None:
        self.path, self.classes, self._whole, self._views = whole.path, whole.classes, whole, views
        self.columns = whole.columns
        self._numbered = VIEW in {column.name for column in whole.columns}
        if not self._numbered:  # arrays, an entry of (1 + p, d) for each instance
            self.rows = whole.rows
            self.columns = [self._of_one(column) for column in whole.columns]

    def _of_one(self, column: Column) -> Column:
        if len(column.shape) < 2:
            return column
        views, *rest = column.shape
        return replace(column, shape=(views - 1, *rest) if self._views else (*rest,))

    @property
    def about(self) -> str:
        """As in the file."""
        return self._whole.about

    @property
    def size(self) -> float:
        """As in the file."""
        return self._whole.size

    def fingerprint(self) -> tuple[int, str]:
        """Those of the file."""
        return self._whole.fingerprint()

    def read(
        self, vectors: Sequence[str], names: Sequence[str], batch: int, fill_ragged: bool = False
    ) -> Iterator[dict[str, Array]]:
        """Rows in order."""
        wanted = list(dict.fromkeys([*names, *[VIEW] * self._numbered]))
        for part in self._whole.read(vectors, wanted, batch, fill_ragged):
            if self._numbered:
                if part[VIEW].dtype.kind not in "iu":
                    where = f"column {VIEW!r} of {self.path}"
                    raise InputError(f"numbers of views in {where}", "others", "embed again")
                rows = (part[VIEW] > 0) == self._views
                yield {name: part[name][rows] for name in (*vectors, *names)}
            else:
                chosen = slice(1, None) if self._views else 0
                several = [name for name in vectors if part[name].ndim > 2]
                yield part | {name: part[name][:, chosen] for name in several}


def of_one_kind(shard: Shard, *, views: bool) -> Shard:
    """The shard itself where it holds one kind of rows."""
    if '"plain_first"' not in shard.about:  # others may hold a text of their own under that name
        return shard
    about = description_of(shard)
    return OneKind(shard, views) if about.plain_first and about.views else shard
