"""Embeddings with known truth."""

import numpy as np


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def simplex(k):
    """k unit vectors in R^k with equal negative cosines."""
    return unit(np.eye(k) - 1 / k)


def ssem(V, m, n):
    """The exact SSEM: sqrt(1 - V) nu_c + sqrt(V) w_ci, in m + m n dimensions."""
    nu, w = simplex(m), simplex(n)
    rows = np.zeros((m, n, m + m * n))
    for c in range(m):
        rows[c, :, :m] = np.sqrt(1 - V) * nu[c]
        rows[c, :, m + c * n : m + (c + 1) * n] = np.sqrt(V) * w
    return rows.reshape(m * n, -1), np.repeat(np.arange(m), n)


def cloud(rng, counts, d=16, V=0.3, views=1, view_noise=0.3):
    """Isotropic clouds around a simplex: rows, labels, instances."""
    labels = np.repeat(np.arange(len(counts)), counts)
    centre = np.zeros((len(counts), d))
    centre[:, : len(counts)] = simplex(len(counts))
    noise = rng.standard_normal((len(labels), d)) / np.sqrt(d)
    z = np.sqrt(1 - V) * centre[labels] + np.sqrt(V) * noise
    extra = rng.standard_normal((len(labels), views, d)) / np.sqrt(d)
    rows = unit(z)[:, None] + (view_noise * extra if views > 1 else 0)
    instances = np.repeat(np.arange(len(labels)), views)
    return unit(rows).reshape(-1, d), np.repeat(labels, views), instances


def estimates(levels):
    """The variances of a decomposition and their share, by name."""
    return {**dict(levels.variances.items()), "share": levels.share}
