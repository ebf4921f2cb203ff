"""`uncollapse predict`: what the loss will do, before training."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from uncollapse.cli import _parameters as parameters
from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, Batch, FullBatch, Prediction, RandomBatch
from uncollapse.theory import LEVERS, Advice, Lever, Setting, advise, predict

__all__ = ["predict_command"]

# Advice solves a setting some fifty times, or fifteen for alpha alone. Beyond so many different
# class sizes, and where batches of unequal classes make a solution slow, only alpha is searched;
# beyond the second number nothing is.
ADVISED_SIZES, ADVISED_BY_ALPHA = 64, 256

MEANING = {
    "spread": "instances of a class keep apart",
    "collapse": "instances of a class become one point",
    "view-splitting": "views keep apart, but the instances of a class become one point",
}


def predict_command(
    alpha: Annotated[float, typer.Option(help="Weight of the self-supervised term, 0 to 1.")],
    temperature: Annotated[float, typer.Option(help="Temperature tau, 0.001 to 1000.")],
    classes: parameters.Classes = None,
    per_class: parameters.PerClass = None,
    class_counts: parameters.ClassCounts = None,
    views: parameters.Views = 2,
    self_pairs: parameters.SelfPairsChoice = "exclude",
    reduction: parameters.ReductionChoice = "anchors",
    anchors_without_positives: parameters.AnchorsChoice = "drop",
    batch_size: parameters.BatchSize = None,
    batch_per_class: parameters.BatchPerClass = None,
    batch_classes: parameters.BatchClasses = None,
    dim: Annotated[
        int | None,
        typer.Option(help="Embedding dimension d, from 1.", show_default="large enough"),
    ] = None,
    target_variance: Annotated[
        float | None,
        typer.Option(
            help="Instance variance that the changes should reach, between 0 and 1.",
            show_default="0.01 in every class",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampled batches.")] = 0,
    as_json: parameters.Json = False,
) -> None:
    """Say what the loss will do, before training.

    Computes the global optimum of L = (1 - alpha) L_sup + alpha L_self over all embeddings: its
    phase, its variances, the thresholds, and the smallest changes that prevent collapse.

    Example: `uncollapse predict --classes 10 --per-class 50 --alpha 0 --temperature 0.1`
    """
    setting = Setting(
        class_counts=_counts(class_counts),
        classes=classes,
        per_class=per_class,
        views=views,
        alpha=alpha,
        temperature=temperature,
        self_pairs=self_pairs,
        reduction=reduction,
        anchors_without_positives=anchors_without_positives,
        dimension=dim,
        batch=_batch(batch_size, batch_per_class, batch_classes),
    )
    prediction = predict(setting, seed=seed)
    if as_json:
        record = prediction.to_dict()
        if target_variance is not None:
            found = _advise(setting, target_variance, seed)
            record["advice"] = None if found is None else [_record(a) for a in found]
        typer.echo(json.dumps(record, allow_nan=False))
        return
    for line in _report(setting, prediction, target_variance, seed):
        typer.echo(line)


def _counts(text: str | None) -> list[int] | None:
    """Class counts from `10,4,2` or `@file`."""
    if text is None:
        return None
    if text.startswith("@"):
        path = Path(text[1:])
        try:
            parts = path.read_text(encoding="utf-8-sig").split()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise InputError(
                "a text file with one class count a line", f"{str(path)!r}: {why}", "check the path"
            ) from error
    else:
        parts = text.split(",")
    counts = []
    for number, part in enumerate(parts, 1):
        if not re.fullmatch(r"\s*[+-]?\d{1,40}\s*", part):
            raise InputError(
                "class counts as whole numbers, at most 1e9",
                f"{part[:40]!r} as number {number}",
                "write 10,4,2, or @file with one number a line",
            )
        counts.append(int(part))
    return counts


def _batch(size: int | None, per_class: int | None, classes: int | None) -> Batch:
    if size is not None and (per_class is not None or classes is not None):
        raise InputError(
            "one kind of batch",
            "--batch-size with --batch-per-class or --batch-classes",
            "a batch is either random of a size, or balanced",
        )
    if size is not None:
        return RandomBatch(size)
    if per_class is not None:
        return BalancedBatch(per_class, classes)
    if classes is not None:
        raise InputError(
            "--batch-per-class beside --batch-classes",
            "--batch-classes alone",
            "say how many instances of each class a batch holds",
        )
    return FullBatch()


def _report(setting: Setting, prediction: Prediction, target: float | None, seed: int) -> list[str]:
    p = prediction
    lines = [
        f"{p.phase}: {MEANING[p.phase]}",
        "",
        f"setting      {_describe(setting)}",
        f"variance     within classes {p.within_class_variance:.4f} = "
        f"{p.instance_variance:.4f} between instances + {p.view_variance:.4f} between views; "
        f"between classes {p.between_class_variance:.4f}",
        *_margins(setting, p),
        f"proof        loss {p.loss:.6f}, at most {max(p.certificate_gap, 1e-16):.0e} (relative) "
        "above the global minimum",
        *_by_class(setting, p),
    ]
    lines += ["", *_advice(setting, prediction, target, seed)]
    return lines + [f"note: {note}" for note in p.notes]


def _describe(setting: Setting) -> str:
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
    labels = ["margin", *[""] * 2]
    return [f"{label:12s} {line}" for label, line in zip(labels, lines, strict=False)]


def _by_class(setting: Setting, p: Prediction) -> list[str]:
    """Unequal classes: one line per size, at most ten."""
    if setting.balanced:
        return []
    rows = dict(
        zip(
            setting.counts.tolist(),
            zip(p.phase_per_class, p.instance_variance_per_class, strict=True),
            strict=True,
        )
    )
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
    sizes = len(set(setting.counts.tolist()))
    if sizes > ADVISED_BY_ALPHA:
        return ()
    slow = not setting.balanced and not isinstance(setting.batch, FullBatch)
    return ("alpha",) if slow or sizes > ADVISED_SIZES else LEVERS


def _advise(setting: Setting, target: float | None, seed: int) -> list[Advice] | None:
    """Advice by the levers that are quick enough to search; None where none is."""
    levers = _levers(setting)
    if not levers:
        return None
    return advise(setting, target_variance=target, levers=levers, seed=seed)


def _advice(setting: Setting, p: Prediction, target: float | None, seed: int) -> list[str]:
    found = _advise(setting, target, seed)
    goal = "leave collapse" if target is None else f"reach an instance variance of {target:g}"
    if found is None:
        return [f"changes are not searched beyond {ADVISED_BY_ALPHA} different class sizes", ""]
    if found:
        only = " (only alpha searched)" if len(_levers(setting)) == 1 else ""
        return [f"smallest single changes that {goal}{only}:", *map(_change, found), ""]
    there = p.phase == "spread" if target is None else p.instance_variance >= target
    searched = ", ".join(lever.replace("_", " ") for lever in _levers(setting))
    return [] if there else [f"no single change of {searched} would {goal}", ""]


def _record(advice: Advice) -> dict[str, Any]:
    return {
        "lever": advice.lever,
        "before": advice.before,
        "value": advice.value,
        "size": advice.size,
        "instance_variance": advice.prediction.instance_variance,
    }


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
