"""Several runs of one setting that differ in their seed alone: one case, with means over seeds.

With values x_s of S runs, mean m and standard deviation d, every number is

    m -+ t d / sqrt(S)        t of S - 1 degrees of freedom, 95 %

on the rows that all of them were measured on. The verdict is that of the worst run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from uncollapse.metrics import Measurement
from uncollapse.records import severity
from uncollapse.report.inputs_model import Case, Measured
from uncollapse.report.read.setting_diff import IDLE
from uncollapse.statistics import mean_interval

__all__ = ["mean_record", "over_seeds", "pooled"]

# Counts of rows and classes, which stay whole.
_COUNTS = ("count", "rows", "missing_rows", "skipped_classes")
# The end of a folder's name that tells runs of one setting apart.
_TAIL = re.compile(r"[-_. /]+(seed|run)?[-_. =]*\d+$")


def over_seeds(values: Sequence[float]) -> dict[str, float | None]:
    """The mean with its interval; without one where there is one value.

    Example:
        >>> found = over_seeds([0.1, 0.2, 0.3])
        >>> [round(found[name], 3) for name in ("estimate", "low", "high")]
        [0.2, -0.048, 0.448]
    """
    return mean_interval(values).to_dict()


def pooled(cases: Sequence[Case]) -> list[Case]:
    """Cases with the runs of one configuration but the seed as one, where the first of them stood.

    A run that repeats both configuration and seed of another one is not another draw of the same
    setting, and so stays apart.
    """
    groups: list[tuple[str, list[Case]]] = []
    for case in cases:
        key, seed = _key(case), case.config.get("seed")
        for known, runs in groups:
            if key and key == known and all(run.config.get("seed") != seed for run in runs):
                runs.append(case)
                break
        else:
            groups.append((key, [case]))
    return [_one(runs) if len(runs) > 1 else runs[0] for _, runs in groups]


def _key(case: Case) -> str:
    """What two runs of one setting share; "" where it is not known."""
    if case.kind != "run" or not case.config:
        return ""
    kept = {key: value for key, value in case.config.items() if key not in IDLE}
    fingerprint = ((case.run or {}).get("data") or {}).get("fingerprint")
    return json.dumps([fingerprint, kept], sort_keys=True, default=str)


def _one(runs: list[Case]) -> Case:
    first = runs[0]
    name = _TAIL.sub("", first.name) or first.name
    histories = zip(*(run.history for run in runs), strict=False)
    return Case(
        f"{name} (n = {len(runs)})",
        "run",
        run=first.run,
        config=first.config,
        history=[mean_record(lines) for lines in histories],
        prediction=first.prediction,
        measured=_measured_layers(runs),
        points=first.points,
        runs=runs,
    )


def _measured_layers(runs: list[Case]) -> list[Measured]:
    """Of every layer that all runs have measured."""
    by_layer = [{one.layer: one for one in run.measured} for run in runs]
    return [
        _measured([of[layer] for of in by_layer])
        for layer in by_layer[0]
        if all(layer in of for of in by_layer)
    ]


def _measured(found: list[Measured]) -> Measured:
    """Means of measurements, with the verdict and the reasons of the worst."""
    first, measurements = found[0], [one.found for one in found]
    worst = min(measurements, key=lambda one: severity(one.verdict))
    common = set.intersection(*({str(c.label) for c in one.classes} for one in measurements))
    records = [one.to_dict() for one in measurements]
    for record in records:
        kept = [one for one in record["classes"] if str(one["label"]) in common]
        record["classes"] = sorted(kept, key=lambda one: str(one["label"]))
    record = mean_record(records) | {"reasons": worst.to_dict()["reasons"]}
    interval = f"Student's t over {len(found)} runs with different seeds"
    record["conditions"] = measurements[0].conditions.to_dict() | {"interval": interval}
    return Measured(
        first.source,
        first.layer,
        first.split,
        Measurement.from_dict(record),
        any(one.streamed for one in found),
    )


def mean_record(records: Sequence[Any]) -> Any:
    """One record of several alike: means, intervals of estimates over seeds, the worst verdict."""
    first = records[0]
    if any(one is None for one in records):
        return None
    if all(isinstance(one, dict) for one in records):
        if all("estimate" in one for one in records):
            return _estimate(records)
        shared = [key for key in first if all(key in one for one in records)]
        parts = {key: [one[key] for one in records] for key in shared}
        return {
            key: min(values, key=severity)
            if key == "verdict"
            else round(fmean(values))
            if key in _COUNTS and None not in values
            else mean_record(values)
            for key, values in parts.items()
        }
    if all(isinstance(one, list) and len(one) == len(first) for one in records):
        return [mean_record(column) for column in zip(*records, strict=True)]
    if all(isinstance(one, int | float) and one == first for one in records):
        return first
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in records):
        return fmean(records)
    return first


def _estimate(records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """An estimate; None where they are estimates of different things, by the texts beside them."""
    texts = [{k: v for k, v in one.items() if isinstance(v, str)} for one in records]
    if any(one != texts[0] for one in texts):
        return None
    rest = {key: [one.get(key) for one in records] for key in records[0]}
    found = {key: mean_record(values) for key, values in rest.items() if key not in texts[0]}
    values = [one["estimate"] for one in records]
    if any(value is None for value in values):
        return found | {"estimate": None, "low": None, "high": None} | texts[0]
    return found | over_seeds(values) | texts[0]
