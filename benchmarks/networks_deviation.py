"""How far networks are from the model, so that intervals hold on data sets that were left out.

    python benchmarks/networks_deviation.py [-o docs/study/networks-deviation.json]

For each data set of benchmarks/networks.py and that of networks_fourth.py, and for several
deviations: calibrated on the start and the setting that the calibration proposes, judged on the
rest; nothing is trained. The deviation for a data set is the smallest with which nine tenths of the
90 % intervals of W on the *other* data sets hold, in the mean over them. docs/networks.md says why
the package's is the first of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from networks import DATA, START, STUDY, judged, proposed, read, write

from uncollapse.records import NetworkRun
from uncollapse.theory import calibrate, following

FOURTH = "mnist1d"
DEVIATIONS = (0.4, 0.45, 0.5)


def read_fourth() -> dict[Any, list[NetworkRun]]:
    """The runs of benchmarks/networks_fourth.py by setting."""
    runs: dict[Any, list[NetworkRun]] = {}
    for row in json.loads((STUDY / "networks-fourth.json").read_text("utf-8"))["runs"]:
        run = NetworkRun.from_dict(row)
        setting = run.setting
        size = getattr(setting.batch, "per_class", 0)
        runs.setdefault((setting.alpha, setting.temperature, size), []).append(run)
    return runs


def tried(name: str, runs: dict[Any, list[NetworkRun]], deviation: float) -> dict[str, Any]:
    """Calibrated on the start and the proposed setting, judged on the rest."""
    if name == FOURTH:
        first = calibrate(runs[START], discrepancy=deviation, draws=300)
        others = [key for key in runs if key != START]
        asked = following(first, [runs[key][0].setting for key in others])
        further: Any = (asked.alpha, asked.temperature, asked.batch_size)
    else:
        further = proposed(calibrate(runs[START], discrepancy=deviation), runs)
    both = calibrate([*runs[START], *runs[further]], discrepancy=deviation)
    summary = judged(both, runs, [START, further])["summary"]
    return {"data": name, "further": further, "deviation": deviation, **summary}


def enough(rows: list[dict[str, Any]], left_out: str) -> float:
    """The smallest deviation with which the others' intervals of W hold."""
    for deviation in DEVIATIONS:
        held = [
            row["within"]["held"]
            for row in rows
            if row["deviation"] == deviation and row["data"] != left_out
        ]
        if np.mean(held) >= 0.9:
            return deviation
    return DEVIATIONS[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=STUDY / "networks-deviation.json")
    options = parser.parse_args()
    runs = {name: read(name) for name in DATA} | {FOURTH: read_fourth()}
    rows = []
    for deviation in DEVIATIONS:
        for name, those in runs.items():
            rows.append(tried(name, those, deviation))
            print(json.dumps(rows[-1]), flush=True)
    found = {name: enough(rows, name) for name in runs} | {"all": enough(rows, "")}
    write(options.output, {"tried": rows, "deviation": found})
    print(found)


if __name__ == "__main__":
    main()
