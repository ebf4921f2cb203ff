"""What `uncollapse predict` advises: which changes are searched, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from uncollapse.records import Calibration, FullBatch, Prediction, RandomBatch, Setting
from uncollapse.theory import LEVERS, Advice, Lever, advise

# Advice solves a setting some fifty times, or fifteen for alpha alone. Beyond so many different
# class sizes, and where batches of unequal classes make a solution slow, only alpha is searched;
# beyond the second number nothing is.
ADVISED_SIZES, ADVISED_DRAWN, ADVISED_BY_ALPHA, ADVISED_CLASSES = 64, 8, 256, 64


def searched_levers(setting: Setting) -> tuple[Lever, ...]:
    """What is quick enough to search."""
    sizes = len(set(setting.counts.tolist()))
    if sizes > ADVISED_BY_ALPHA:
        return ()
    drawn = not (setting.balanced or isinstance(setting.batch, FullBatch))
    quick = sizes <= (ADVISED_DRAWN if drawn else ADVISED_SIZES)
    if drawn:  # A larger batch of many classes has that many terms in every batch that is drawn.
        quick = quick and len(setting.counts) <= ADVISED_CLASSES
    return LEVERS if quick else ("alpha",)


def advice_lines(
    setting: Setting,
    p: Prediction,
    target: float | None,
    seed: int,
    calibration: Calibration | None,
) -> list[str]:
    """The changes for people, with what they reach."""
    levers = searched_levers(setting)
    if not levers:
        return [f"changes are not searched beyond {ADVISED_BY_ALPHA} different class sizes", ""]
    goal = "leave collapse" if target is None else f"reach an instance variance of {target:g}"
    whose = ""
    if calibration is not None:
        whose = "for a network like yours: "
        goal = "reach a moderate spread" if target is None else goal
    changes = advise(
        setting, target_variance=target, levers=levers, seed=seed, calibration=calibration
    )
    if changes:
        only = " (only alpha searched)" if len(levers) == 1 else ""
        heading = f"{whose}smallest single changes that {goal}{only}:"
        return [heading, *(_change(change, setting) for change in changes), ""]
    if _there(setting, p, target):
        return []
    searched = ", ".join(lever.replace("_", " ") for lever in levers)
    return [f"{whose}no single change of {searched} would {goal}", ""]


def _there(setting: Setting, p: Prediction, target: float | None) -> bool:
    """Whether no change is needed, where none was found."""
    if p.network is None:
        return p.phase == "spread" if target is None else p.instance_variance >= target
    if target is None:
        # Alpha goes all the way, so that one is found wherever there is a self-supervised term.
        return setting.views > 1 or setting.self_pairs == "include"
    return p.network.within_class_variance.estimate >= target


def advice_records(
    setting: Setting, target: float | None, seed: int, calibration: Calibration | None
) -> list[dict[str, Any]] | None:
    """The changes for JSON; None where none are searched."""
    levers = searched_levers(setting)
    if not levers:
        return None
    changes = advise(
        setting, target_variance=target, levers=levers, seed=seed, calibration=calibration
    )
    return [_record(change) for change in changes]


def _record(advice: Advice) -> dict[str, Any]:
    record = {name: getattr(advice, name) for name in ("lever", "before", "value", "size")}
    record |= {"instance_variance": advice.prediction.instance_variance}
    if (size := _drawn(advice)) is not None:
        record |= {"batch_size": size}
    network = advice.prediction.network
    return record if network is None else record | {"network": network.to_dict()}


def _drawn(advice: Advice) -> int | None:
    """The new size of a random batch, where that is what is changed."""
    batch = advice.setting.batch
    if advice.lever == "batch_per_class" and isinstance(batch, RandomBatch):
        return batch.size
    return None


def _change(advice: Advice, setting: Setting) -> str:
    """A line; of a random batch its size, which can be set, and what it holds on average."""
    names: dict[str, Any] = {
        "batch_per_class": "instances per class in a batch",
        "batch_classes": "classes in a batch of the same size",
    }
    name = names.get(advice.lever, advice.lever)
    change = f"{name} {advice.before:g} -> {advice.value:.4g}"
    if (size := _drawn(advice)) is not None:
        before = getattr(setting.batch, "size", setting.instances)
        change = f"batch size {before} -> {size} ({advice.value:g} instances per class on average)"
    reached = f"instance variance {advice.prediction.instance_variance:.4f}"
    if advice.prediction.network is not None:
        reached = f"variance within classes {advice.prediction.network.within_class_variance}"
    return f"  {change}: {reached}"
