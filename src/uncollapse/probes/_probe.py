"""`probe`: what frozen embeddings let read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uncollapse.errors import InputError
from uncollapse.probes._dataset import Dataset, Embedded, as_dataset, task_of
from uncollapse.probes._inside_classes import MOST_ROWS, inside_classes
from uncollapse.probes._task import INTERVAL
from uncollapse.probes.few_shot import few_shot
from uncollapse.probes.files import ProbeColumns, embedded_files
from uncollapse.probes.knn import neighbours
from uncollapse.probes.linear import linear, need_sklearn
from uncollapse.progress import Progress, quiet
from uncollapse.records import (
    ProbeConditions,
    ProbedData,
    ProbeOptions,
    ProbeReading,
    ProbeResult,
    SplitSizes,
    TargetProbe,
    check_from_zero,
)
from uncollapse.tables import Source


def probe(
    embedded: Embedded | Source,
    *,
    columns: ProbeColumns | None = None,
    downstream: Sequence[Embedded] = (),
    targets: Sequence[str] | None = None,
    settings: ProbeOptions | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> ProbeResult:
    """Read targets off frozen embeddings by four probes, at every layer.

    Linear (logistic regression, L2 penalty from a path), weighted cosine neighbours, few shots per
    class (nearest class mean), and inside each class of the training label. Each is fitted on the
    training split, its hyperparameters are chosen on the validation split, it is then fitted on
    both (`ProbeOptions.refit`), and tested once on the test split.

    Args:
        embedded: Embeddings with splits and targets; or a table of Arrow (polars, pyarrow, pandas,
            a query's result), a `Query`, or a file, which `columns` says more of.
        columns: Of a table or file: what is where in it.
        downstream: Further data sets that the same encoder embedded, with their own targets and
            splits.
        targets: Those of `embedded` to read; None: all of them.
        settings: Of the probes.
        seed: Of splits that are cut here, of shots and of subsamples.
        progress: Called after each target of a layer.

    Returns:
        The record: accuracy, balanced accuracy and chance-corrected accuracy with intervals.

    Raises:
        InputError: Rows that are not finite, a split without rows or with an unknown name, a target
            of one value, a finer label equal to the training label, too few rows for the shots.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> digit = rng.integers(0, 4, 400)
        >>> rows = np.eye(4, 8)[digit] + 0.3 * rng.standard_normal((400, 8))
        >>> data = Embedded({"z": rows}, {"even": digit % 2, "digit": digit}, label="even")
        >>> result = probe(data, settings=ProbeOptions(l2=(0.01, 0.1), draws=5))
        >>> read = result.target("z", "digit")
        >>> read.reading("linear").score.balanced_accuracy.estimate > 0.9
        True
        >>> read.reading("within-class knn").score.chance_corrected.low > 0.8
        True

    Reference: Kornblith, Shlens & Le 2019 (arXiv 1805.08974), appendix A.4, for the path of 45
    penalties chosen on validation and the final fit on both; measured here at a scale of features
    that no layer changes.
    """
    need_sklearn()
    check_from_zero(seed=seed)
    if not isinstance(embedded, Embedded):
        embedded = embedded_files(embedded, columns)
    options = settings or ProbeOptions()
    within = replace(options.within, most_rows=options.within.most_rows or MOST_ROWS)
    options = replace(options, within=within)
    datasets = [as_dataset(given, seed) for given in (embedded, *downstream)]
    names = [list(data.targets) for data in datasets]
    if targets is not None:
        if missing := [name for name in targets if name not in names[0]]:
            listed = ", ".join(names[0])
            raise InputError(f"a target {missing[0]!r}", f"targets {listed}", "name one of them")
        names[0] = list(dict.fromkeys(targets))
    total = sum(len(data.layers) * len(own) for data, own in zip(datasets, names, strict=True))
    probed: list[TargetProbe] = []
    for number, data in enumerate(datasets):
        for layer in data.layers:
            for place, target in enumerate(names[number]):
                probed.append(_probe_target(data, layer, target, options, [seed, 2, number, place]))
                progress(len(probed), total)
    return ProbeResult(tuple(probed), _conditions(datasets, options, seed))


def _probe_target(
    data: Dataset, layer: str, target: str, options: ProbeOptions, seed: list[int]
) -> TargetProbe:
    task = task_of(data, layer, target)
    readings: list[ProbeReading] = []
    notes = list(data.notes)
    if "linear" in options.probes:
        reading, more = linear(task, options)
        readings.append(reading)
        notes += more
    if "knn" in options.probes:
        readings.append(neighbours(task, options))
    if "few-shot" in options.probes:
        shots, more = few_shot(task, options, seed)
        readings += shots
        notes += more
    if data.given.label in data.targets and target != data.given.label:
        inside, more = inside_classes(data, layer, target, options, seed)
        readings += inside
        notes += more
    unseen = np.setdiff1d(task.test.labels, np.arange(task.classes))
    if len(unseen):
        notes.append(f"{len(unseen)} labels of test rows are in no training row: counted as wrong")
    train, validation, test = task.train.labels, task.validation.labels, task.test.labels
    missing = int(np.count_nonzero(data.targets[target].codes < 0))
    return TargetProbe(
        data.given.name,
        layer,
        target,
        _role(data, target),
        task.classes,
        SplitSizes(len(train), len(validation), len(test), missing),
        tuple(readings),
        tuple(notes),
    )


def _role(data: Dataset, target: str) -> str:
    if target == data.given.label:
        return "label"
    if target in data.given.fine:
        return "fine"
    return "slice" if target in data.given.slices else "target"


def _conditions(datasets: list[Dataset], options: ProbeOptions, seed: int) -> ProbeConditions:
    probed = [
        ProbedData(
            data.given.name,
            data.given.label,
            data.unit,
            SplitSizes(**{split: len(rows) for split, rows in data.rows.items()}),
            data.cut,
        )
        for data in datasets
    ]
    return ProbeConditions(
        seed,
        tuple(probed),
        chosen_by="balanced accuracy on the validation split",
        fitted_on="train and validation" if options.refit else "train",
        interval=INTERVAL,
        settings=replace(options, within=replace(options.within, index=None)),
    )
