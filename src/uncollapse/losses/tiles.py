"""The similarity matrix as a list of tiles; no more than one of them needs to exist at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from uncollapse.losses.grouping import Grouping

__all__ = ["Layout", "Scope", "Tile", "default_tile_size", "tiles_of"]

# Which samples j the sum of anchor i runs over.
Scope = Literal["all", "others", "own class", "other classes"]

_SMALL_BATCH = 1024
# Classes up to this size share a tile, since more work in one operation costs less than another.
_SMALL_CLASS = 96
_SMALL_CLASS_GPU = 256
# A mask over this many entries costs as much as hiding one block.
_ENTRIES_PER_BLOCK = 4096


@dataclass(frozen=True)
class Layout:
    """The anchors whose rows this process computes, against all samples of the batch.

    Attributes:
        rows: (R, d) anchors, scaled so that rows @ columns.T are the logits, in the batch's order.
        columns: (N, d) all samples, sorted by class; `rows` itself if this process has them all.
        grouping: Classes and instances of the columns.
        own_column: (R,) int64 ascending, the column that each row is; None for rows = columns.
        tile_size: Largest side of a tile.
        largest_logit: A bound on the magnitude of every logit.
        threads: How many threads may share the tiles.
    """

    rows: Tensor
    columns: Tensor
    grouping: Grouping
    own_column: Tensor | None
    tile_size: int
    largest_logit: float
    threads: int

    @property
    def is_symmetric(self) -> bool:
        """Whether tile (r, c) holds tile (c, r) as well, transposed."""
        return self.own_column is None

    def of_rows(self, values: Tensor) -> Tensor:
        """The part of a vector over columns, or a matrix, that belongs to the rows."""
        return values if self.own_column is None else values.index_select(0, self.own_column)


@dataclass(frozen=True)
class Tile:
    """Rows by columns of the similarity matrix.

    Attributes:
        rows: Range of rows.
        columns: Range of columns.
        mirrored: Whether the tile stands for its transpose too, which no other tile does.
        hides_self: Rows and columns (within the tile) of entries of a sample with itself that are
            out of scope; None without such entries.
        hides_class: "own" if entries of two samples of one class are out of scope, "other" if
            those of two classes are; None if there are no such entries here.
        hidden_blocks: The same entries as blocks, where they are few; then `hides_class` is None.
    """

    rows: slice
    columns: slice
    mirrored: bool
    hides_self: tuple[Tensor, Tensor] | None
    hides_class: Literal["own", "other"] | None
    hidden_blocks: tuple[tuple[slice, slice], ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def logits(self, layout: Layout, storage: Tensor) -> Tensor:
        """The tile's logits in `storage`, those out of scope too."""
        height, width = self.shape
        out = storage[: height * width].view(height, width)
        return torch.mm(layout.rows[self.rows], layout.columns[self.columns].T, out=out)

    def hide(self, layout: Layout, values: Tensor) -> None:
        """Put -inf where an entry is out of scope."""
        if self.hides_class is not None:
            classes = layout.grouping.classes.of
            of_rows = layout.of_rows(classes)[self.rows]
            compare = torch.eq if self.hides_class == "own" else torch.ne
            hidden = compare(of_rows[:, None], classes[self.columns][None, :])
            values.masked_fill_(hidden, -torch.inf)
        for block in self.hidden_blocks:
            values[block] = -torch.inf
        if self.hides_self is not None:
            values[self.hides_self] = -torch.inf


def default_tile_size(sample_count: int, device: torch.device) -> int:
    """Largest side of a tile: in cache on a CPU, large enough to fill a GPU."""
    if device.type != "cpu":
        return 4096
    return 256 if sample_count <= _SMALL_BATCH else 512


def tiles_of(layout: Layout, scope: Scope) -> Iterator[Tile]:
    """All tiles that hold an entry of the scope, in an order that depends on the sizes only."""
    own = np.arange(len(layout.columns))
    if layout.own_column is not None:
        own = layout.own_column.cpu().numpy()
    if scope == "own class":
        blocks = _class_blocks(layout, own)
    else:
        blocks = [(slice(0, len(layout.rows)), slice(0, len(layout.columns)))]
    classes = None
    if scope in ("own class", "other classes"):
        classes = layout.grouping.classes.of.cpu().numpy()
    for block_rows, block_columns in blocks:
        for rows in _pieces(block_rows, layout.tile_size):
            first = rows.start if layout.is_symmetric else block_columns.start
            for columns in _pieces(slice(first, block_columns.stop), layout.tile_size):
                tile = _tile(layout, scope, rows, columns, own, classes)
                if tile is not None:
                    yield tile


def _pieces(whole: slice, size: int) -> Iterator[slice]:
    for start in range(whole.start, whole.stop, size):
        yield slice(start, min(start + size, whole.stop))


def _tile(
    layout: Layout,
    scope: Scope,
    rows: slice,
    columns: slice,
    own: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64] | None,
) -> Tile | None:
    """One tile, or None if all its entries are out of scope."""
    hides_class: Literal["own", "other"] | None = None
    hidden: tuple[tuple[slice, slice], ...] = ()
    if classes is not None:
        low_row, high_row = classes[own[rows.start]], classes[own[rows.stop - 1]]
        low_column, high_column = classes[columns.start], classes[columns.stop - 1]
        one_class = low_row == high_row == low_column == high_column
        if scope == "own class":
            hides_class = None if one_class else "other"
        elif one_class:
            return None
        elif low_row <= high_column and low_column <= high_row:
            shared = np.arange(max(low_row, low_column), min(high_row, high_column) + 1)
            entries = (rows.stop - rows.start) * (columns.stop - columns.start)
            if len(shared) > max(8, entries // _ENTRIES_PER_BLOCK):
                hides_class = "own"
            else:
                of_rows, of_columns = classes[own[rows]], classes[columns]
                hidden = tuple(zip(_runs(of_rows, shared), _runs(of_columns, shared), strict=True))
    hides_self = None
    if scope in ("others", "own class"):
        # `own` ascends, so the rows whose own column is in this tile are consecutive.
        first, last = np.searchsorted(own[rows], [columns.start, columns.stop])
        if last > first:
            device = layout.rows.device
            own_columns = own[rows][first:last] - columns.start
            hides_self = (
                torch.arange(int(first), int(last), device=device),
                torch.as_tensor(own_columns, device=device),
            )
    mirrored = layout.is_symmetric and columns.start > rows.start
    return Tile(rows, columns, mirrored, hides_self, hides_class, hidden)


def _runs(classes: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> list[slice]:
    """Where each of the wanted classes stands among ascending classes."""
    first = np.searchsorted(classes, wanted).tolist()
    last = np.searchsorted(classes, wanted, side="right").tolist()
    return [slice(*ends) for ends in zip(first, last, strict=True)]


def _class_blocks(layout: Layout, own: npt.NDArray[np.int64]) -> list[tuple[slice, slice]]:
    """Rows and columns of runs of whole classes: small classes share a block."""
    on_cpu = layout.rows.device.type == "cpu"
    largest = min(layout.tile_size, _SMALL_CLASS if on_cpu else _SMALL_CLASS_GPU)
    ends = (layout.grouping.classes.starts + layout.grouping.classes.sizes).cpu().numpy()
    blocks = []
    start = 0
    for index, end in enumerate(ends):
        is_last = index + 1 == len(ends)
        if not is_last and ends[index + 1] - start <= largest:
            continue
        rows = np.searchsorted(own, [start, end])
        if rows[1] > rows[0]:
            blocks.append((slice(int(rows[0]), int(rows[1])), slice(int(start), int(end))))
        start = end
    return blocks
