"""Draws networks.png from the raw numbers in docs/study (needs matplotlib)."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

HERE = Path(__file__).parent
STUDIES = {"digits": "digits", "solar-cells": "cells", "fashion-mnist": "garments"}


def main() -> None:
    """Draw and write the picture beside this file: measured W against predicted, 28 settings."""
    found = json.loads((HERE.parent / "study" / "networks.json").read_text("utf-8"))
    figure, axes = plt.subplots(1, len(STUDIES), figsize=(9.6, 3.5), sharey=True)
    for panel, (name, title) in zip(axes, STUDIES.items(), strict=True):
        study = json.loads((HERE.parent / "study" / f"{name}.json").read_text("utf-8"))
        optimum = {
            (run["alpha"], run["temperature"], run["per_class"]): run["predicted"]
            for run in study["runs"]
        }
        rows = found["models"]["full"][name]["settings"]
        measured = np.array([row["within"] for row in rows])
        keys = [(row["alpha"], row["temperature"], row["per_class"]) for row in rows]
        theory = np.array([optimum[key]["instance_variance"] for key in keys])
        expected = {
            end: np.array([row["expected_within"][end] for row in rows])
            for end in ("estimate", "low", "high")
        }
        ends = [expected["estimate"] - expected["low"], expected["high"] - expected["estimate"]]
        panel.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
        panel.scatter(theory, measured, color="0.55", marker="x", s=24, label="optimum of theory")
        panel.errorbar(
            expected["estimate"], measured, xerr=ends, fmt="o", color="#0072B2", markersize=4,
            elinewidth=0.8, label="network, 90 % interval",
        )  # fmt: skip
        panel.set(title=title, xlabel="predicted W", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes[0].set_ylabel("measured W")
    axes[2].legend(frameon=False, fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(HERE / "networks.png", dpi=130)


if __name__ == "__main__":
    main()
