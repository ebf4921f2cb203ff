"""What theory says of a setting in the time of a report, and how two settings differ."""

from __future__ import annotations

from uncollapse.records import Prediction, RandomBatch, Setting, SettingChange
from uncollapse.report.inputs_model import Case
from uncollapse.theory import advise, predict

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


def _slow(setting: Setting) -> bool:
    """Whether a single prediction may take more than a second."""
    random = isinstance(setting.batch, RandomBatch)
    return not setting.balanced and (random or len(setting.counts) > MANY_CLASSES)


def predicted(setting: Setting) -> Prediction | None:
    """Theory's prediction; None where it would take long."""
    return None if _slow(setting) else predict(setting, thresholds=False)


def advice(setting: Setting) -> Setting | None:
    """The smallest alpha that is predicted to give a moderate spread; None where none does."""
    if _slow(setting):
        return None
    advised = advise(setting, target_variance=TARGET_VARIANCE, levers=("alpha",))
    return advised[0].setting if advised else None


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
