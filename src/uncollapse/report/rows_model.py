"""What a report says of single rows: a picture of some, pairs that lie close, rows to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse import records

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Near(records.Part):
    """Two rows of one class that lie close: their places in the picture, and their cosine."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True)
class Points(records.Part):
    """Rows drawn from embeddings, class by class, projected for a picture.

    Attributes:
        layer: Where the rows come from.
        x, y: (n,) the first two principal components of all rows.
        u, v: (n,) those of the residuals from the class means.
        shares: Shares of the variance that the four axes hold.
        label, fine, name: (n,) class, finer label ("" without one) and name of each row.
        rows: Rows that were drawn from.
        seed: Of the draw.
        spectrum: Eigenvalues of the pooled covariance inside classes, largest first.
        path: (n,) file of each row ("" without one).
        thumbnail: (n,) place in `thumbnails` of each row; None without one.
        thumbnails: Small pictures as data addresses.
        near: Pairs of one class with the largest cosines, the largest first.
    """

    layer: str
    x: Floats
    y: Floats
    u: Floats
    v: Floats
    shares: tuple[float, float, float, float]
    label: tuple[str, ...]
    fine: tuple[str, ...]
    name: tuple[str, ...]
    rows: int
    seed: int
    spectrum: tuple[float, ...]
    path: tuple[str, ...] = ()
    thumbnail: tuple[int | None, ...] = ()
    thumbnails: tuple[str, ...] = ()
    near: tuple[Near, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All but the rows, as plain JSON types; of near pairs their names and classes."""
        about = {"layer": self.layer, "projection": "principal components", "rows": self.rows}
        about |= {"drawn": len(self.x), "seed": self.seed}
        near = [
            {"class": self.label[pair.first], "cosine": pair.cosine}
            | {"first": self.name[pair.first], "second": self.name[pair.second]}
            for pair in self.near
        ]
        spectrum = list(self.spectrum)
        return about | {"shares": list(self.shares), "spectrum": spectrum, "nearest": near}


@dataclass(frozen=True)
class Look(records.Part):
    """One row that is worth a look, and why.

    Attributes:
        name: Its id, its file, or its number.
        label: Its class.
        other: The nearest row of the class, or the class that its neighbours suggest.
        value: The cosine to that row, the doubt of the label, or what is lost of the reference's
            neighbours.
        picture: Place of its small picture among all; None without one.
        other_picture: That of the other row.
    """

    name: str
    label: str
    other: str
    value: float
    picture: int | None = None
    other_picture: int | None = None


@dataclass(frozen=True)
class Looks(records.Part):
    """What a table of `uncollapse measure --rows` says is worth a look, the worst first.

    Attributes:
        source: The table's file.
        rows: Rows that it has.
        near: Pairs of one class with the largest cosines.
        doubted: Rows whose neighbours suggest another class.
        lost: Rows that have lost neighbours that the reference has.
        all_doubted, all_lost: How many of them there are.
        thumbnails: Small pictures as data addresses.
    """

    source: str
    rows: int
    near: tuple[Look, ...]
    doubted: tuple[Look, ...]
    lost: tuple[Look, ...]
    all_doubted: int
    all_lost: int
    thumbnails: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All but the pictures, as plain JSON types."""
        record = super().to_dict()
        del record["thumbnails"]
        return record
