"""How an embedding of the benchmark is scored: on test rows, by examples that chose nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics import fit_linear_map, measure, retention
from uncollapse.probes import Embedded, ProbeOptions, probe
from uncollapse.records import BenchmarkScores
from uncollapse.stress import Examined, Reader, labels_read

SHOTS = 10
BASE = "inputs"  # The untouched base: a row as the encoder receives it.
LAYERS = ("projector", "backbone")
_WHITENED = "-whitened"
_EXAMPLES = 2000  # Training rows that a probe or a linear map is fitted on, at most.
_LEAST = 8  # Test rows of a slice whose recall counts.

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Layers = dict[str, Floats]


@dataclass(frozen=True)
class Side:
    """Rows that take part, with their embeddings and labels."""

    layers: Layers
    labels: Integers
    rows: Integers  # numbers of the clean data

    def only(self, places: Integers | NDArray[np.bool_]) -> Side:
        """Some of them."""
        layers = {name: values[places] for name, values in self.layers.items()}
        return Side(layers, self.labels[places], self.rows[places])


def scored(reader: Reader, test: Examined, *, base: bool) -> dict[str, BenchmarkScores]:
    """By embedding: of the base, or of both layers; each as it is and whitened."""
    labels = reader.labels_of(test.rows)
    tested = Side(reader.embedded(reader.clean, test.rows, test), labels, test.rows)
    tested = tested.only(labels >= 0)
    # What should be kept is the structure of the clean rows.
    plain = reader.embedded(reader.clean, tested.rows) if test.corruption else tested.layers
    train, known = _examples(reader), _clean_examples(reader)
    names = (BASE,) if base else LAYERS
    for name in names:
        linear = fit_linear_map(train.layers[name])
        for side in (train, known, tested):
            side.layers[name + _WHITENED] = linear(side.layers[name])
    every = [name + kind for name in names for kind in ("", _WHITENED)]
    finer = _finer(reader, every, known, tested)
    return {
        name: replace(_of(name, reader, train, tested, plain[BASE]), finer=finer.get(name))
        for name in every
    }


def _few(count: int) -> Integers:
    """Places of at most so many rows that a probe may be fitted on, drawn once."""
    places = np.random.default_rng(0).permutation(count)[:_EXAMPLES]
    return np.sort(places)


def _examples(reader: Reader) -> Side:
    """The run's own training rows with the labels that it had."""
    data = reader.found.data
    rows = data.rows("train")
    side = Side(dict(reader.examples), data.labels[rows], reader.found.rows[rows])
    side = side.only(side.labels >= 0)
    return side.only(_few(len(side.labels)))


def _clean_examples(reader: Reader) -> Side:
    """Training rows that finer labels are read by: of the clean data, with the right labels."""
    layers, rows = reader.clean_examples
    side = Side(dict(layers), reader.labels_of(rows), rows)
    side = side.only(side.labels >= 0)
    return side.only(_few(len(side.labels)))


def _finer(reader: Reader, names: list[str], known: Side, tested: Side) -> Mapping[str, float]:
    """Balanced accuracy of the finer label inside the classes, by ten examples of each."""
    data = reader.clean
    if not data.fine:
        return {}
    rows = np.concatenate([known.rows, tested.rows])
    split = np.where(np.arange(len(rows)) < len(known.rows), "train", "test")
    label = np.concatenate([known.labels, tested.labels])
    layers = {n: np.concatenate([known.layers[n], tested.layers[n]]) for n in names}
    embedded = Embedded(layers, {"label": label, "finer": data.columns[data.fine[0]][rows]}, split)
    embedded = replace(embedded, label="label")
    options = ProbeOptions(shots=(SHOTS,), least_units=SHOTS, probes=("within-class few-shot",))
    result = probe(embedded, targets=["finer"], settings=options)
    found = {}
    for name in names:
        for reading in result.target(name, "finer").readings:
            found[name] = float(reading.score.balanced_accuracy.estimate)
    return found


def _of(name: str, reader: Reader, train: Side, tested: Side, base: Floats) -> BenchmarkScores:
    values, labels = tested.layers[name], tested.labels
    right = labels_read(train.layers[name], train.labels, values) == labels
    classes = [float(right[labels == code].mean()) for code in np.unique(labels)]
    record = measure(values, labels, permutations=0, probe=None)
    within, total = record.within_class_variance.estimate, record.total_variance.estimate
    kept = None
    if name != BASE:
        kept = retention(values, base, labels, permutations=0).retention.estimate
    return BenchmarkScores(
        training_label=float(np.mean(classes)),
        worst_class=min(classes),
        worst_slice=min(_slices(reader, right, tested), default=None),
        retention=None if kept is None else float(kept),
        instance_variance=within,
        share=within / total if within is not None and total else None,
        verdict=record.verdict,
    )


def _slices(reader: Reader, right: NDArray[np.bool_], tested: Side) -> Iterator[float]:
    """Recall of the training label in every finer label and slice of a class."""
    data = reader.clean
    for column in (*data.fine, *data.slices):
        values = data.columns[column][tested.rows]
        for code in np.unique(tested.labels):
            for value in np.unique(values):
                own = (tested.labels == code) & (values == value)
                if own.sum() >= _LEAST:
                    yield float(right[own].mean())
