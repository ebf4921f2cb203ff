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
    grid = balanced_optimum(SETTING, alpha=alpha, temperature=tau[:, None])
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    picture = axes.pcolormesh(
        alpha, tau, np.where(grid.instance_variance > 0, grid.instance_variance, np.nan),
        cmap="cividis", vmin=0, vmax=1, rasterized=True,
    )  # fmt: skip
    axes.set_facecolor("0.85")
    axes.plot(alpha_threshold(SETTING, temperature=tau), tau, "w", lw=3.4)
    axes.plot(alpha_threshold(SETTING, temperature=tau), tau, "k", lw=1.6)
    axes.plot(SUPCON, 0.1, "o", color="#d55e00", ms=8, mec="white")
    axes.annotate(
        "SupCon as published,\n$\\tau$ = 0.1: collapsed", (SUPCON, 0.1), (0.16, 0.04),
        color="white", arrowprops={"arrowstyle": "-", "color": "white"},
    )  # fmt: skip
    axes.text(0.05, 1.2, "collapse", fontsize=13)
    axes.text(0.6, 0.06, "spread", fontsize=13, color="white")
    axes.set(
        yscale="log", ylim=(0.03, 3), xlim=(0, 1),
        xlabel="weight of the self-supervised term $\\alpha$", ylabel="temperature $\\tau$",
        title="Predicted variance between instances of a class\n"
        "10 classes, 12 of each in a batch, 2 views, self pairs excluded",
    )  # fmt: skip
    figure.colorbar(picture, label="instance variance (fraction of the unit norm)")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    main()
