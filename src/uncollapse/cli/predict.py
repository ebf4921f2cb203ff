"""`uncollapse predict`: what the loss will do, before training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from uncollapse.cli._console import print_json
from uncollapse.cli._options import Fields, Keywords
from uncollapse.cli._setting import SETTING, BatchOptions, CountsText, FromZero, Json, read_counts
from uncollapse.records import (
    BalancedBatch,
    Calibration,
    FullBatch,
    NetworkPrediction,
    Prediction,
    RandomBatch,
    Setting,
)
from uncollapse.theory import LEVERS, Advice, Lever, advise, predict, with_keep

# Advice solves a setting some fifty times, or fifteen for alpha alone. Beyond so many different
# class sizes, and where batches of unequal classes make a solution slow, only alpha is searched;
# beyond the second number nothing is.
ADVISED_SIZES, ADVISED_BY_ALPHA = 64, 256

MEANING = {
    "spread": "instances of a class keep apart",
    "collapse": "instances of a class become one point",
    "view-splitting": "views keep apart, but the instances of a class become one point",
}


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The setting, advice and answer.

    Attributes:
        dim: Embedding dimension d, from 1. [default: large enough]
        target_variance: Instance variance that the changes should reach, between 0 and 1.
            [default: 0.01 in every class]
        keep: Weight of a kept reference in the loss (loss.keep of a run), from 0: a note says what
            it changes.
        calibration: Calibration of trained networks (`uncollapse calibrate`), to say what one like
            those would show.
        seed: Seed of sampled batches.
    """

    setting: Annotated[Keywords, Fields(Setting, SETTING, {"class_counts": CountsText})]
    batch: BatchOptions
    dim: int | None = None
    target_variance: float | None = None
    keep: Annotated[float, typer.Option(min=0)] = 0.0
    calibration: Path | None = None
    seed: FromZero = 0
    as_json: Json = False


def predict_command(options: PredictOptions) -> None:
    """Say what the loss will do, before training.

    Computes the global optimum of L = (1 - alpha) L_sup + alpha L_self over all embeddings: its
    phase, its variances, the thresholds, and the smallest changes that prevent collapse.

    Example: `uncollapse predict --classes 10 --per-class 50 --alpha 0 --temperature 0.1`
    """
    given = options.setting | {"class_counts": read_counts(options.setting["class_counts"])}
    setting = Setting(**given, dimension=options.dim, batch=options.batch.batch())
    calibration = None
    if options.calibration is not None:
        calibration = Calibration.read(options.calibration, "write it with uncollapse calibrate")
    prediction = predict(setting, seed=options.seed, calibration=calibration)
    prediction = with_keep(prediction, options.keep)
    target, seed = options.target_variance, options.seed
    if options.as_json:
        record = prediction.to_dict()
        if target is not None:
            record["advice"] = None
            if levers := _levers(setting):
                changes = advise(setting, target_variance=target, levers=levers, seed=seed)
                record["advice"] = [_record(change) for change in changes]
        print_json("prediction", record)
    else:
        typer.echo("\n".join(_report(setting, prediction, target, seed)))


def _report(setting: Setting, prediction: Prediction, target: float | None, seed: int) -> list[str]:
    p = prediction
    return [
        f"{p.phase}: {MEANING[p.phase]}",
        "",
        f"setting      {describe(setting)}",
        f"variance     within classes {p.within_class_variance:.4f} = "
        f"{p.instance_variance:.4f} between instances + {p.view_variance:.4f} between views; "
        f"between classes {p.between_class_variance:.4f}",
        *_margins(setting, p),
        f"proof        loss {p.loss:.6f}, at most {max(p.certificate_gap, 1e-16):.0e} (relative) "
        "above the global minimum",
        *_network(p.network),
        *_by_class(setting, p),
        "",
        *_advice(setting, p, target, seed),
        *(f"note: {note}" for note in p.notes),
    ]


def describe(setting: Setting) -> str:
    """Data, batch and loss on one line."""
    counts, batch = setting.counts, setting.batch
    data = f"{len(counts)} classes of {counts[0]}"
    if not setting.balanced:
        data = f"{len(counts)} classes of {counts.min()} to {counts.max()}"
    if isinstance(batch, BalancedBatch):
        around = f"batches of {batch.per_class} x {batch.classes or len(counts)} classes"
    elif isinstance(batch, RandomBatch):
        around = f"random batches of {batch.size}"
    else:
        around = "full batch"
    return (
        f"{data}, {setting.views} view(s), {around}, alpha {setting.alpha:g}, temperature "
        f"{setting.temperature:g}, self pairs {setting.self_pairs}d, mean over {setting.reduction}"
    )


def _network(network: NetworkPrediction | None) -> list[str]:
    if network is None:
        return []
    begins = network.alpha_where_spread_begins
    where = "at no alpha" if begins is None else f"at alpha {begins}"
    return [
        f"network      one like those of the calibration: variance within classes "
        f"{network.within_class_variance}, between classes {network.between_class_variance} "
        f"({network.confidence:.0%} intervals); its spread begins {where}",
        *(f"note: {note}" for note in network.notes),
    ]


def _margins(setting: Setting, p: Prediction) -> list[str]:
    lines = []
    if p.alpha_threshold is not None:
        margin = setting.alpha - p.alpha_threshold
        side = "above" if margin > 0 else "below"
        lines.append(
            f"alpha {setting.alpha:g} is {abs(margin):.4g} {side} the threshold "
            f"{p.alpha_threshold:.4g} (collapse at or below it)"
        )
    if p.temperature_threshold is not None:
        lines.append(
            f"temperature {setting.temperature:g}, threshold {p.temperature_threshold:.4g} "
            "(collapse at or above it)"
        )
    if p.view_splitting_threshold is not None:
        lines.append(f"views split below alpha {p.view_splitting_threshold:.4g}")
    return [f"{'' if number else 'margin':12s} {line}" for number, line in enumerate(lines)]


def _by_class(setting: Setting, p: Prediction) -> list[str]:
    """Unequal classes: one line per size, at most ten."""
    if setting.balanced:
        return []
    classes = zip(setting.counts, p.phase_per_class, p.instance_variance_per_class, strict=True)
    rows = {int(size): (phase, variance) for size, phase, variance in classes}
    sizes = sorted(rows, reverse=True)
    shown = sizes if len(sizes) <= 10 else [*sizes[:5], *sizes[-5:]]
    lines = ["", "instances  instance variance  phase"]
    for size in shown:
        phase, variance = rows[size]
        lines.append(f"{size:9d}  {variance:17.4f}  {phase or 'one instance'}")
    if len(shown) < len(sizes):
        lines.insert(7, f"      ...  ({len(sizes) - 10} more sizes)")
    return lines


def _levers(setting: Setting) -> tuple[Lever, ...]:
    """What is quick enough to search."""
    sizes = len(set(setting.counts.tolist()))
    if sizes > ADVISED_BY_ALPHA:
        return ()
    slow = not setting.balanced and not isinstance(setting.batch, FullBatch)
    return ("alpha",) if slow or sizes > ADVISED_SIZES else LEVERS


def _advice(setting: Setting, p: Prediction, target: float | None, seed: int) -> list[str]:
    levers = _levers(setting)
    if not levers:
        return [f"changes are not searched beyond {ADVISED_BY_ALPHA} different class sizes", ""]
    goal = "leave collapse" if target is None else f"reach an instance variance of {target:g}"
    changes = advise(setting, target_variance=target, levers=levers, seed=seed)
    if changes:
        only = " (only alpha searched)" if len(levers) == 1 else ""
        return [f"smallest single changes that {goal}{only}:", *map(_change, changes), ""]
    there = p.phase == "spread" if target is None else p.instance_variance >= target
    searched = ", ".join(lever.replace("_", " ") for lever in levers)
    return [] if there else [f"no single change of {searched} would {goal}", ""]


def _record(advice: Advice) -> dict[str, Any]:
    record = {name: getattr(advice, name) for name in ("lever", "before", "value", "size")}
    return record | {"instance_variance": advice.prediction.instance_variance}


def _change(advice: Advice) -> str:
    names: dict[str, Any] = {
        "batch_per_class": "instances per class in a batch",
        "batch_classes": "classes in a batch of the same size",
    }
    name = names.get(advice.lever, advice.lever)
    return (
        f"  {name} {advice.before:g} -> {advice.value:.4g}: "
        f"instance variance {advice.prediction.instance_variance:.4f}"
    )
