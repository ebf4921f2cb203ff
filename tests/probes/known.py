"""Data with known truth, for the probes."""

import numpy as np

from uncollapse.probes import Embedded, ProbeOptions

QUICK = ProbeOptions(l2=(1e-3, 1e-2, 1e-1), neighbours=(1, 5, 20), temperatures=(0.1,), draws=4)


def splits(rng, n):
    return np.array(["train", "validation", "test"])[rng.choice(3, n, p=(0.6, 0.2, 0.2))]


def coarse_to_fine(rng, structured, n=900, d=12, spread=0.5):
    """Two classes of three finer labels; the residuals know them, or do not."""
    label, fine = rng.integers(0, 2, n), rng.integers(0, 3, n)
    noise = rng.standard_normal((n, d)) / np.sqrt(d)
    if structured:
        noise = np.eye(3, d)[fine] + 0.2 * noise
    centre = np.sqrt(1 - spread) * np.eye(2)[label]
    rows = np.concatenate([centre, np.sqrt(spread) * noise], axis=1)
    targets = {"label": label, "fine": fine}
    return Embedded({"z": rows}, targets, splits(rng, n), label="label", fine=("fine",))
