"""Draws theory_in_practice.png from the raw numbers in docs/study (needs matplotlib)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
STUDIES = ("digits", "solar-cells", "fashion-mnist")
# Okabe and Ito: told apart by the colour blind, and by marker in print.
STYLES = {0.05: ("#0072B2", "o"), 0.1: ("#D55E00", "s"), 0.3: ("#009E73", "^")}


def points(study: dict[str, Any], value: Callable[[dict[str, Any]], float]) -> dict[Any, float]:
    """A number of each setting, mean over seeds."""
    found: dict[Any, list[float]] = {}
    for run in study["runs"]:
        if run["test"]:
            key = (run["alpha"], run["temperature"], run["per_class"])
            found.setdefault(key, []).append(value(run))
    return {key: mean(values) for key, values in found.items()}


def main() -> None:
    """Draw and write the picture beside this file."""
    names = [n for n in STUDIES if (HERE.parent / "study" / f"{n}.json").exists()]
    figure, axes = plt.subplots(2, len(names), figsize=(3.2 * len(names), 6), squeeze=False)
    for column, name in enumerate(names):
        study = json.loads((HERE.parent / "study" / f"{name}.json").read_text("utf-8"))
        predicted = points(study, lambda run: run["predicted"]["instance_variance"])
        measured = points(study, lambda run: run["test"]["projector"]["instance_variance"])
        worth = points(study, lambda run: 100 * run["test"]["projector"]["objective"])
        for tau, (colour, marker) in STYLES.items():
            keys = [key for key in measured if key[1] == tau]
            style = {"color": colour, "marker": marker, "s": 22, "label": f"tau {tau:g}"}
            top, low = axes[0][column], axes[1][column]
            top.scatter([predicted[k] for k in keys], [measured[k] for k in keys], **style)
            low.scatter([measured[k] for k in keys], [worth[k] for k in keys], **style)
        axes[0][column].plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
        axes[0][column].set(title=name, xlabel="predicted variance", xlim=(-0.02, 1))
        axes[0][column].set_ylim(-0.02, 1)
        axes[1][column].set(xlabel="measured variance (projector, test)")
    axes[0][0].set_ylabel("measured variance")
    axes[1][0].set_ylabel("finer label inside classes, %")
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE / "theory_in_practice.png", dpi=130)


if __name__ == "__main__":
    main()
