"""Draws docs/figures/case_solar_embedding.png: the test cells of docs/case-solar.md.

python docs/figures/case_solar_embedding.py runs/before/test.parquet runs/after/test.parquet
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent
BY_CLASS = {"defective": "#0072b2", "sound": "#e69f00"}
BY_CELL = {"mono": "#0072b2", "poly": "#d55e00"}


def main() -> None:
    """Two principal components: of the rows by class, of the residuals from class means by cell."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.2), constrained_layout=True, sharex="row")
    for column, (name, path) in enumerate(zip(("before", "after"), sys.argv[1:3], strict=True)):
        table = pq.read_table(path)
        rows = np.stack(table["projector"].to_numpy()).astype(float)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        labels = np.array(table["label"].to_pylist())
        cells = np.array([each.split()[-1] for each in table["condition"].to_pylist()])
        means = {label: rows[labels == label].mean(axis=0) for label in BY_CLASS}
        residuals = rows - np.stack([means[label] for label in labels])
        _panel(axes[0, column], rows - rows.mean(axis=0), labels, BY_CLASS, f"{name}: classes")
        inside = f"{name}: inside the classes"
        _panel(axes[1, column], residuals, cells, BY_CELL, inside)
    figure.savefig(FOLDER / "case_solar_embedding.png", dpi=110)


def _panel(axis, rows, names, colours, title):
    directions, values, _ = np.linalg.svd(rows.T, full_matrices=False)
    x, y = (rows @ directions[:, :2]).T
    for name, colour in colours.items():
        own = names == name
        axis.scatter(x[own], y[own], 8, color=colour, alpha=0.65, label=name, linewidths=0)
    shares = 100 * values[:2] ** 2 / np.sum(values**2)
    axis.set_title(f"{title}, {shares[0]:.0f}% and {shares[1]:.0f}% of the variance", fontsize=9)
    axis.set_aspect("equal", adjustable="datalim")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, markerscale=2, loc="upper right")


if __name__ == "__main__":
    main()
