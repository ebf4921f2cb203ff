"""An embedding against a reference of the same rows: `retention`, and the record of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uncollapse.metrics._drawn import keys_of, most_of_class, smallest
from uncollapse.metrics._hsic_groups import summed
from uncollapse.metrics._retention import (
    PERMUTATIONS,
    Drawing,
    PartOfClass,
    judged,
    part_of_class,
    too_few,
)
from uncollapse.metrics.classes import Classes
from uncollapse.metrics.features import Floats, Integers
from uncollapse.metrics.moments import ClassMoments
from uncollapse.records import JoinedBy, ReferenceComparison, ReferenceProbe
from uncollapse.samples import (
    ByRole,
    Contents,
    Sample,
    checked,
    row_norms,
    sample_of,
    unit_rows,
    with_copies_in_both,
)
from uncollapse.tables import IdDigest


@dataclass(frozen=True)
class Reference:
    """Another embedding of the same rows, with its name.

    Attributes:
        array: (N, e) array or tensor, or (N, p, e) for p views of each instance, in the order of
            the embeddings.
        name: For the record: a layer, a model, a file.
        joined_by: How the rows were brought into that order, for the record.
        paired: (N,) whether the reference has the row; None: it has all of them.
        only_in_reference: Rows that only the reference has, for the record.
        key: Id column by which they were joined, for the record.
        ids: Of all its rows, where they were joined by id: streams of one file know it by them.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> labels = np.repeat([0, 1], 50)
        >>> base = np.random.default_rng(0).standard_normal((100, 8))
        >>> found = measure(base[:, :4], labels, reference=Reference(base, "pixels")).reference
        >>> found.name, found.rows, round(found.retention.estimate, 2)
        ('pixels', 100, 0.6)
    """

    array: ArrayLike | Any
    name: str = "reference"
    joined_by: JoinedBy = "position"
    paired: ArrayLike | Any | None = None
    only_in_reference: int = 0
    key: str | None = None
    ids: IdDigest | None = None


def as_reference(given: Any) -> Reference:
    """What a caller gives: a `Reference`, another object with `name` and `array`, or an array."""
    if isinstance(given, Reference):
        return given
    if hasattr(given, "array") and hasattr(given, "name"):
        return Reference(given.array, str(given.name))
    return Reference(given)


def retention(
    embeddings: ArrayLike | Any,
    reference: ArrayLike | Any,
    labels: ArrayLike | Any,
    *,
    instances: ArrayLike | Any | None = None,
    groups: ArrayLike | Any | None = None,
    confidence: float = 0.95,
    permutations: int = PERMUTATIONS,
    drop_invalid: bool = False,
    seed: int = 0,
) -> ReferenceComparison:
    """How much of a reference's structure inside the classes an embedding of the same rows keeps.

    Inside each class, with K_ij the cosine of rows i and j and L_ij that of the reference,

        retention = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))

    with unbiased HSIC (Song et al. 2012, equation 5): 1 for the same up to rotation and scale, 0 on
    average for unrelated rows, whatever their number. Between instances of several views K_ij is
    the mean cosine over their views; pairs inside a group are left out.

    Where all rows would cost more than measuring them, large classes give a part of theirs, 100
    rows at least, drawn by their content; `drawn_from` then says of how many.

    Args:
        embeddings: (N, d) array or tensor, or (N, p, d) for p views of each of N instances.
        reference: (N, e) or (N, p, e) of the same rows in the same order, or a `Reference`.
        labels: (N,) class of each row.
        instances: (N,) instance of each row, when rows are views of instances.
        groups: (N,) what was drawn independently, when it holds several instances.
        confidence: Of every interval, in (0, 1): a jackknife that leaves out units (instances, or
            groups), with Student's t.
        permutations: Of the reference's rows inside the class, for the null; 0 leaves it out.
        drop_invalid: Drop and count unusable rows instead of refusing them.
        seed: Of permutations, and of the rows that are left out where a class has many.

    Returns:
        Retention of every class and its mean over those that have one (four units or more, and
        pairs that differ in both), each from -1 to 1.

    Raises:
        InputError: As `measure` does; also a reference of another number of rows.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> labels, base = np.repeat([0, 1], 100), rng.standard_normal((200, 8))
        >>> round(retention(2 * base, base, labels).retention.estimate, 6)
        1.0
        >>> kept = retention(base[:, :2], base, labels).retention
        >>> kept.null < kept.low < kept.estimate < kept.high < 1
        True

    Reference: Kornblith, Norouzi, Lee & Hinton 2019 (arXiv 1905.00414), there over all rows and
    with a biased HSIC.
    """
    columns = ByRole[Any](labels=labels, instances=instances, groups=groups)
    given, drawing = as_reference(reference), Drawing(confidence, permutations, seed)
    sample = sample_of(embeddings, columns, reference=given.array, paired=given.paired)
    return compared(checked(sample, drop_invalid=drop_invalid), given, drawing)


def paired_instances(sample: Sample, rows: Integers) -> tuple[Floats, Floats, Integers]:
    """Instances of some rows in both embeddings, (n, d) and (n, e), and the first row of each."""
    assert sample.beside is not None  # the callers have one
    x, y = unit_rows(sample.matrix[rows]), unit_rows(sample.beside.matrix[rows])
    if sample.instances is None:
        return x, y, rows
    ids = sample.instances.codes[rows]
    _, first, codes, views = np.unique(
        ids, return_index=True, return_inverse=True, return_counts=True
    )
    x, y = (summed(side, codes) / views[:, None] for side in (x, y))
    return x, y, rows[first]


def compared(
    sample: Sample,
    reference: Reference,
    drawing: Drawing,
    probe: ReferenceProbe | None = None,
    classes: Classes | None = None,
) -> ReferenceComparison:
    """The record of a checked sample and the reference beside it.

    The moments of its classes, where there are any, spare those of the embedding.
    """
    sample = with_copies_in_both(sample)
    assert sample.beside is not None  # the callers have one
    found: dict[Any, PartOfClass] = {}
    moments = dict(zip(classes.names, classes.instances, strict=True)) if classes else {}
    paired = np.flatnonzero(sample.beside.paired)
    used = _drawn(sample, paired)
    rows = used[np.argsort(sample.labels.codes[used], kind="stable")]
    starts = np.flatnonzero(np.diff(sample.labels.codes[rows])) + 1
    for number, own in enumerate(np.split(rows, starts) if len(rows) else ()):
        x, y, first = paired_instances(sample, own)
        label = sample.labels.names[sample.labels.codes[own[0]]]
        scatter = _scatter(moments.get(label), len(first))
        found[label] = part_of_class(x, y, _owners(sample, first), drawing.of(number), scatter)
    labels = [sample.labels.names[code] for code in np.unique(sample.labels.codes)]
    lone = 0 if reference.paired is None else int(np.count_nonzero(~np.asarray(reference.paired)))
    return comparison(
        reference,
        {label: found.get(label, too_few(0)) for label in labels},
        drawing,
        rows=len(used),
        dimension=sample.beside.matrix.shape[1],
        dropped={"only_in_embeddings": lone, **sample.beside.dropped},
        probe=probe,
        drawn_from=len(paired) if len(used) < len(paired) else None,
    )


def _drawn(sample: Sample, rows: Integers) -> Integers:
    """Those of the rows that are compared: all of them, or those of the instances drawn."""
    assert sample.beside is not None  # the caller has asked
    first, ids = rows, None if sample.instances is None else sample.instances.codes
    if ids is not None:
        first = rows[np.unique(ids[rows], return_index=True)[1]]
    classes = sample.labels.codes[first]
    dimensions = sample.matrix.shape[1], sample.beside.matrix.shape[1]
    grouped = sample.groups is not None or sample.units is not ids
    most = most_of_class(np.bincount(classes), dimensions, len(rows), grouped=grouped)
    if most is None:
        return rows
    contents = Contents(sample, row_norms(sample.matrix))
    own = contents.of_row[first]
    # As a stream has them: of groups it holds all instances, by the group's name.
    keys = contents.in_both(own) if sample.groups else keys_of(sample, contents)[own]
    used = first[smallest(keys, classes, most)]
    return used if ids is None else rows[np.isin(ids[rows], ids[used])]


def _scatter(moments: ClassMoments | None, instances: int) -> Floats | None:
    """Second moments of a class's instances about their mean, where all of them are compared."""
    if moments is None or moments.scatter is None or moments.instances != instances:
        return None
    return moments.scatter[: moments.dimension, : moments.dimension]


def _owners(sample: Sample, first: Integers) -> Integers | None:
    """Independent units of some instances, where these are not their own."""
    if sample.copies is None or sample.copies.units is None:
        return None if sample.groups is None else sample.groups.codes[first]
    owners = sample.copies.units[first]
    return owners if sample.groups is not None else of_several(owners)


def of_several(owners: Integers) -> Integers | None:
    """The units of some instances; None where each is its own."""
    return None if len(np.unique(owners)) == len(owners) else owners


def comparison(
    reference: Reference,
    found: Mapping[Any, PartOfClass],
    drawing: Drawing,
    *,
    rows: int,
    dimension: int,
    dropped: Mapping[str, int],
    probe: ReferenceProbe | None = None,
    drawn_from: int | None = None,
) -> ReferenceComparison:
    """The record of what was found in the classes, by their labels."""
    classes, whole = judged(list(found.items()), drawing)
    dropped = {**dropped, "only_in_reference": reference.only_in_reference}
    return ReferenceComparison(
        name=reference.name,
        rows=rows,
        joined_by=reference.joined_by,
        retention=whole,
        classes=classes,
        probe=probe,
        dimension=dimension,
        confidence=drawing.confidence,
        permutations=drawing.permutations,
        seed=drawing.seed,
        dropped={fault: count for fault, count in dropped.items() if count},
        drawn_from=drawn_from,
        key=reference.key,
    )
