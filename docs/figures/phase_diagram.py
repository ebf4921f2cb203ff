"""Draws docs/figures/phase_diagram.png: python docs/figures/phase_diagram.py (needs matplotlib)."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from uncollapse.theory import BalancedBatch, Setting, alpha_threshold, balanced_optimum

SETTING = Setting(classes=10, per_class=500, alpha=0.5, temperature=0.1, batch=BalancedBatch(12))
SUPCON = 1 / (2 * 12 - 1)


def main() -> None:
    """Draw and write the picture beside this file."""
    tau = np.geomspace(0.03, 3, 400)
    alpha = np.linspace(0, 1, 400)
    grid = balanced_optimum(SETTING, alpha=alpha[:, None], temperature=tau)
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    picture = axes.pcolormesh(
        tau, alpha, np.where(grid.instance_variance > 0, grid.instance_variance, np.nan),
        cmap="viridis", vmin=0, vmax=1, rasterized=True,
    )  # fmt: skip
    axes.set_facecolor("0.85")
    axes.plot(tau, alpha_threshold(SETTING, temperature=tau), "k", lw=1.8)
    axes.plot(0.1, SUPCON, "o", color="crimson", ms=8, mec="white")
    axes.annotate(
        "SupCon as published,\n$\\tau$ = 0.1: collapsed", (0.1, SUPCON), (0.034, 0.16),
        color="white", arrowprops={"arrowstyle": "-", "color": "white"},
    )  # fmt: skip
    axes.text(0.9, 0.25, "collapse", fontsize=13)
    axes.text(0.06, 0.62, "spread", fontsize=13, color="white")
    axes.set(
        xscale="log", xlim=(0.03, 3), ylim=(0, 1),
        xlabel="temperature $\\tau$", ylabel="weight of the self-supervised term $\\alpha$",
        title="Predicted variance between instances of a class\n"
        "10 classes, 12 of each in a batch, 2 views, self pairs excluded",
    )  # fmt: skip
    figure.colorbar(picture, label="instance variance (fraction of the unit norm)")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    main()
