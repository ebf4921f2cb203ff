"""Settings of runs: what theory says of one, how two differ, and several seeds of one as one case.

Every number over seeds is the mean of the runs with Student's interval (see
`uncollapse.statistics`), on the rows that all of them were measured on. The verdict is that of the
worst run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from statistics import fmean
from typing import Any

from uncollapse.records import (
    Calibration,
    KeptReference,
    Prediction,
    RandomBatch,
    Setting,
    SettingChange,
    severity,
)
from uncollapse.report.inputs_model import Case, Measured
from uncollapse.statistics import mean_interval
from uncollapse.theory import Advice, advise, predict, with_keep

# Beyond so many classes of unequal size, and for random batches of them, a solution takes seconds.
MANY_CLASSES = 200
# A moderate spread, which docs/choose.md aims at.
TARGET_VARIANCE = 0.2
# Keys of a configuration that do not change what is learned.
IDLE = {
    "device",
    "workers",
    "seed",
    "validation.every",
    "validation.rows",
    "validation.best",
    "checkpoint.every_steps",
    "data.memory_mib",
}
# The end of a folder's name that tells runs of one setting apart.
_TAIL = re.compile(r"[-_. /]+(seed|run)?[-_. =]*\d+$")


def _slow(setting: Setting) -> bool:
    """Whether a single prediction may take more than a second."""
    random = isinstance(setting.batch, RandomBatch)
    return not setting.balanced and (random or len(setting.counts) > MANY_CLASSES)


def predicted(setting: Setting, kept: KeptReference | None = None) -> Prediction | None:
    """Theory's prediction, with what a kept reference changes; None where it would take long."""
    if _slow(setting):
        return None
    keep = 0.0 if kept is None else kept.weight
    return with_keep(predict(setting, thresholds=False), keep)


def advice(setting: Setting, calibration: Calibration | None = None) -> Advice | None:
    """The smallest alpha that is predicted to give a moderate spread; None where none does.

    With a calibration that of a network like those: a fifth of the way that its variance goes.
    """
    if _slow(setting):
        return None
    target = TARGET_VARIANCE if calibration is None else None
    found = advise(setting, target_variance=target, levers=("alpha",), calibration=calibration)
    return found[0] if found else None


def differences(before: Case, after: Case) -> list[SettingChange]:
    """What differs between two runs' configurations, the loss first."""
    a, b = before.config, after.config
    if not (a and b):
        a, b = _loss(before), _loss(after)
    changes = [
        SettingChange(key, a.get(key), b.get(key))
        for key in sorted({*a, *b})
        if key not in IDLE and a.get(key) != b.get(key)
    ]
    order = ("loss.", "batch.", "views.")
    return sorted(changes, key=lambda c: [not c.key.startswith(part) for part in order])


def _loss(case: Case) -> dict[str, object]:
    """The setting's numbers under the configuration's keys."""
    setting = case.setting
    if setting is None:
        return {}
    batch = {f"batch.{key}": value for key, value in vars(setting.batch).items()}
    loss = {"loss.alpha": setting.alpha, "loss.temperature": setting.temperature}
    return {**loss, **batch, "views.count": setting.views}


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
    shared = [layer for layer in layers[0] if all(layer in by_layer for by_layer in layers)]
    return replace(
        first,
        name=f"{name} (n = {len(runs)})",
        history=[mean_record(lines) for lines in zip(*(run.history for run in runs), strict=False)],
        measured=[_mean_measured([by_layer[layer] for by_layer in layers]) for layer in shared],
        probes=[],
        runs=runs,
    )


def _mean_measured(runs: list[Measured]) -> Measured:
    """Means of measurements, with the verdict and the reasons of the worst."""
    measurements = [run.measurement for run in runs]
    worst = min(measurements, key=lambda measurement: severity(measurement.verdict))
    common = set.intersection(*({str(c.label) for c in m.classes} for m in measurements))
    alike = []
    for measurement in measurements:
        kept = [c for c in measurement.classes if str(c.label) in common]
        classes = tuple(sorted(kept, key=lambda c: str(c.label)))
        # The influences of one run are not those of the mean.
        alike.append(replace(measurement, reasons=(), classes=classes, influences=None))
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
    means = {name: mean_record(column) for name, column in columns.items()}
    if "verdict" in columns:
        means["verdict"] = min(columns["verdict"], key=severity)
    if estimates is not None:
        known = None not in estimates
        means |= mean_interval(estimates).to_dict() if known else {"low": None, "high": None}
    return replace(first, **means)
