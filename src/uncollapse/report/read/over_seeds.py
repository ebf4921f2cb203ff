"""Several runs of one setting that differ in their seed alone: one case, with means over seeds.

Every number is the mean of the runs with Student's interval (see `uncollapse.statistics`), on the
rows that all of them were measured on. The verdict is that of the worst run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from statistics import fmean
from typing import Any

from uncollapse.records import severity
from uncollapse.report.inputs_model import Case, Measured
from uncollapse.report.read.setting_diff import IDLE
from uncollapse.statistics import mean_interval

# The end of a folder's name that tells runs of one setting apart.
_TAIL = re.compile(r"[-_. /]+(seed|run)?[-_. =]*\d+$")


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
    return [_pooled(runs) if len(runs) > 1 else runs[0] for _, runs in groups]


def _key(case: Case) -> str:
    """What two runs of one setting share; "" where it is not known."""
    if case.kind != "run" or case.run is None or not case.config:
        return ""
    kept = {key: value for key, value in case.config.items() if key not in IDLE}
    return json.dumps([case.run.data.fingerprint, kept], sort_keys=True, default=str)


def _pooled(runs: list[Case]) -> Case:
    first = runs[0]
    name = _TAIL.sub("", first.name) or first.name
    layers = [{measured.layer: measured for measured in run.measured} for run in runs]
    return replace(
        first,
        name=f"{name} (n = {len(runs)})",
        history=[mean_record(lines) for lines in zip(*(run.history for run in runs), strict=False)],
        measured=[
            _mean_measured([by_layer[layer] for by_layer in layers])
            for layer in layers[0]
            if all(layer in by_layer for by_layer in layers)
        ],
        probes=[],
        runs=runs,
    )


def _mean_measured(runs: list[Measured]) -> Measured:
    """Means of measurements, with the verdict and the reasons of the worst."""
    measurements = [run.measurement for run in runs]
    worst = min(measurements, key=lambda measurement: severity(measurement.verdict))
    common = set.intersection(*({str(c.label) for c in m.classes} for m in measurements))
    alike = [
        replace(
            measurement,
            reasons=(),
            classes=tuple(
                sorted(
                    (c for c in measurement.classes if str(c.label) in common),
                    key=lambda c: str(c.label),
                )
            ),
        )
        for measurement in measurements
    ]
    interval = f"Student's t over {len(runs)} runs with different seeds"
    conditions = replace(measurements[0].conditions, interval=interval)
    mean = replace(mean_record(alike), reasons=worst.reasons, conditions=conditions)
    return replace(runs[0], measurement=mean, streamed=any(run.streamed for run in runs))


def mean_record(records: Sequence[Any]) -> Any:
    """One record of several alike: means, intervals of estimates over seeds, the worst verdict.

    None where one of them is none, and for estimates of different things by the texts beside them.
    """
    first = records[0]
    if any(record is None for record in records):
        return None
    if is_dataclass(first):
        return _mean_fields(records)
    if isinstance(first, Mapping):
        shared = [key for key in first if all(key in record for record in records)]
        return {key: mean_record([record[key] for record in records]) for key in shared}
    if isinstance(first, tuple) and all(len(record) == len(first) for record in records):
        return tuple(mean_record(column) for column in zip(*records, strict=True))
    numbers = isinstance(first, int | float) and not isinstance(first, bool)
    return fmean(records) if numbers and any(record != first for record in records) else first


def _mean_fields(records: Sequence[Any]) -> Any:
    first = records[0]
    columns = {field.name: [getattr(r, field.name) for r in records] for field in fields(first)}
    estimates = columns.get("estimate")
    if estimates is not None:
        texts = [column for column in columns.values() if isinstance(column[0], str)]
        if any(text != column[0] for column in texts for text in column):
            return None
    means = {
        name: min(column, key=severity) if name == "verdict" else mean_record(column)
        for name, column in columns.items()
    }
    if estimates is not None:
        known = None not in estimates
        means |= mean_interval(estimates).to_dict() if known else {"low": None, "high": None}
    return replace(first, **means)
