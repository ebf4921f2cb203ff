"""What a run came to: its output measured on validation rows, beside what was predicted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from uncollapse.cli._console import print_command
from uncollapse.cli._summary import numbers_of, verdict_of
from uncollapse.errors import InputError, shown
from uncollapse.metrics import ProbeOptions, Reference, measure
from uncollapse.records import (
    Hanging,
    Measurement,
    NetworkComparison,
    Prediction,
    Row,
    decimal,
)

if TYPE_CHECKING:
    from uncollapse.training import Problem, TrainResult

OUTPUT, BEFORE = "projector", "backbone"


def show_trained(
    result: TrainResult,
    problem: Problem,
    prediction: Prediction | None,
    console: Console,
    network: Mapping[str, NetworkComparison],
) -> None:
    """Print the verdict, predicted against measured, where the run is and what is next.

    `network` is what a calibration foretold beside what came, by the name of the number.
    """
    folder = shown(result.folder)
    try:
        measured = _measured(result, problem, prediction)
        console.print(verdict_of(measured))
        lines = [
            ("measured", _of_what(result, problem, measured)),
            *_predicted(measured),
            *numbers_of(measured),
            *_label(result),
            *_kept(result, problem),
        ]
    except InputError as error:
        console.print("cannot-tell: the validation rows cannot be measured")
        lines = [("why", str(error))]
    foretold = (f"{name.replace('_', ' ')} {found}" for name, found in network.items())
    lines += [("network", f"like yours: {text}") for text in foretold]
    console.print(Hanging(*lines, ("run", folder), ("next", _NEXT)))
    words = ("embed", folder, "-o", f"{folder}/embeddings.parquet")
    print_command(f"uncollapse {shlex.join(words)}", console)


_NEXT = "embed every row, for `uncollapse measure`, `probe` and `report`:"


def _measured(result: TrainResult, problem: Problem, prediction: Prediction | None) -> Measurement:
    """Validation rows at the output of the best epoch, against the layer before the head."""
    from uncollapse.training import embed_rows, joined, load_trained

    data = problem.data
    rows = problem.validation[data.labels[problem.validation] >= 0]
    if not len(rows):
        raise InputError("validation rows", "none", "set data.split.validation")
    load_trained(result.folder, problem)
    layers = joined(embed_rows(problem.model, data, rows, problem.augmenter))
    output, before = layers[OUTPUT][:, 0], layers[BEFORE][:, 0]
    head = problem.config.head.layers > 0
    labels = np.array(data.label_names, dtype=object)[data.labels[rows]]
    return measure(
        output,
        labels,
        fine_labels=data.columns[data.fine[0]][rows] if data.fine and head else None,
        reference=Reference(before, BEFORE) if head else None,
        prediction=prediction if _same_classes(labels, prediction) else None,
        probe=ProbeOptions(permutations=0),
        permutations=0,
        layer=OUTPUT,
        split="validation",
    )


def _predicted(measured: Measurement) -> list[Row]:
    """The share at the optimum of the loss against the measured one."""
    known = measured.prediction
    if known is None:
        return []
    total = known.within_class_variance + known.between_class_variance
    share = decimal(known.within_class_variance / total if total else 0.0)
    text = f"share of variance within classes {share} at the optimum; measured {measured.share}"
    return [("predicted", text)]


def _same_classes(labels: np.ndarray, prediction: Prediction | None) -> bool:
    return prediction is not None and len(set(labels)) == len(prediction.phase_per_class)


def _of_what(result: TrainResult, problem: Problem, measured: Measurement) -> str:
    """Which rows, at which epoch."""
    given, last = measured.conditions, result.history[-1].epoch
    at = f"epoch {last}"
    if result.best is not None:
        at = f"epoch {result.best.epoch} of {last}, the best by {result.best_by}"
    return f"{OUTPUT}, {given.samples} validation rows of {given.classes} classes; {at}"


def _label(result: TrainResult) -> list[Row]:
    """Accuracy of the training label."""
    name = f"{OUTPUT}/accuracy"
    line = result.best or result.history[-1]
    if name not in line.numbers:
        return []
    return [("", f"accuracy of the training label {line[name]:.1%} (20 nearest neighbours)")]


def _kept(result: TrainResult, problem: Problem) -> list[Row]:
    """Retention of what the loss keeps, on validation rows."""
    name, loss = f"{OUTPUT}/retention", problem.config.loss
    line = result.best or result.history[-1]
    if not loss.keep or name not in line.numbers:
        return []
    return [("kept", f"retention {line[name]:.4f} of the structure of {loss.reference}")]
