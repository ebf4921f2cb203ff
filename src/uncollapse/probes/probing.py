"""`probe`: what frozen embeddings let read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from uncollapse.errors import InputError
from uncollapse.probes.accuracy import INTERVAL
from uncollapse.probes.classifiers import few_shot, linear, neighbours
from uncollapse.probes.classify import need_sklearn
from uncollapse.probes.dataset import Dataset, Embedded, as_dataset
from uncollapse.probes.settings import ProbeSettings
from uncollapse.probes.task import task_of
from uncollapse.probes.within import within_classes
from uncollapse.records import ProbeResult, Reading, TargetProbe

__all__ = ["Progress", "probe"]

# Called with the targets read so far and the targets in all.
Progress = Callable[[int, int], None]


def _quiet(done: int, total: int) -> None:
    """No progress."""


def probe(
    embedded: Embedded,
    *,
    downstream: Sequence[Embedded] = (),
    targets: Sequence[str] | None = None,
    settings: ProbeSettings | None = None,
    seed: int = 0,
    progress: Progress = _quiet,
) -> ProbeResult:
    """Read targets off frozen embeddings by four probes, at every layer.

    Linear (logistic regression, L2 penalty from a path), weighted cosine neighbours, few shots per
    class (nearest class mean), and inside each class of the training label. Each is fitted on the
    training split, its hyperparameters are chosen on the validation split, it is then fitted on
    both (`ProbeSettings.refit`), and tested once on the test split.

    Args:
        embedded: Embeddings with splits and targets.
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

    Example:
        >>> rng = np.random.default_rng(0)
        >>> digit = rng.integers(0, 4, 400)
        >>> rows = np.eye(4, 8)[digit] + 0.3 * rng.standard_normal((400, 8))
        >>> data = Embedded({"z": rows}, {"even": digit % 2, "digit": digit}, label="even")
        >>> found = probe(data, settings=ProbeSettings(l2=(0.01, 0.1), draws=5))
        >>> found.of("z", "digit").reading("linear").score.balanced_accuracy.estimate > 0.9
        True
        >>> found.of("z", "digit").reading("within-class knn").score.chance_corrected.low > 0.8
        True

    Reference: Kornblith, Shlens & Le 2019 (arXiv 1805.08974), appendix A.4, for the path of 45
    penalties chosen on validation and the final fit on both; measured here at a scale of features
    that no layer changes.
    """
    need_sklearn()
    settings = settings or ProbeSettings()
    sets = [as_dataset(one, seed) for one in (embedded, *downstream)]
    read = [list(data.targets) for data in sets]
    if targets is not None:
        read[0] = _named(targets, sets[0])
    total = sum(len(data.layers) * len(names) for data, names in zip(sets, read, strict=True))
    found: list[TargetProbe] = []
    for number, data in enumerate(sets):
        for layer in data.layers:
            for place, target in enumerate(read[number]):
                one = _probe_target(data, layer, target, settings, [seed, 2, number, place])
                found.append(one)
                progress(len(found), total)
    return ProbeResult(tuple(found), _conditions(sets, settings, seed))


def _named(targets: Sequence[str], data: Dataset) -> list[str]:
    if missing := [name for name in targets if name not in data.targets]:
        listed = ", ".join(data.targets)
        raise InputError(f"a target {missing[0]!r}", f"targets {listed}", "name one of them")
    return list(dict.fromkeys(targets))


def _probe_target(
    data: Dataset, layer: str, target: str, settings: ProbeSettings, seed: list[int]
) -> TargetProbe:
    task = task_of(data, layer, target)
    readings: list[Reading] = []
    notes: list[str] = []
    if "linear" in settings.probes:
        read, more = linear(task, settings)
        readings.append(read)
        notes += more
    if "knn" in settings.probes:
        readings.append(neighbours(task, settings))
    if "few-shot" in settings.probes:
        shots, more = few_shot(task, settings, seed)
        readings += shots
        notes += more
    if data.given.label in data.targets and target != data.given.label:
        inside, more = within_classes(data, layer, target, settings, seed)
        readings += inside
        notes += more
    unseen = np.setdiff1d(task.test.labels, np.arange(task.classes))
    if len(unseen):
        notes.append(f"{len(unseen)} labels of test rows are in no training row: counted as wrong")
    sizes = {name: len(getattr(task, name).rows) for name in ("train", "validation", "test")}
    return TargetProbe(
        data.given.name,
        layer,
        target,
        _role(data, target),
        task.classes,
        sizes | {"missing": task.missing},
        tuple(readings),
        tuple(notes),
    )


def _role(data: Dataset, target: str) -> str:
    if target == data.given.label:
        return "label"
    if target in data.given.fine:
        return "fine"
    return "slice" if target in data.given.slices else "target"


def _conditions(sets: list[Dataset], settings: ProbeSettings, seed: int) -> dict[str, Any]:
    shown = asdict(settings)
    shown["within"].pop("index")
    return {
        "seed": seed,
        "data": [
            {
                "name": data.given.name,
                "label": data.given.label,
                "unit": data.unit,
                "rows": {n: len(getattr(data.split, n)) for n in ("train", "validation", "test")},
                "cut_here": list(data.split.cut),
            }
            for data in sets
        ],
        "chosen_by": "balanced accuracy on the validation split",
        "fitted_on": "train and validation" if settings.refit else "train",
        "interval": INTERVAL,
        "settings": _plain(shown),
    }


def _plain(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    return [_plain(value) for value in values] if isinstance(values, (tuple, list)) else values
