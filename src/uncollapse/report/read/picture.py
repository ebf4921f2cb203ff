"""The picture of the rows that were drawn: principal components, neighbours, small pictures.

Principal components and not a neighbour embedding, because distances are the subject: t-SNE and
UMAP give every cluster about the same size, so that a collapsed class would look healthy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.report.read.near import nearest_pairs
from uncollapse.report.read.thumbnails import small_pictures
from uncollapse.report.rows_model import Floats, Points
from uncollapse.tables import Rows

Integers = NDArray[np.int64]
# Eigenvalues that a picture keeps.
SPECTRUM = 30


@dataclass(frozen=True)
class Drawn:
    """Rows of the picture, their numbers among all `count`, and the columns of name and file."""

    rows: Rows
    numbers: Integers
    count: int
    name: str | None
    path: str | None


def picture(shown: Drawn, layer: str, seed: int) -> Points:
    """Both projections of the rows that were drawn; of several views, the first is shown."""
    drawn = shown.rows
    vectors = np.asarray(drawn.embeddings, dtype=np.float64)
    vectors = vectors[:, 0] if vectors.ndim == 3 else vectors
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        where = drawn.sources["embeddings"]
        raise InputError(f"finite numbers in {where}", "a NaN or an infinity", "take the rows out")
    vectors = vectors / np.maximum(norms, 1e-300)
    label = [str(value) for value in drawn.labels]
    placed, values = _components(vectors - vectors.mean(axis=0))
    _, codes = np.unique(label, return_inverse=True)
    counts = np.bincount(codes)
    means = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(means, codes, vectors)
    inside, inner = _components(vectors - (means / counts[:, None])[codes])
    free = len(vectors) / max(1, len(vectors) - len(counts))
    x, y, u, v = np.round(np.hstack([placed, inside]), 4).T
    name, path = (
        _texts(None if column is None else drawn.slices[column], len(label))
        for column in (shown.name, shown.path)
    )
    near = nearest_pairs(vectors, codes)
    first = [row for pair in near for row in (pair.first, pair.second)]
    thumbnail, thumbnails = small_pictures(path, first, drawn.vectors_place.path.parent)
    return Points(
        layer=layer,
        x=x,
        y=y,
        u=u,
        v=v,
        shares=(*_shares(values), *_shares(inner)),
        label=tuple(label),
        fine=_texts(drawn.fine_labels, len(label)),
        name=_named(name, path, shown.numbers),
        rows=shown.count,
        seed=seed,
        spectrum=tuple(float(value * free) for value in inner[:SPECTRUM]),
        path=path,
        thumbnail=thumbnail,
        thumbnails=thumbnails,
        near=near,
    )


def _components(rows: Floats) -> tuple[Floats, Floats]:
    """(n, 2) principal components of centred rows (n, d), and all eigenvalues, largest first.

    Each component has its largest loading positive; the eigenvalues are those of rows' rows / n.
    """
    n, d = rows.shape
    if d <= n:
        values, vectors = np.linalg.eigh(rows.T @ rows / n)
        axes = vectors[:, ::-1][:, :2]
    else:
        values, vectors = np.linalg.eigh(rows @ rows.T / n)
        axes = rows.T @ vectors[:, ::-1][:, :2]
        axes = axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-300)
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    placed = rows @ (axes * np.where(signs == 0, 1.0, signs))
    return np.pad(placed, ((0, 0), (0, 2 - placed.shape[1]))), np.clip(values[::-1], 0, None)


def _shares(eigenvalues: Floats) -> tuple[float, float]:
    """Of the first two in the sum."""
    total = float(eigenvalues.sum())
    first, second = np.append(eigenvalues, [0.0, 0.0]).tolist()[:2]
    return (first / total, second / total) if total > 0 else (0.0, 0.0)


def _named(names: tuple[str, ...], paths: tuple[str, ...], numbers: Integers) -> tuple[str, ...]:
    """By its id, its file, or its number among the judged rows, from 0."""
    named = zip(names, paths, numbers.tolist(), strict=True)
    return tuple(name or path or f"#{number}" for name, path, number in named)


def _texts(values: Any, count: int) -> tuple[str, ...]:
    """Values as text; "" for those that are missing, and for all where there are none."""
    given = [None] * count if values is None else values
    return tuple("" if value is None else str(value) for value in given)
