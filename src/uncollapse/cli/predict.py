"""`uncollapse predict`: what the loss will do, before training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from uncollapse.cli._advised import advice_lines, advice_records
from uncollapse.cli._console import hanging, print_json
from uncollapse.cli._options import Fields, Keywords
from uncollapse.cli._setting import (
    SETTING,
    BatchOptions,
    CountsText,
    FromZero,
    Json,
    Numbers,
    read_counts,
    read_matrix,
    read_numbers,
)
from uncollapse.errors import InputError
from uncollapse.records import (
    BalancedBatch,
    Calibration,
    NetworkPrediction,
    Prediction,
    RandomBatch,
    Setting,
)
from uncollapse.theory import predict, with_keep

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
        label_noise: Share of labels that are wrong, even over the other classes, 0 to below 1.
        confusion: Instead of it: a text file with one line a true class and one number a label:
            how many instances of the class carry it.
        alpha_per_class: Alpha of each class, 0 to 1, as 0.1,1,0.5 or @file (one number a line),
            instead of --alpha.
        target_variance: Instance variance that the changes should reach, between 0 and 1.
            [default: 0.01 in every class; with --calibration a fifth of the way from alpha 0 to 1]
        keep: Weight of a kept reference in the loss (loss.keep of a run), from 0: a note says what
            it changes.
        calibration: Calibration of trained networks (`uncollapse calibrate`), to say what one like
            those would show, and to search changes for one.
        seed: Seed of sampled batches.
    """

    setting: Annotated[Keywords, Fields(Setting, SETTING, {"class_counts": CountsText})]
    batch: BatchOptions
    dim: int | None = None
    label_noise: float = 0.0
    confusion: Path | None = None
    alpha_per_class: Numbers = None
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
    labels: Keywords = {
        "label_noise": options.label_noise,
        "confusion": None if options.confusion is None else read_matrix(options.confusion),
        "alpha_per_class": read_numbers(options.alpha_per_class),
    }
    prediction = predict(setting, seed=options.seed, calibration=calibration, **labels)
    prediction = with_keep(prediction, options.keep)
    target, seed = options.target_variance, options.seed
    noisy, learnt = any(value is not None and value != 0 for value in labels.values()), None
    if noisy and target is not None:
        raise InputError(
            "changes searched for right labels and one alpha",
            "--target-variance with wrong labels or an alpha by class",
            "leave it out, or search without them",
        )
    if prediction.label_noise is not None:
        learnt = predict(setting, seed=seed, noise_learned=True, **labels)
    if options.as_json:
        record = prediction.to_dict()
        if target is not None or calibration is not None:
            record["advice"] = advice_records(setting, target, seed, calibration)
        if learnt is not None:
            record["noise_learned"] = learnt.to_dict()
        print_json("prediction", record)
        return
    each = options.alpha_per_class is not None
    lines = _report(setting, prediction, learnt, by_class=each)
    if not noisy:
        lines += advice_lines(setting, prediction, target, seed, calibration)
    typer.echo(hanging("\n".join([*lines, *(f"note: {note}" for note in prediction.notes)])))


def _report(
    setting: Setting, p: Prediction, learnt: Prediction | None, *, by_class: bool
) -> list[str]:
    described = describe(setting)
    if by_class:
        described = described.replace(f"alpha {setting.alpha:g}", "alpha by class")
    return [
        f"{p.phase}: {MEANING[p.phase]}",
        "",
        f"setting      {described}",
        *_labels(p),
        f"variance     {_variances(p)}",
        *_ranges(p),
        *_margins(setting, p),
        f"proof        loss {p.loss:.6f}, at most {max(p.certificate_gap, 1e-16):.0e} (relative) "
        "above the global minimum",
        *_network(p.network),
        *_learnt(learnt),
        *_by_class(setting, p),
        "",
    ]


def _variances(p: Prediction) -> str:
    return (
        f"within classes {p.within_class_variance:.4f} = "
        f"{p.instance_variance:.4f} between instances + {p.view_variance:.4f} between views; "
        f"between classes {p.between_class_variance:.4f}"
    )


def _labels(p: Prediction) -> list[str]:
    """What labels are, and what the numbers below them are of."""
    noise = p.label_noise
    if noise is None:
        return []
    wrong = "by the confusion matrix" if noise.rate is None else f"{noise.rate:.4g} wrong"
    return [
        f"labels       {wrong}: {noise.same_class_positives:.2%} of the positives are of the "
        "anchor's true class",
        "             if the encoder cannot know which are wrong, by true class:",
    ]


def _learnt(p: Prediction | None) -> list[str]:
    if p is None or p.label_noise is None:
        return []
    threshold = "" if p.alpha_threshold is None else f"; threshold alpha {p.alpha_threshold:.4g}"
    return [
        f"by heart     if it learns the wrong labels too, by label: {p.phase}{threshold}",
        f"             {_variances(p)}; within true classes "
        f"{p.label_noise.within_true_class_variance:.4f}",
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
    views = "view" if setting.views == 1 else "views"
    return (
        f"{data}, {setting.views} {views}, {around}, alpha {setting.alpha:g}, temperature "
        f"{setting.temperature:g}, self pairs {setting.self_pairs}d, mean over {setting.reduction}"
    )


def _network(network: NetworkPrediction | None) -> list[str]:
    if network is None:
        return []
    return [
        f"network      one like those of the calibration: variance within classes "
        f"{network.within_class_variance}, between classes {network.between_class_variance} "
        f"({network.confidence:.0%} intervals); {network.spread_begins}",
        *(f"note: {note}" for note in network.notes),
    ]


def _ranges(p: Prediction) -> list[str]:
    """Where the digits above are more than the loss feels."""
    names = (
        ("within classes", p.within_class_variance_range),
        ("between instances", p.instance_variance_range),
        ("between views", p.view_variance_range),
        ("between classes", p.between_class_variance_range),
    )
    wide = [
        f"{name} {ends.low:.4f} to {ends.high:.4f}"
        for name, ends in names
        if ends is not None and f"{ends.low:.4f}" != f"{ends.high:.4f}"
    ]
    return [f"             within 1e-6 of that loss: {', '.join(wide)}"] if wide else []


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
