"""Draws docs/figures/case_trades.png from docs/study/case-tables.json: what each change trades.

python docs/figures/case_trades.py
"""

import json
import re
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt

FOLDER = Path(__file__).parent
TITLES = {
    "digits": "digits, even or odd",
    "cells": "solar cells",
    "garments": "garments",
    "garments-headless": "garments, no head",
    "text": "definitions, a head on MiniLM",
    "text-encoder": "definitions, MiniLM's last layer",
}
KINDS = (  # a pattern that a row's name has, mark, colour, label
    ("keep", "D", "#e7298a", "trained with keep, both layers (output: right)"),
    ("alpha.*beside", "P", "#d95f02", "trained with larger alpha, beside the base"),
    ("beside", "P", "#1b9e77", "SupCon, beside the base (free)"),
    ("whitened", "v", "#e6ab02", "SupCon, whitened (free)"),
    ("centred", "^", "#e6ab02", "SupCon, centred (free)"),
    ("cross-entropy", "X", "#666666", "cross-entropy"),
    ("untrained", "d", "#a6761d", "untrained encoder (free)"),
    ("backbone", "s", "#7570b3", "layer before the head (hollow: SupCon)"),
    ("alpha", "o", "#d95f02", "trained output, larger alpha"),
    ("SupCon", "*", "#d95f02", "trained output, SupCon"),
    ("", "h", "#1b9e77", "raw inputs, pretrained encoder (free)"),
)


def kind(row: str) -> tuple[str, str, str, str]:
    """The first kind that a row's name fits."""
    return next(entry for entry in KINDS if re.search(entry[0], row))


def main() -> None:
    """Draw a panel for each case."""
    cases = json.loads((FOLDER.parent / "study" / "case-tables.json").read_text("utf-8"))
    figure, axes = plt.subplots(2, 3, figsize=(11, 7.2), constrained_layout=True)
    shown = {}
    for axis, name in zip(axes.flat, TITLES, strict=True):
        runs = cases.get(name, [])
        axis.set_visible(bool(runs))
        for row in dict.fromkeys(run["row"] for run in runs):
            if ("numbers" in row) != ("beside" in row):
                continue
            own = [run["scores"] for run in runs if run["row"] == row]
            x, y = (100 * mean(s[key] for s in own) for key in ("label_shots_10", "shots_10"))
            _, mark, colour, label = kind(row)
            filled = "white" if row == "SupCon, backbone" else colour
            size = 130 if mark == "*" else 55
            shown[label] = axis.scatter(
                x, y, size, marker=mark, facecolor=filled, edgecolor=colour, label=label
            )
            if "alpha" in row and "beside" not in row:
                alpha = row.split(",")[0].removeprefix("alpha ").lstrip("0")
                axis.annotate(alpha, (x, y), (4, 4), textcoords="offset points", fontsize=7)
        axis.set_title(TITLES[name], fontsize=10)
        axis.grid(alpha=0.25)
    figure.supxlabel("training label from ten examples of each, %", fontsize=10)
    figure.supylabel("finer label inside the classes from ten examples of each, %", fontsize=10)
    figure.legend(shown.values(), shown, loc="outside upper center", ncols=3, fontsize=8)
    figure.savefig(FOLDER / "case_trades.png", dpi=110)


if __name__ == "__main__":
    main()
