"""The picture of an embedding: principal components of rows, and of what is left inside classes.

Principal components and not a neighbour embedding, because distances are the subject: t-SNE and
UMAP give every cluster about the same size, so that a collapsed class would look healthy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.report.inputs_model import Points
from uncollapse.tables import Rows

Floats = NDArray[np.float64]
# Eigenvalues that are kept.
SPECTRUM = 30


def components(rows: Floats) -> tuple[Floats, Floats]:
    """The first two principal components of centred rows, and all eigenvalues, largest first.

    Args:
        rows: (n, d), centred.

    Returns:
        (n, 2) coordinates, each with its largest loading positive, and the eigenvalues of
        rows' rows / n.
    """
    n, d = rows.shape
    if d <= n:
        values, vectors = np.linalg.eigh(rows.T @ rows / n)
        axes = vectors[:, ::-1][:, :2]
    else:
        values, vectors = np.linalg.eigh(rows @ rows.T / n)
        left = vectors[:, ::-1][:, :2]
        axes = rows.T @ left
        axes = axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-300)
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    placed = rows @ (axes * np.where(signs == 0, 1.0, signs))
    if placed.shape[1] < 2:
        placed = np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))
    return placed, np.clip(values[::-1], 0, None)


def _shares(eigenvalues: Floats) -> tuple[float, float]:
    total = float(eigenvalues.sum())
    first = [float(value) for value in eigenvalues[:2]] + [0.0, 0.0]
    return (first[0] / total, first[1] / total) if total > 0 else (0.0, 0.0)


def picture(drawn: Rows, name: str | None, layer: str, rows: int, seed: int) -> Points:
    """Both projections of drawn rows.

    Args:
        drawn: Of several views, the first is shown.
        name: Column that names a row; None without one.
        layer: Name of the layer.
        rows: How many rows were drawn from.
        seed: Of the draw.
    """
    vectors = np.asarray(drawn.embeddings, dtype=np.float64)
    vectors = vectors[:, 0] if vectors.ndim == 3 else vectors
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(norms, 1e-300)
    label = [str(value) for value in drawn.labels]
    placed, values = components(vectors - vectors.mean(axis=0))
    _, codes = np.unique(label, return_inverse=True)
    counts = np.bincount(codes)
    means = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(means, codes, vectors)
    residuals = vectors - (means / counts[:, None])[codes]
    inside, inner = components(residuals)
    free = len(vectors) / max(1, len(vectors) - len(counts))
    x, y, u, v = (np.round(column, 4) for column in (*placed.T, *inside.T))
    return Points(
        layer=layer,
        x=x,
        y=y,
        u=u,
        v=v,
        shares=(*_shares(values), *_shares(inner)),
        label=tuple(label),
        fine=_texts(drawn.fine_labels, len(label)),
        name=_texts(None if name is None else drawn.slices[name], len(label)),
        rows=rows,
        seed=seed,
        spectrum=tuple(float(value * free) for value in inner[:SPECTRUM]),
    )


def _texts(values: Any, count: int) -> tuple[str, ...]:
    """Values as text; "" for those that are missing, and for all where there are none."""
    given = [None] * count if values is None else list(values)
    return tuple("" if value is None else str(value) for value in given)
