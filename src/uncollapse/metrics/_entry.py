"""`measure`: are these embeddings collapsed? Of arrays, of a table, of a data set of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from uncollapse.errors import InputError
from uncollapse.metrics._measure import DEFAULT_PROBE, Column, Counts, measure_arrays
from uncollapse.metrics._ray import is_dataset, measure_dataset
from uncollapse.metrics._reference import Reference
from uncollapse.metrics.from_files import measure_files
from uncollapse.probes import ProbeOptions
from uncollapse.records import Margins, Measurement, Prediction
from uncollapse.tables import Columns, ReferenceFiles, is_table

_APART = "give the embeddings and the labels apart, without columns"
_NAMED = (
    "name them: columns=Columns(label=..., instance=..., group=..., fine=..., slices=...); or give "
    "the vectors as an array too, as by to_numpy()"
)


def measure(
    embeddings: ArrayLike | Any,
    labels: Column | None = None,
    *,
    columns: Columns | None = None,
    instances: Column | None = None,
    groups: Column | None = None,
    fine_labels: Column | None = None,
    slices: Mapping[str, Column] | Column | None = None,
    reference: Reference | ArrayLike | Any | None = None,
    prediction: Prediction | Mapping[str, Any] | Callable[[Counts], Prediction] | None = None,
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
            N instances; a column of vectors of Arrow, polars or pandas; a list of vectors. Rows
            that are not unit vectors are normalised, and the output notes it. Or a whole table
            (what has `__arrow_c_stream__`: polars, pyarrow, pandas, a query's result) or a Ray
            Dataset, as `measure_files` takes them.
        labels: (N,) class of each row; of a table the name of a column.
        columns: Of a table: what is where in it.
        instances: (N,) instance of each row, when rows are views of instances. None: every row is
            its own instance, and view variance is unknown.
        groups: (N,) what was drawn independently (patient, part, video), when it holds several
            instances. Intervals are clustered by it, and variance is taken across groups.
        fine_labels: (N,) finer label; inside each class a probe tries to read it.
        slices: (N,) column, or columns by name, over whose values to compare (site, machine, ...).
        reference: Another embedding of the same rows in the same order, (N, e) or a `Reference`
            with its name: another layer, the untrained or pretrained encoder, raw inputs, the model
            in production. What of its structure inside the classes is kept is the record's
            `reference` (see `retention`); with finer labels, few-shot accuracy of both. Of a table:
            a table or file, joined by an id column of both, or a `ReferenceFiles`.
        prediction: What `uncollapse.theory.predict` says of the run's setting, or its JSON; or a
            function from {label: instances} of the measured classes to it. Its classes are in
            sorted label order.
        margins: Where collapse begins, and what counts as kept.
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
        InputError: Arrays beside a table; rows that are not finite or zero, missing labels, lengths
            that differ, one class, a class with one instance, an instance in two classes.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> spread = np.eye(3, 16)[labels] + 0.3 * rng.standard_normal((150, 16))
        >>> measure(spread, labels).verdict
        'not-collapsed'
        >>> measure(np.eye(3, 16)[labels], labels).verdict
        'collapsed'
        >>> import pyarrow as pa
        >>> measure(pa.table({"z": list(spread), "kind": labels}), "kind").verdict
        'not-collapsed'

    Reference: Lee, Oh, Lee & Sohn 2025 (arXiv 2503.08203) print the plug-in of the within-class
    variance; the estimates here are unbiased for a new sample, and the plug-in stands beside them.
    """
    options: dict[str, Any] = {
        "prediction": prediction,
        "margins": margins,
        "probe": probe,
        "permutations": permutations,
        "confidence": confidence,
        "drop_invalid": drop_invalid,
        "seed": seed,
        "layer": layer,
        "split": split,
    }
    if not is_table(embeddings) and not is_dataset(embeddings):
        if columns is not None:
            raise InputError("a table with columns", f"a {type(embeddings).__name__}", _APART)
        return measure_arrays(
            embeddings,
            labels,
            instances=instances,
            groups=groups,
            fine_labels=fine_labels,
            slices=slices,
            reference=reference,
            sources=sources,
            **options,
        )
    beside: Any = reference
    if is_table(beside) or isinstance(beside, ReferenceFiles | str | Path):
        reference = None
    arrays = (instances, groups, fine_labels, slices, reference, sources)
    if any(given is not None for given in arrays) or not isinstance(labels, str | None):
        raise InputError("names of a table's columns", "arrays beside a table", _NAMED)
    columns = columns or Columns()
    columns = columns if labels is None else replace(columns, label=labels)
    if is_dataset(embeddings) and beside is not None:
        raise InputError("a Dataset alone", "a reference beside it", "measure a part in memory")
    if is_dataset(embeddings):
        return measure_dataset(embeddings, columns=columns, **options)
    table: Any = embeddings
    return measure_files(table, columns=columns, reference=beside, **options)
