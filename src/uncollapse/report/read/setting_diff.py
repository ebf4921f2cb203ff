"""A run's setting: from its record to the problem that theory answers, and what differs."""

from __future__ import annotations

from typing import Any

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, RandomBatch
from uncollapse.report.inputs_model import Case, Change
from uncollapse.theory import Setting, advise, predict

__all__ = ["IDLE", "TARGET_VARIANCE", "advice", "changed", "differences", "of_record", "predicted"]

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


def of_record(record: dict[str, Any] | None) -> Setting | None:
    """The setting in run.json (or in a pilot's conditions); None where there is none that holds."""
    if not record:
        return None
    try:
        return Setting.from_dict(record)
    except InputError:
        return None


def slow(setting: Setting) -> bool:
    """Whether a single prediction may take more than a second."""
    random = isinstance(setting.batch, RandomBatch)
    return not setting.balanced and (random or len(setting.counts) > MANY_CLASSES)


def predicted(setting: Setting) -> dict[str, Any] | None:
    """Theory's prediction as a record; None where it would take long."""
    return None if slow(setting) else predict(setting, thresholds=False).to_dict()


def advice(setting: Setting) -> Setting | None:
    """The smallest alpha that is predicted to give a moderate spread; None where none does."""
    if slow(setting):
        return None
    found = advise(setting, target_variance=TARGET_VARIANCE, levers=("alpha",))
    return found[0].setting if found else None


def changed(setting: Setting, changes: list[Change]) -> Setting:
    """The setting after changes of a configuration's keys; those of other keys leave it."""
    batch: Any = setting.batch
    for change in changes:
        key, value = change.key.removeprefix("loss."), change.after
        try:
            if key in ("alpha", "temperature"):
                setting = setting.with_(**{key: float(value)})
            elif change.key == "views.count":
                setting = setting.with_(views=int(value))
            elif change.key == "batch.per_class" and isinstance(batch, BalancedBatch):
                batch = BalancedBatch(int(value), batch.classes)
            elif change.key == "batch.classes" and isinstance(batch, BalancedBatch):
                batch = BalancedBatch(batch.per_class, None if value is None else int(value))
            elif change.key == "batch.size" and isinstance(batch, RandomBatch):
                batch = RandomBatch(int(value))
            setting = setting.with_(batch=batch)
        except (InputError, TypeError, ValueError):
            continue
    return setting


def differences(before: Case, after: Case) -> list[Change]:
    """What differs between two runs' configurations, the loss first."""
    a, b = before.config, after.config
    if not (a and b):
        a, b = _loss(before), _loss(after)
    found = [
        Change(key, a.get(key), b.get(key))
        for key in sorted({*a, *b})
        if key not in IDLE and a.get(key) != b.get(key)
    ]
    order = ("loss.", "batch.", "views.")
    return sorted(found, key=lambda c: [not c.key.startswith(part) for part in order])


def _loss(case: Case) -> dict[str, Any]:
    """The setting's numbers under the configuration's keys."""
    given = dict(case.setting or {})
    batch = dict(given.get("batch") or {})
    found = {f"loss.{key}": given[key] for key in ("alpha", "temperature") if key in given}
    found |= {f"batch.{key}": value for key, value in batch.items() if key != "kind"}
    if "views" in given:
        found["views.count"] = given["views"]
    return found
