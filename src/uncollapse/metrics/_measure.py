"""`measure`: are these embeddings collapsed?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uncollapse.errors import InputError
from uncollapse.metrics._build_record import InMemory, as_prediction, build_record, check_confidence
from uncollapse.metrics.class_moments import classes_of
from uncollapse.metrics.moments import Floats
from uncollapse.metrics.secondary import nc1_null, uniformity_of
from uncollapse.metrics.slices import measure_slices
from uncollapse.probes import ProbeOptions, probe_within_classes
from uncollapse.records import Margins, Measurement, Prediction
from uncollapse.samples import ByRole, checked, sample_of, unit_rows

DEFAULT_PROBE = ProbeOptions()

# Instances are kept for the permutation null up to this size; above it the null is left out.
_KEEP_BYTES = 1 << 29
# Rows of which uniformity takes all pairs.
_UNIFORMITY_ROWS = 2048

Column = ArrayLike | Any


def measure(
    embeddings: ArrayLike | Any,
    labels: Column,
    *,
    instances: Column | None = None,
    groups: Column | None = None,
    fine_labels: Column | None = None,
    slices: Mapping[str, Column] | Column | None = None,
    prediction: Prediction | Mapping[str, Any] | None = None,
    margins: Margins | None = None,
    probe: ProbeOptions | None = DEFAULT_PROBE,
    permutations: int = 20,
    confidence: float = 0.95,
    drop_invalid: bool = False,
    seed: int = 0,
    layer: str | None = None,
    split: str | None = None,
    sources: Mapping[str, str] | None = None,
) -> Measurement:
    """Say whether embeddings are collapsed, with numbers that can be trusted.

    On unit vectors, with a_c the mean cosine across instances of class c and s_c the mean cosine
    between views of one instance,

        within = mean_c (1 - a_c) = between instances (s_c - a_c) + between views (1 - s_c)

    Args:
        embeddings: (N, d) array or tensor, one row per sample; or (N, p, d) for p views of each of
            N instances. Rows that are not unit vectors are normalised, and it is said.
        labels: (N,) class of each row.
        instances: (N,) instance of each row, when rows are views of instances. None: every row is
            its own instance, and view variance is unknown.
        groups: (N,) what was drawn independently (patient, part, video), when it holds several
            instances. Intervals are clustered by it, and variance is taken across groups.
        fine_labels: (N,) finer label; inside each class a probe tries to read it.
        slices: (N,) column, or columns by name, over whose values to compare (site, machine, ...).
        prediction: What `uncollapse.theory.predict` says of the run's setting, or its JSON. Its
            classes are in sorted label order.
        margins: Where healthy ends and collapse begins.
        probe: Options of the within-class probe: its `within`; None leaves it out.
        permutations: Permutations of the null of NC1; 0 leaves it out.
        confidence: Of every interval, in (0, 1).
        drop_invalid: Drop and count unusable rows instead of refusing them.
        seed: Of permutations, probe splits and the subsample for uniformity.
        layer: Name of the layer that the embeddings come from, for the record.
        split: Name of the data split, for the record.
        sources: Where "embeddings", "labels", ... come from, for errors (files and columns).

    Returns:
        The record; `print` shows it, `to_json` writes it.

    Raises:
        InputError: Rows that are not finite or zero, missing labels, lengths that differ, one
            class, a class with one instance, an instance in two classes.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> spread = np.eye(3, 16)[labels] + 0.3 * rng.standard_normal((150, 16))
        >>> measure(spread, labels).verdict
        'healthy'
        >>> measure(np.eye(3, 16)[labels], labels).verdict
        'collapsed'

    Reference: Lee, Oh, Lee & Sohn 2025 (arXiv 2503.08203) print the plug-in of the within-class
    variance; the estimates here are unbiased for a new sample, and the plug-in stands beside them.
    """
    check_confidence(confidence)
    if seed < 0:
        raise InputError("seed >= 0", f"{seed}", "give a whole number from 0")
    if permutations < 0:
        raise InputError("permutations >= 0", f"{permutations}", "0 leaves the null out")
    if not isinstance(slices, Mapping):
        slices = {} if slices is None else {"slice": slices}
    columns = ByRole[Any](
        labels=labels, instances=instances, groups=groups, fine_labels=fine_labels, slices=slices
    )
    sample = checked(sample_of(embeddings, columns, sources), drop_invalid=drop_invalid)
    rng = np.random.default_rng(seed)
    classes = classes_of(sample, keep_bytes=_KEEP_BYTES if permutations else 0)
    null = None
    if permutations and classes.points is not None:
        null = nc1_null(classes.points, list(classes.counts.values()), permutations, rng)
    options = None if probe is None else probe.within
    read, hits = None, dict[str, Floats]()
    if sample.fine_labels is not None and options is not None:
        read = probe_within_classes(sample, sample.fine_labels, options, rng, hits)
    prediction, margins = as_prediction(prediction), margins or Margins()
    by_slice = measure_slices(sample, hits, margins, prediction, options, confidence, rng)
    chosen = np.sort(rng.permutation(len(sample.matrix))[:_UNIFORMITY_ROWS])
    uniformity = uniformity_of(unit_rows(sample.matrix[chosen]))
    return build_record(
        classes,
        prediction=prediction,
        margins=margins,
        confidence=confidence,
        layer=layer,
        split=split,
        in_memory=InMemory(uniformity, null, read, by_slice, seed),
    )
